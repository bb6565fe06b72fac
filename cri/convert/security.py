"""Security contexts of sandboxes and containers, and their namespace options."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from cri.api.runtime.v1 import api_pb2 as pb
from cri.convert.enums import (
    GROUPS_POLICIES,
    NAMESPACE_MODE_NUMBERS,
    NAMESPACE_MODES,
    PROFILE_KINDS,
    known,
)
from runtime.spec import (
    Capabilities,
    IdMapping,
    NamespaceMode,
    NamespaceModes,
    Profile,
    ProfileKind,
    Security,
    SELinux,
    UserNamespace,
)
from store.errors import InvalidArgumentError

# The last id is (uid_t)-1, which system calls read as "leave it as it is".
_MAX_ID: Final = 2**32 - 2

# The words of the deprecated strings; whatever follows "localhost/" is the profile.
_WORDS: Final[Mapping[str, ProfileKind]] = {
    "runtime/default": ProfileKind.RUNTIME_DEFAULT,
    "docker/default": ProfileKind.RUNTIME_DEFAULT,
    "unconfined": ProfileKind.UNCONFINED,
}
_LOCALHOST: Final = "localhost/"


def sandbox_security_from(message: pb.LinuxSandboxSecurityContext, at: str) -> Security:
    """Return a sandbox's security settings; `at` is the message's path for errors."""
    return Security(
        privileged=message.privileged,
        namespaces=namespaces_from(message.namespace_options, f"{at}.namespace_options"),
        selinux=_selinux(message),
        run_as_user=_id(message, "run_as_user", at),
        run_as_group=_id(message, "run_as_group", at),
        readonly_rootfs=message.readonly_rootfs,
        supplemental_groups=_groups(message.supplemental_groups, at),
        groups_policy=known(
            GROUPS_POLICIES, message.supplemental_groups_policy, f"{at}.supplemental_groups_policy"
        ),
        seccomp=_seccomp(message, at),
        apparmor=_profile(message.apparmor, f"{at}.apparmor")
        if message.HasField("apparmor")
        else None,
    )


def container_security_from(message: pb.LinuxContainerSecurityContext, at: str) -> Security:
    """Return a container's security settings; `at` is the message's path for errors."""
    return Security(
        capabilities=_capabilities(message.capabilities),
        privileged=message.privileged,
        namespaces=namespaces_from(message.namespace_options, f"{at}.namespace_options"),
        selinux=_selinux(message),
        run_as_user=_id(message, "run_as_user", at),
        run_as_group=_id(message, "run_as_group", at),
        run_as_username=message.run_as_username,
        readonly_rootfs=message.readonly_rootfs,
        supplemental_groups=_groups(message.supplemental_groups, at),
        groups_policy=known(
            GROUPS_POLICIES, message.supplemental_groups_policy, f"{at}.supplemental_groups_policy"
        ),
        no_new_privs=message.no_new_privs,
        masked_paths=tuple(message.masked_paths),
        readonly_paths=tuple(message.readonly_paths),
        seccomp=_seccomp(message, at),
        apparmor=_apparmor(message, at),
    )


def namespaces_from(message: pb.NamespaceOption, at: str) -> NamespaceModes:
    """Return namespace modes; a missing message is POD for all, as CRI's zero values say."""
    user = message.userns_options
    return NamespaceModes(
        network=known(NAMESPACE_MODES, message.network, f"{at}.network"),
        pid=known(NAMESPACE_MODES, message.pid, f"{at}.pid"),
        ipc=known(NAMESPACE_MODES, message.ipc, f"{at}.ipc"),
        target_id=message.target_id,
        user=_user_namespace(user, f"{at}.userns_options")
        if message.HasField("userns_options")
        else None,
    )


def namespaces_to(modes: NamespaceModes) -> pb.NamespaceOption:
    """Return the modes as PodSandboxStatus reports them; the kubelet compares `network`."""
    return pb.NamespaceOption(
        network=NAMESPACE_MODE_NUMBERS[modes.network],
        pid=NAMESPACE_MODE_NUMBERS[modes.pid],
        ipc=NAMESPACE_MODE_NUMBERS[modes.ipc],
        target_id=modes.target_id,
        userns_options=_user_namespace_to(modes.user) if modes.user else None,
    )


def _user_namespace(message: pb.UserNamespace, at: str) -> UserNamespace:
    found = UserNamespace(
        mode=known(NAMESPACE_MODES, message.mode, f"{at}.mode"),
        uids=mappings_from(message.uids),
        gids=mappings_from(message.gids),
    )
    if found.mode is NamespaceMode.POD:
        _single_root_mapping(found.uids, f"{at}.uids")
        _single_root_mapping(found.gids, f"{at}.gids")
    elif found.mode is not NamespaceMode.NODE:
        raise InvalidArgumentError(f"{at}.mode: must be POD or NODE, not {found.mode.name}")
    return found


