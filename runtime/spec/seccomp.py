"""Which system calls a container may make.

RuntimeDefault is built here from `seccomp_default`. Localhost profiles come parsed, in the form of
the OCI spec or with the additions that Docker's and Kubernetes' profiles have: `archMap`, and
`includes`/`excludes` by capability and architecture. Those are resolved, because an OCI runtime
would pass over them and allow what they were to restrict.
"""

import os
import platform
import stat
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from runtime.spec import Json, ProfileKind, SpecRequest
from runtime.spec.seccomp_default import ALWAYS, BY_ARCHITECTURE, BY_CAPABILITY
from runtime.spec.text import absolute
from store.errors import InvalidArgumentError

_ALLOW: Final = "SCMP_ACT_ALLOW"
_ERRNO: Final = "SCMP_ACT_ERRNO"
_EPERM: Final = 1
_ENOSYS: Final = 38

_ARCHITECTURES: Final[Mapping[str, tuple[str, ...]]] = {
    "x86_64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"),
    "aarch64": ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"),
}
_PROFILE_NAMES: Final = {"x86_64": "amd64", "aarch64": "arm64"}

_NAMESPACE_FLAGS: Final = 0x7E020000
"""CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET} of clone(2)."""

_PERSONALITIES: Final = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
"""Linux and 32-bit uname, each with and without UNAME26, and the question which is set."""

_LARGEST_PROFILE: Final = 1024 * 1024

_AF_ALG: Final = 38
_AF_VSOCK: Final = 40
"""Socket families that reach past the namespaces: the kernel's crypto and the hypervisor."""


def _argument(index: int, value: int, op: str, two: int = 0) -> Json:
    return {"index": index, "value": value, "valueTwo": two, "op": op}


def _rule(names: Iterable[str], *args: Json) -> dict[str, Json]:
    rule: dict[str, Json] = {"names": list(names), "action": _ALLOW}
    return {**rule, "args": list(args)} if args else rule


def _restricted() -> list[dict[str, Json]]:
    """Return the calls that depend on an argument.

    libseccomp takes one comparison for each argument of a rule, hence three for two families.
    """
    return [
        *(_rule(["personality"], _argument(0, value, "SCMP_CMP_EQ")) for value in _PERSONALITIES),
        _rule(["socket"], _argument(0, _AF_ALG, "SCMP_CMP_LT")),
        _rule(["socket"], _argument(0, _AF_ALG + 1, "SCMP_CMP_EQ")),
        _rule(["socket"], _argument(0, _AF_VSOCK, "SCMP_CMP_GT")),
    ]


def _without_namespaces() -> list[dict[str, Json]]:
    """Return what stands for clone and clone3 where SYS_ADMIN is missing.

    A filter cannot look into clone3's structure; ENOSYS makes libraries fall back to clone.
    """
    return [
        _rule(["clone"], _argument(0, _NAMESPACE_FLAGS, "SCMP_CMP_MASKED_EQ")),
        {"names": ["clone3"], "action": _ERRNO, "errnoRet": _ENOSYS},
    ]


def default_profile(capabilities: frozenset[str], machine: str = "") -> dict[str, Json]:
    """Return the RuntimeDefault profile for a process that holds `capabilities`.

    `machine` is as `uname -m` says, this one if empty.
    """
    machine = machine or platform.machine()
    granted = {name for held in capabilities & BY_CAPABILITY.keys() for name in BY_CAPABILITY[held]}
    names = sorted({*ALWAYS, *BY_ARCHITECTURE.get(machine, ()), *granted})
    rules: list[Json] = [_rule(names), *_restricted()]
    if "CAP_SYS_ADMIN" not in capabilities:
        rules.extend(_without_namespaces())
    return {
        "defaultAction": _ERRNO,
        "defaultErrnoRet": _EPERM,
        "architectures": list(_ARCHITECTURES.get(machine, ())),
        "syscalls": rules,
    }


def _entries(profile: Mapping[str, Json], field: str) -> list[dict[str, Json]]:
    """Return a list of objects, or say which field is none."""
    value = profile.get(field) or []
    if not isinstance(value, list):
        raise InvalidArgumentError(f"cannot use seccomp profile: {field} is not a list")
    entries = [entry for entry in value if isinstance(entry, dict)]
    if len(entries) != len(value):
        raise InvalidArgumentError(f"cannot use seccomp profile: {field} holds a non-object")
    return entries


