"""The program of a container: arguments, environment, directory and user of PID 1.

Kubernetes' rules: `command` replaces the image's entrypoint and makes its cmd void, `args`
replaces its cmd. The environment is the image's, then the request's; later values win and keep the
place of the first.
"""

import re
from collections.abc import Iterator
from typing import Final

from runtime.spec import Json, ProcessUser, Rlimit, SpecRequest
from runtime.spec.text import absolute, checked
from store.errors import InvalidArgumentError

DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_PROCESS_DIRECTORY: Final = re.compile(r"/proc/(self|thread-self|\d+)(/.*)?")
_OOM_HIGHEST: Final = 1000


def arguments(request: SpecRequest) -> list[str]:
    """Return what to execute.

    Raises:
        InvalidArgumentError: neither the request nor the image names a program.
    """
    image = request.image
    if request.command:
        words = (*request.command, *request.args)
    else:
        words = (*image.entrypoint, *(request.args or image.cmd))
    if not words or not words[0]:
        raise InvalidArgumentError(
            "cannot create container: no command specified by the request or the image"
        )
    return [checked(f"argument {number}", word) for number, word in enumerate(words)]


def _image_environment(request: SpecRequest) -> Iterator[tuple[str, str]]:
    for number, entry in enumerate(request.image.env):
        name, equals, value = checked(f"the image's env[{number}]", entry).partition("=")
        if not name or not equals:
            raise InvalidArgumentError(
                f"cannot use the image's env[{number}] {entry!r}: not of the form NAME=value"
            )
        yield name, value


def _requested_environment(request: SpecRequest) -> Iterator[tuple[str, str]]:
    for number, (name, value) in enumerate(request.env):
        if not checked(f"envs[{number}].key", name) or "=" in name:
            raise InvalidArgumentError(
                f"cannot use envs[{number}].key {name!r}: empty or with an equals sign"
            )
        try:
            text = value.decode()
        except UnicodeDecodeError:
            # An OCI spec is JSON: runc would put U+FFFD in place of such bytes without a word.
            raise InvalidArgumentError(
                f"cannot use envs[{number}].value of {name}: not UTF-8"
            ) from None
        yield name, checked(f"envs[{number}].value of {name}", text)


def environment(request: SpecRequest) -> list[str]:
    """Return `NAME=value` entries with PATH, TERM, HOSTNAME and HOME always decided.

    What devices set wins over the request.

    A set HOME also keeps OCI runtimes from reading the image's /etc/passwd, which may be a FIFO.

    Raises:
        InvalidArgumentError: a name or a value that no environment can hold.
    """
    values = {"PATH": DEFAULT_PATH, **dict(_image_environment(request))}
    if request.terminal:
        values.setdefault("TERM", "xterm")
    if request.hostname:
        values["HOSTNAME"] = checked("hostname", request.hostname)
    values.update(_requested_environment(request))
    values.update(entry.partition("=")[::2] for entry in request.edits.env)
    values.setdefault("HOME", request.user.home)
    return [f"{name}={value}" for name, value in values.items()]


def working_directory(request: SpecRequest) -> str:
    """Return the directory of the request, else of the image, else the root.

    Raises:
        InvalidArgumentError: it is relative, or leads through a process' magic links
            (CVE-2024-21626).
    """
    given = request.working_dir or request.image.working_dir
    return check_working_directory(given) if given else "/"


def check_working_directory(path: str) -> str:
    """Return the clean form of a working directory; see `working_directory`."""
    clean = absolute("working_dir", path)
    if _PROCESS_DIRECTORY.fullmatch(clean):
        raise InvalidArgumentError(f"cannot use working_dir {path!r}: a directory of a process")
    return clean


def oom_score_adj(wanted: int, floor: int) -> int:
    """Return `wanted`, but not below what this daemon may set nor above the kernel's 1000."""
    return min(max(wanted, floor), _OOM_HIGHEST)


def user(who: ProcessUser, more_groups: tuple[int, ...] = ()) -> dict[str, Json]:
    """Return `process.user`; `more_groups` are supplemental ones besides its own."""
    ids: dict[str, Json] = {"uid": who.uid, "gid": who.gid}
    groups: list[Json] = list(dict.fromkeys((*who.supplemental_groups, *more_groups)))
    return {**ids, "additionalGids": groups} if groups else ids


def rlimits(limits: tuple[Rlimit, ...]) -> list[Json]:
    """Return `process.rlimits`."""
    return [{"type": limit.kind, "soft": limit.soft, "hard": limit.hard} for limit in limits]


def document(request: SpecRequest, capabilities: dict[str, Json]) -> dict[str, Json]:
    """Return `process` but for its security labels."""
    process: dict[str, Json] = {
        "terminal": request.terminal,
        "user": user(request.user, request.edits.gids),
        "args": list(arguments(request)),
        "env": list(environment(request)),
        "cwd": working_directory(request),
        "capabilities": capabilities,
        "noNewPrivileges": request.security.no_new_privs,
        "oomScoreAdj": oom_score_adj(request.resources.oom_score_adj, request.host.oom_score_floor),
    }
    if request.rlimits:
        process["rlimits"] = rlimits(request.rlimits)
    return process
