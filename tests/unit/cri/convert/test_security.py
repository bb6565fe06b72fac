import pytest
from hypothesis import given
from hypothesis import strategies as st

from cri.api.runtime.v1 import api_pb2 as pb
from cri.convert import security
from runtime.spec import (
    Capabilities,
    GroupsPolicy,
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

ids = st.integers(0, 2**32 - 1)
modes = st.sampled_from(NamespaceMode)
root_mapping = st.builds(
    IdMapping, container_id=st.just(0), host_id=ids, length=st.integers(1, 2**32 - 1)
)
user_namespaces = st.one_of(
    st.just(UserNamespace(mode=NamespaceMode.NODE)),
    st.builds(
        UserNamespace,
        mode=st.just(NamespaceMode.POD),
        uids=st.tuples(root_mapping),
        gids=st.tuples(root_mapping),
    ),
)


@given(
    st.builds(
        NamespaceModes,
        network=modes,
        pid=modes,
        ipc=modes,
        target_id=st.text(st.characters(codec="ascii"), max_size=5),
        user=st.one_of(st.none(), user_namespaces),
    )
)
def test_namespace_modes_survive_both_ways(value: NamespaceModes) -> None:
    assert security.namespaces_from(security.namespaces_to(value), "x") == value


@given(
    st.lists(st.builds(IdMapping, container_id=ids, host_id=ids, length=ids), max_size=4).map(tuple)
)
def test_id_mappings_survive_both_ways(value: tuple[IdMapping, ...]) -> None:
    assert security.mappings_from(security.mappings_to(value)) == value


def test_an_absent_context_is_the_zero_value() -> None:
    config = pb.ContainerConfig()
    found = security.container_security_from(config.linux.security_context, "x")
    assert found == Security()


def test_every_field_of_a_container_arrives() -> None:
    message = pb.LinuxContainerSecurityContext(
        capabilities=pb.Capability(
            add_capabilities=["NET_ADMIN"],
            drop_capabilities=["ALL"],
            add_ambient_capabilities=["CHOWN"],
        ),
        privileged=True,
        namespace_options=pb.NamespaceOption(network=pb.NODE, pid=pb.TARGET, target_id="t"),
        selinux_options=pb.SELinuxOption(user="u", role="r", type="t", level="l"),
        run_as_user=pb.Int64Value(value=0),
        run_as_group=pb.Int64Value(value=7),
        run_as_username="www",
        readonly_rootfs=True,
        supplemental_groups=[1, 2],
        supplemental_groups_policy=pb.Strict,
        no_new_privs=True,
        masked_paths=["/m"],
        readonly_paths=["/r"],
        seccomp=pb.SecurityProfile(profile_type=pb.SecurityProfile.Unconfined),
        apparmor=pb.SecurityProfile(
            profile_type=pb.SecurityProfile.Localhost, localhost_ref="mine"
        ),
    )
    assert security.container_security_from(message, "x") == Security(
        capabilities=Capabilities(add=("NET_ADMIN",), drop=("ALL",), ambient=("CHOWN",)),
        privileged=True,
        namespaces=NamespaceModes(
            network=NamespaceMode.NODE, pid=NamespaceMode.TARGET, target_id="t"
        ),
        selinux=SELinux(user="u", role="r", type="t", level="l"),
        run_as_user=0,
        run_as_group=7,
        run_as_username="www",
        readonly_rootfs=True,
        supplemental_groups=(1, 2),
        groups_policy=GroupsPolicy.STRICT,
        no_new_privs=True,
        masked_paths=("/m",),
        readonly_paths=("/r",),
        seccomp=Profile(kind=ProfileKind.UNCONFINED),
        apparmor=Profile(kind=ProfileKind.LOCALHOST, localhost="mine"),
    )


def test_every_field_of_a_sandbox_arrives() -> None:
    message = pb.LinuxSandboxSecurityContext(
        namespace_options=pb.NamespaceOption(pid=pb.CONTAINER),
        run_as_user=pb.Int64Value(value=3),
        readonly_rootfs=True,
        supplemental_groups=[4],
        supplemental_groups_policy=pb.Strict,
        privileged=True,
        seccomp=pb.SecurityProfile(),
        apparmor=pb.SecurityProfile(profile_type=pb.SecurityProfile.Unconfined),
    )
    assert security.sandbox_security_from(message, "x") == Security(
        namespaces=NamespaceModes(pid=NamespaceMode.CONTAINER),
        run_as_user=3,
        readonly_rootfs=True,
        supplemental_groups=(4,),
        groups_policy=GroupsPolicy.STRICT,
        privileged=True,
        seccomp=Profile(kind=ProfileKind.RUNTIME_DEFAULT),
        apparmor=Profile(kind=ProfileKind.UNCONFINED),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("runtime/default", Profile(kind=ProfileKind.RUNTIME_DEFAULT)),
        ("unconfined", Profile(kind=ProfileKind.UNCONFINED)),
        ("localhost//p.json", Profile(kind=ProfileKind.LOCALHOST, localhost="/p.json")),
    ],
)
def test_the_deprecated_seccomp_string_is_understood(text: str, expected: Profile | None) -> None:
    message = pb.LinuxContainerSecurityContext(seccomp_profile_path=text)
    assert security.container_security_from(message, "x").seccomp == expected