def _mentions(condition: Json, field: str, present: Iterable[str]) -> tuple[bool, bool]:
    """Return whether a condition's list is there and whether any of it is present."""
    listed = condition.get(field) if isinstance(condition, dict) else None
    items = listed if isinstance(listed, list) else []
    values = {item for item in items if isinstance(item, str)}
    return bool(values), not values.isdisjoint(present)


def _applies(rule: dict[str, Json], capabilities: frozenset[str], machine: str) -> bool:
    present = {"caps": capabilities, "arches": {machine, _PROFILE_NAMES.get(machine, "")}}
    for field, values in present.items():
        needed, met = _mentions(rule.get("includes"), field, values)
        barred = _mentions(rule.get("excludes"), field, values)[1]
        if (needed and not met) or barred:
            return False
    return True


def _architectures(profile: Mapping[str, Json], machine: str) -> list[Json]:
    native = _ARCHITECTURES.get(machine, ("",))[0]
    for entry in _entries(profile, "archMap"):
        if entry.get("architecture") == native:
            others = entry.get("subArchitectures")
            return [native, *(others if isinstance(others, list) else ())]
    return []


def localhost_profile(
    profile: Mapping[str, Json], capabilities: frozenset[str], machine: str = ""
) -> dict[str, Json]:
    """Return a node's profile as an OCI runtime takes it.

    Raises:
        InvalidArgumentError: it is not a seccomp profile.
    """
    machine = machine or platform.machine()
    if not isinstance(profile.get("defaultAction"), str):
        raise InvalidArgumentError("cannot use seccomp profile: defaultAction is missing")
    rules: list[Json] = [
        {name: value for name, value in rule.items() if name not in {"includes", "excludes"}}
        for rule in _entries(profile, "syscalls")
        if _applies(rule, capabilities, machine)
    ]
    resolved: dict[str, Json] = {
        name: value for name, value in profile.items() if name not in {"archMap", "syscalls"}
    }
    architectures = _architectures(profile, machine)
    if architectures and not resolved.get("architectures"):
        resolved["architectures"] = architectures
    return {**resolved, "syscalls": rules}


def read_profile(path: str) -> dict[str, Json]:
    """Return a Localhost profile of the node, parsed. Blocking.

    Raises:
        InvalidArgumentError: the path is not absolute, or there is no JSON object of at most 1 MiB
            in a regular file.
    """
    absolute("seccomp.localhost_ref", path)
    try:
        found = msgspec.json.decode(_read_regular(path))
    except (OSError, msgspec.DecodeError, RecursionError) as error:
        raise InvalidArgumentError(f"cannot use seccomp profile {path!r}: {error}") from error
    if not isinstance(found, dict):
        raise InvalidArgumentError(f"cannot use seccomp profile {path!r}: not a JSON object")
    return found


def _read_regular(path: str) -> bytes:
    """Read without waiting for what a FIFO or a device might say."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise InvalidArgumentError(f"cannot use seccomp profile {path!r}: not a regular file")
        content = file.read(_LARGEST_PROFILE + 1)
    if len(content) > _LARGEST_PROFILE:
        raise InvalidArgumentError(f"cannot use seccomp profile {path!r}: larger than 1 MiB")
    return content


def document(request: SpecRequest, capabilities: frozenset[str]) -> dict[str, Json] | None:
    """Return `linux.seccomp`, None for an unconfined or privileged container.

    Raises:
        InvalidArgumentError: Localhost without a profile, or one that is none.
    """
    wanted = request.security.seccomp
    if wanted is None or wanted.kind is ProfileKind.UNCONFINED or request.security.privileged:
        return None
    if wanted.kind is ProfileKind.RUNTIME_DEFAULT:
        return default_profile(capabilities)
    if request.seccomp_profile is None:
        raise InvalidArgumentError(
            f"cannot use seccomp profile {wanted.localhost!r}: it has not been read"
        )
    return localhost_profile(request.seccomp_profile, capabilities)
