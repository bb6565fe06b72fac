"""Paths of the host that a request names, looked at on a thread: they may hang."""

import os
from collections.abc import Sequence
from pathlib import Path

from runtime.spec import MountRequest, Propagation
from runtime.spec.mounts import check_propagation
from store.errors import InvalidArgumentError


def resolve(mounts: Sequence[MountRequest]) -> dict[str, Path]:
    """Return the real path behind each mount's host path, by container path.

    A directory that is missing is made, as for every CRI runtime. Blocking.

    Raises:
        InvalidArgumentError: a host path that cannot be resolved or made.
        FailedPreconditionError: propagation that the source's mount cannot give.
    """
    found = {mount.container_path: _real(mount) for mount in mounts}
    travelling = [mount for mount in mounts if mount.propagation is not Propagation.PRIVATE]
    if travelling:
        check_propagation(travelling, found, Path("/proc/self/mountinfo").read_text())
    return found


def _real(mount: MountRequest) -> Path:
    try:
        path = Path(os.path.realpath(mount.host_path))
        if not path.exists():
            path.mkdir(parents=True)
    except OSError as error:
        raise InvalidArgumentError(
            f"cannot mount {mount.host_path!r} at {mount.container_path!r}: {error.strerror}"
        ) from error
    return path


def log_file(directory: str, relative: str) -> Path | None:
    """Return the absolute log path, its directory made; None where no log is wanted. Blocking.

    The pod's directory is the client's to choose; below it no symlink is followed.

    Raises:
        InvalidArgumentError: a component below the pod's directory is a symlink.
    """
    if not directory or not relative:
        return None
    path = Path(directory, relative)
    path.parent.mkdir(parents=True, exist_ok=True)
    step = Path(directory)
    for part in Path(relative).parts:
        step /= part
        if step.is_symlink():
            raise InvalidArgumentError(f"cannot log to {str(path)!r}: {str(step)!r} is a symlink")
    return path
