"""Limits read before they change, so that a change that fails halfway leaves nothing behind.

An OCI runtime writes one file after the other; when the kernel refuses one, those before it have
changed already.
"""

from collections.abc import Callable, Iterable, Mapping

from runtime.cgroups import Cgroups
from runtime.cgroups.files import read_text, write
from store.errors import Error, FailedPreconditionError


def saved(paths: Iterable[str]) -> dict[str, str]:
    """Return what each file says; without those that are not there."""
    found = {path: read_text(path) for path in paths}
    return {path: text for path, text in found.items() if text is not None}


def put_back(files: Mapping[str, str]) -> None:
    """Write what each file said, until all say it again.

    A file may take its value only after another has (memory before memory with swap, or the other
    way round), so those that were refused are tried again as long as others go through.

    Raises:
        Error: some keep being refused; names them.
    """
    wrong = differing(files)
    while wrong:
        refusals = [refusal for path in wrong if (refusal := _refused(path, files[path]))]
        left = differing(files)
        if left and len(left) >= len(wrong):
            told = [f"{path} has {now!r}, had {files[path]!r}" for path, now in left.items()]
            raise Error(f"cannot put limits back: {'; '.join([*told, *refusals])}")
        wrong = left


def differing(files: Mapping[str, str]) -> dict[str, str]:
    """Return what the files say that say something else by now; without those that are gone."""
    return {path: now for path, now in saved(files).items() if now != files[path]}


def _refused(path: str, text: str) -> str:
    """Write line by line, as the kernel takes it; return why not, empty if it did."""
    try:
        for line in text.splitlines(keepends=True) or ["\n"]:
            write(path, line)
    except Error as error:
        return str(error)
    return ""


def check_usage(cgroups: Cgroups, directory: str, limit: int, refuse: Callable[[int], str]) -> None:
    """Refuse a lower memory limit that the kernel could only keep by killing. Blocking.

    Pages of files that were not used lately do not count: the kernel drops them. On v1 it would
    refuse such a limit itself, after a while; on v2 it takes it and kills.

    Args:
        cgroups: reads the usage.
        directory: the cgroup that is to be limited.
        limit: in bytes; none if not above 0.
        refuse: makes the error's text from the bytes in use.

    Raises:
        FailedPreconditionError: more is in use.
        NotFoundError: the cgroup is gone.
    """
    if limit <= 0:
        return
    counters = cgroups.read(directory)
    used, allowed = counters.memory_working_set or 0, counters.memory_limit
    if used > limit and (allowed is None or limit < allowed):
        raise FailedPreconditionError(refuse(used))
