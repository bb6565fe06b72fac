"""User namespaces for tests that need one."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from runtime.kernel import IdRange, NamespaceRequest, UserMapping, Users
from runtime.kernel.namespaces import LinuxNamespaces
from runtime.kernel.users import UserPrograms

PROGRAMS = UserPrograms(
    unshare=Path(shutil.which("unshare") or "/usr/bin/unshare"),
    cat=Path(shutil.which("cat") or "/bin/cat"),
)
MAPPING = UserMapping(
    uids=IdRange(first=200000, length=65536), gids=IdRange(first=300000, length=65536)
)


@contextlib.contextmanager
def users(directory: Path) -> Iterator[Users]:
    """Have a user namespace pinned below `directory` for the block."""
    namespaces = LinuxNamespaces(programs=PROGRAMS)
    request = NamespaceRequest(
        directory=directory, network=False, ipc=False, uts=False, users=MAPPING
    )
    namespaces.create(request)
    try:
        yield Users(namespace=directory / "user", uid=MAPPING.uids.first, gid=MAPPING.gids.first)
    finally:
        namespaces.remove(directory)