def _single_root_mapping(mappings: tuple[IdMapping, ...], at: str) -> None:
    if len(mappings) != 1:
        raise InvalidArgumentError(f"{at}: must be exactly one mapping, not {len(mappings)}")
    if mappings[0].container_id != 0 or mappings[0].length < 1:
        raise InvalidArgumentError(f"{at}: must map id 0 of the container")


def mappings_from(messages: Iterable[pb.IDMapping]) -> tuple[IdMapping, ...]:
    """Return id ranges in the order of the request."""
    return tuple(
        IdMapping(container_id=one.container_id, host_id=one.host_id, length=one.length)
        for one in messages
    )


def mappings_to(mappings: Iterable[IdMapping]) -> list[pb.IDMapping]:
    """Return id ranges as messages."""
    return [
        pb.IDMapping(container_id=one.container_id, host_id=one.host_id, length=one.length)
        for one in mappings
    ]


def _user_namespace_to(user: UserNamespace) -> pb.UserNamespace:
    return pb.UserNamespace(
        mode=NAMESPACE_MODE_NUMBERS[user.mode],
        uids=mappings_to(user.uids),
        gids=mappings_to(user.gids),
    )


_Context = pb.LinuxSandboxSecurityContext | pb.LinuxContainerSecurityContext


def _capabilities(message: pb.Capability) -> Capabilities:
    return Capabilities(
        add=tuple(message.add_capabilities),
        drop=tuple(message.drop_capabilities),
        ambient=tuple(message.add_ambient_capabilities),
    )


def _selinux(message: _Context) -> SELinux | None:
    if not message.HasField("selinux_options"):
        return None
    found = message.selinux_options
    return SELinux(user=found.user, role=found.role, type=found.type, level=found.level)


def _id(message: _Context, field: str, at: str) -> int | None:
    if field == "run_as_user":
        value = message.run_as_user.value if message.HasField("run_as_user") else None
    else:
        value = message.run_as_group.value if message.HasField("run_as_group") else None
    return value if value is None else _checked_id(value, f"{at}.{field}")


def _groups(values: Iterable[int], at: str) -> tuple[int, ...]:
    return tuple(_checked_id(value, f"{at}.supplemental_groups") for value in values)


def _checked_id(value: int, field: str) -> int:
    if not 0 <= value <= _MAX_ID:
        raise InvalidArgumentError(f"{field}: must be 0 to {_MAX_ID}, not {value}")
    return value


def _profile(message: pb.SecurityProfile, at: str) -> Profile:
    kind = known(PROFILE_KINDS, message.profile_type, f"{at}.profile_type")
    if kind is ProfileKind.LOCALHOST and not message.localhost_ref:
        raise InvalidArgumentError(f"{at}.localhost_ref: must not be empty for a Localhost profile")
    return Profile(kind=kind, localhost=message.localhost_ref)


def _seccomp(message: _Context, at: str) -> Profile | None:
    if message.HasField("seccomp"):
        found: Profile | None = _profile(message.seccomp, f"{at}.seccomp")
    else:
        found = _named_profile(message.seccomp_profile_path, f"{at}.seccomp_profile_path")
    if found and found.kind is ProfileKind.LOCALHOST and not found.localhost.startswith("/"):
        raise InvalidArgumentError(
            f"{at}.seccomp: must be an absolute path, not {found.localhost!r}"
        )
    return found


def _apparmor(message: pb.LinuxContainerSecurityContext, at: str) -> Profile | None:
    if message.HasField("apparmor"):
        found = _profile(message.apparmor, f"{at}.apparmor")
        # Some clients write the name as in the deprecated string.
        return replace(found, localhost=found.localhost.removeprefix(_LOCALHOST))
    return _named_profile(message.apparmor_profile, f"{at}.apparmor_profile")


def _named_profile(text: str, field: str) -> Profile | None:
    """Read the deprecated form of a profile; the newer field wins over it."""
    if not text:
        return None
    if text in _WORDS:
        return Profile(kind=_WORDS[text])
    if text.startswith(_LOCALHOST) and text != _LOCALHOST:
        return Profile(kind=ProfileKind.LOCALHOST, localhost=text.removeprefix(_LOCALHOST))
    raise InvalidArgumentError(f"{field}: must be one of {', '.join(_WORDS)}, localhost/NAME")
