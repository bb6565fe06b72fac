"""A pod with one container: started, watched to its end, and taken back."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cri.cli.daemon import Daemon
from cri.cli.images import fetch
from cri.cli.interrupts import Interrupts
from cri.cli.logfile import Reader
from cri.cli.logs import Write, follow
from cri.cli.removal import remove_by_uid
from cri.cli.requests import Wish, container_config, pod_config
from store.errors import Error, NotFoundError

# What a container gets between being asked to end and being ended, as kubelets give it.
_GRACE: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    """A pod whose container was started. `uid` is the pod's, by which all of it is removed."""

    pod: str
    container: str
    uid: str
    log: Path


async def launch(daemon: Daemon, wish: Wish, handler: str) -> Launched:
    """Start what is wished for; if that fails or is cancelled, nothing is left."""
    pod, container = pod_config(wish), container_config(wish)
    found = await daemon.image(wish.image)
    container.image.image = found.id if found else await fetch(daemon, wish.image)
    uid = pod.metadata.uid
    try:
        sandbox = await daemon.run_pod(pod, handler)
        id_ = await daemon.create(sandbox, container, pod)
        await daemon.start(id_)
    except BaseException:
        await take_back(daemon, uid)
        raise
    log = Path(pod.log_directory, container.log_path)
    return Launched(pod=sandbox, container=id_, uid=uid, log=log)


async def attend(daemon: Daemon, launched: Launched, interrupts: Interrupts, write: Write) -> int:
    """Print a container's output until it has ended, then remove the pod; return its exit code.

    The first signal asks the container to end, the second ends it.

    Raises:
        NotFoundError: somebody else removed it; its exit code is not known.
    """

    async def stop(count: int) -> None:
        try:
            await daemon.stop(launched.container, _GRACE if count == 1 else 0)
        except Error as error:
            sys.stderr.write(f"ferry: {error}\n")

    try:
        with Reader(launched.log) as reader:
            watching = follow(daemon, launched.container, reader, write)
            code = await interrupts.during(watching, stop)
    finally:
        await take_back(daemon, launched.uid)
    if code is None:
        raise NotFoundError(
            f"cannot tell how container {launched.container} ended: somebody else removed it"
        )
    return code


async def take_back(daemon: Daemon, uid: str) -> None:
    """Remove a pod; if that fails, say what is left, for the first error counts."""
    try:
        await remove_by_uid(daemon, uid)
    except Error as error:
        sys.stderr.write(f"ferry: {error}\nThe pod is left: `ferry pods` lists it.\n")
