"""Labels, masked paths and profiles: what confines a container beside its capabilities."""

from typing import Final

from runtime.spec import HostFacts, Json, Profile, ProfileKind, SELinux, SpecRequest
from runtime.spec.text import absolute, checked
from store.errors import FailedPreconditionError, InvalidArgumentError

_SELINUX_USER: Final = "system_u"
_SELINUX_ROLE: Final = "system_r"
_SELINUX_FREE: Final = "spc_t"
_SELINUX_PROCESS: Final = "container_t"
_SELINUX_LEVEL: Final = "s0"
_SELINUX_FILES: Final = "object_r:container_file_t"


def masked_paths(request: SpecRequest) -> list[str]:
    """Return the paths to hide: the request's, none for privileged containers.

    The kubelet always sends its list; an empty one means procMount Unmasked. OCI runtimes skip
    what does not exist.
    """
    if request.security.privileged:
        return []
    return [absolute("masked_paths", path) for path in request.security.masked_paths]


def readonly_paths(request: SpecRequest) -> list[str]:
    """Return the paths to protect: the request's, none for privileged containers."""
    if request.security.privileged:
        return []
    return [absolute("readonly_paths", path) for path in request.security.readonly_paths]


def apparmor(request: SpecRequest) -> str:
    """Return the AppArmor profile to run under; empty for none.

    A request that says nothing means RuntimeDefault (Kubernetes' baseline security standard).

    Raises:
        FailedPreconditionError: a profile is named and the kernel has no AppArmor.
        InvalidArgumentError: a profile is wanted and not named.
    """
    profile = request.security.apparmor or Profile(kind=ProfileKind.RUNTIME_DEFAULT)
    if profile.kind is ProfileKind.UNCONFINED:
        return ""
    if profile.kind is ProfileKind.RUNTIME_DEFAULT:
        confined = request.host.apparmor and not request.security.privileged
        return request.host.apparmor_default if confined else ""
    if not request.host.apparmor:
        raise FailedPreconditionError(
            f"cannot use AppArmor profile {profile.localhost!r}: this node's kernel has no AppArmor"
        )
    if not profile.localhost:
        raise InvalidArgumentError("cannot use apparmor Localhost: localhost_ref is empty")
    return checked("apparmor.localhost_ref", profile.localhost)


def check_selinux(labels: SELinux | None, *, available: bool) -> None:
    """Refuse labels that this node's kernel cannot give.

    Labels that set a program free (`spc_t`) are no matter: where there is no SELinux, it is free.

    Raises:
        FailedPreconditionError: the labels are to confine, and the kernel has no SELinux.
    """
    if labels is not None and not available and labels.type != _SELINUX_FREE:
        raise FailedPreconditionError(
            "cannot use selinux_options: this node's kernel has no SELinux"
        )


def file_label(labels: SELinux | None, host: HostFacts) -> str:
    """Return the label of a container's or pod's files; empty for none."""
    return selinux(labels)[1] if host.selinux else ""


def selinux(labels: SELinux | None) -> tuple[str, str]:
    """Return the label of the process and the label of its files; empty without a request."""
    if labels is None:
        return "", ""
    user = labels.user or _SELINUX_USER
    level = labels.level or _SELINUX_LEVEL
    role = labels.role or _SELINUX_ROLE
    process = f"{user}:{role}:{labels.type or _SELINUX_PROCESS}:{level}"
    return checked("selinux_options", process), f"{user}:{_SELINUX_FILES}:{level}"


def process_labels(request: SpecRequest) -> dict[str, Json]:
    """Return the labels that belong into `process`; see `apparmor` and `check_selinux`."""
    check_selinux(request.security.selinux, available=request.host.selinux)
    process = selinux(request.security.selinux)[0] if request.host.selinux else ""
    found: dict[str, Json] = {
        "apparmorProfile": apparmor(request),
        "selinuxLabel": process,
    }
    return {name: label for name, label in found.items() if label}


def linux(request: SpecRequest) -> dict[str, Json]:
    """Return what belongs into `linux`: masked and read-only paths, the label of mounts."""
    label = file_label(request.security.selinux, request.host)
    found: dict[str, Json] = {
        "maskedPaths": list(masked_paths(request)),
        "readonlyPaths": list(readonly_paths(request)),
        "mountLabel": label,
    }
    return {name: value for name, value in found.items() if value}
