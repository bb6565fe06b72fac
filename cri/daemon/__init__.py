"""The composition root: the only package that names concrete classes.

Everything is built bottom-up in one exit stack and torn down top-down; what runs for ever runs in
one task group. The socket appears when recovery is done.
"""

import asyncio
import faulthandler
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

import uvloop

from cri.config.load import Loaded
from cri.control import Control
from cri.daemon.base import Base, look_around, make_directories
from cri.daemon.running import assemble_pods
from cri.daemon.serving import serve_calls
from cri.daemon.storage import Storage, open_storage
from cri.logging import set_up
from cri.notify import notify
from runtime import blocking
from runtime.kernel.memory import use_one_arena
from runtime.operations import Operations
from runtime.pods.layout import Layout
from store.files import RootLock

_BOOT: Final = "boot_id"


def run(read: Callable[[], Loaded]) -> None:
    """Serve until SIGTERM; `read` reads the configuration, now and at each SIGHUP."""
    use_one_arena()
    loaded = read()
    set_up(loaded.config.daemon.log_level, loaded.config.daemon.log_format)
    # systemd's watchdog ends a daemon that hangs by SIGABRT: say where it does.
    faulthandler.enable()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(loaded, read))


async def serve(loaded: Loaded, read: Callable[[], Loaded]) -> None:
    """Build bottom-up, recover, serve until told to stop, tear down top-down."""
    config = loaded.config
    layout = Layout(config.daemon.root, config.daemon.state)
    await blocking.run("directories", str(layout.root), partial(make_directories, layout))
    operations = Operations()
    control = Control(loaded, read, operations)
    async with AsyncExitStack() as stack:
        stack.enter_context(control.signals())
        for directory in (layout.root, layout.state):
            stack.enter_context(RootLock(directory))
        base = await look_around(config, layout, operations)
        store = await open_storage(stack, base)
        pods = await assemble_pods(stack, base, store)
        notify("STATUS=finds what runs")
        with operations.begin("recovery"):
            await pods.recover(_rebooted(base, store))
        # Only now: a recovery that is cut short must know of the reboot the next time, too.
        store.database.set_meta(_BOOT, base.equipment.boot_id)
        await serve_calls(control, base, store, pods)


def _rebooted(base: Base, store: Storage) -> bool:
    """Tell whether this is another boot than the last daemon's."""
    return store.database.meta(_BOOT) not in {None, base.equipment.boot_id}