def test_an_apparmor_name_may_be_written_as_in_the_deprecated_string() -> None:
    for name in ("mine", "localhost/mine"):
        message = pb.LinuxContainerSecurityContext(
            apparmor=pb.SecurityProfile(
                profile_type=pb.SecurityProfile.Localhost, localhost_ref=name
            )
        )
        found = security.container_security_from(message, "x").apparmor
        assert found == Profile(kind=ProfileKind.LOCALHOST, localhost="mine")


def test_the_newer_field_wins_over_the_deprecated_string() -> None:
    message = pb.LinuxContainerSecurityContext(
        seccomp=pb.SecurityProfile(profile_type=pb.SecurityProfile.Unconfined),
        seccomp_profile_path="runtime/default",
        apparmor=pb.SecurityProfile(profile_type=pb.SecurityProfile.Unconfined),
        apparmor_profile="nonsense",
    )
    found = security.container_security_from(message, "x")
    assert found.seccomp == found.apparmor == Profile(kind=ProfileKind.UNCONFINED)


def user_namespace(mode: pb.NamespaceMode.ValueType, *mappings: pb.IDMapping) -> pb.NamespaceOption:
    return pb.NamespaceOption(
        userns_options=pb.UserNamespace(mode=mode, uids=mappings, gids=mappings)
    )


ROOT = pb.IDMapping(container_id=0, host_id=100_000, length=65536)
LOCALHOST = pb.SecurityProfile.Localhost


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (
            pb.LinuxContainerSecurityContext(run_as_user=pb.Int64Value(value=-1)),
            "x.run_as_user: must be 0 to 4294967294, not -1",
        ),
        (
            pb.LinuxContainerSecurityContext(run_as_group=pb.Int64Value(value=2**32 - 1)),
            "x.run_as_group: must be",
        ),
        (
            pb.LinuxContainerSecurityContext(supplemental_groups=[1, -5]),
            "x.supplemental_groups: must be",
        ),
        (
            pb.LinuxContainerSecurityContext(seccomp=pb.SecurityProfile(profile_type=LOCALHOST)),
            "x.seccomp.localhost_ref: must not be empty",
        ),
        (
            pb.LinuxContainerSecurityContext(
                seccomp=pb.SecurityProfile(profile_type=LOCALHOST, localhost_ref="p.json")
            ),
            "x.seccomp: must be an absolute path, not 'p.json'",
        ),
        (
            pb.LinuxContainerSecurityContext(apparmor_profile="localhost/"),
            "x.apparmor_profile: must be one of",
        ),
        (
            pb.LinuxContainerSecurityContext(namespace_options=user_namespace(pb.TARGET)),
            "x.namespace_options.userns_options.mode: must be POD or NODE, not TARGET",
        ),
        (
            pb.LinuxContainerSecurityContext(namespace_options=user_namespace(pb.POD, ROOT, ROOT)),
            "userns_options.uids: must be exactly one mapping, not 2",
        ),
        (
            pb.LinuxContainerSecurityContext(
                namespace_options=user_namespace(pb.POD, pb.IDMapping(container_id=1, length=1))
            ),
            "userns_options.uids: must map id 0",
        ),
    ],
)
def test_what_cannot_work_is_refused_by_field(
    message: pb.LinuxContainerSecurityContext, text: str
) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        security.container_security_from(message, "x")
    assert text in str(raised.value)


def test_an_unknown_number_is_refused_by_field() -> None:
    message = pb.LinuxSandboxSecurityContext.FromString(
        pb.LinuxSandboxSecurityContext(
            namespace_options=pb.NamespaceOption(ipc=pb.NamespaceMode.ValueType(7))
        ).SerializeToString()
    )
    with pytest.raises(InvalidArgumentError, match=r"at\.namespace_options\.ipc: unknown value 7"):
        security.sandbox_security_from(message, "at")
