"""CNI plugins as the programs they are."""

import asyncio
import contextlib
import logging
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from runtime import blocking, operations
from runtime.capture import Streams
from runtime.network.cni import Call, Verb, orphans, requests, results
from runtime.pidfd import Process, identify
from runtime.process import Finished, memory_file, spawn
from runtime.rollback import finish
from runtime.tree import Tree
from store.errors import DeadlineExceededError, Error, FailedPreconditionError

_log = logging.getLogger(__name__)

_LIMIT: Final = 1 << 20
# Verbs that only look are answered soon, or not at all.
_SHORT: Final = 10.0
_LOOKING: Final = frozenset({Verb.STATUS, Verb.VERSION})
_BURIAL: Final = 5.0


class Programs:
    """`Plugins` from directories of programs.

    Args:
        directories: where they are, the first that has one counts.
        environment: what they get besides the variables of CNI: PATH, for what they start.
        timeout: seconds after which one is killed with all it has started.
    """

    def __init__(
        self, directories: Sequence[Path], environment: Mapping[str, str], *, timeout: float = 60.0
    ) -> None:
        self._directories = tuple(directories)
        self._environment = dict(environment)
        self._timeout = timeout

    def missing(self, types: Sequence[str]) -> str:
        """Say which of the plugins are not there, and where they should be; "" if none."""
        names = [name for name in dict.fromkeys(types) if self._find(name) is None]
        return f"{', '.join(names)} not found in {self._places()}" if names else ""

    def end(self, sandbox_ids: Collection[str]) -> None:
        """Kill what a daemon that died still runs for these sandboxes, and see it gone."""
        orphans.end(sandbox_ids)

    async def call(self, call: Call) -> str:
        """Run a plugin to its end and return what it printed."""
        path, variables = await blocking.run("find plugin", call.plugin, partial(self._plan, call))
        if path is None:
            raise FailedPreconditionError(f"{call.problem}: not found in {self._places()}")
        subject = call.target.container_id[:12] if call.target else call.plugin
        operations.stage(f"{call.plugin} {call.verb}", subject)
        ended = await self._run(path, variables, call)
        if ended.code:
            raise results.refusal(call, ended)
        return ended.stdout.decode(errors="replace")

    def _plan(self, call: Call) -> tuple[Path | None, dict[str, str]]:
        target = call.target
        if target is not None and call.verb is Verb.DEL and not _alive(target.netns):
            target = replace(target, netns="")
        variables = requests.environment(call.verb, target)
        path = ":".join(map(str, self._directories))
        return self._find(call.plugin), {**self._environment, **variables, "CNI_PATH": path}

    async def _run(self, path: Path, variables: Mapping[str, str], call: Call) -> Finished:
        with contextlib.ExitStack() as stack:
            with _named(call):
                output = stack.enter_context(Streams(_LIMIT))
                document = stack.enter_context(memory_file(call.document.encode()))
                fds = {0: document, **output.fds}
                plugin = spawn((str(path),), fds=fds, env=variables, session=True)
            output.started()
            await self._await(plugin, output, call)
            await output.drain()
            return _finished(plugin, output)

    async def _await(self, plugin: Process, output: Streams, call: Call) -> None:
        seconds = min(self._timeout, _SHORT) if call.verb in _LOOKING else self._timeout
        try:
            async with asyncio.timeout(seconds):
                await plugin.wait()
        except TimeoutError as error:
            said = results.printed(_finished(plugin, output))
            raise DeadlineExceededError(
                f"{call.problem}: no end within {seconds:g} s, {said}; it was killed with all it "
                "had started"
            ) from error
        finally:
            if plugin.running:
                await finish(_kill(plugin, output))

    def _find(self, name: str) -> Path | None:
        paths = [directory / name for directory in self._directories]
        return next((path for path in paths if path.is_file() and os.access(path, os.X_OK)), None)

    def _places(self) -> str:
        return " or ".join(map(str, self._directories))


@contextlib.contextmanager
def _named(call: Call) -> Iterator[None]:
    """Say whose start failed."""
    try:
        yield
    except Error as error:
        raise type(error)(f"{call.problem}: {error}") from error
    except OSError as error:
        raise Error(f"{call.problem}: {error}") from error


def _finished(plugin: Process, output: Streams) -> Finished:
    return Finished(code=plugin.code or 0, stdout=output.stdout.data, stderr=output.stderr.data)


async def _kill(plugin: Process, output: Streams) -> None:
    tree = Tree(identify(plugin.pid), output.inodes)
    left = await asyncio.to_thread(tree.kill, _BURIAL)
    if left:  # in the kernel's hands; they are reaped when they end
        _log.warning("CNI plugin: %s outlive SIGKILL", left)
    else:
        await plugin.wait()


def _alive(netns: str) -> bool:
    """Tell whether a path still pins a namespace; what is only left of a pin confuses plugins."""
    try:
        return Path(netns).stat().st_dev == Path("/proc/self/ns/net").stat().st_dev
    except OSError:
        return False
