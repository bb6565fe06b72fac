from dataclasses import replace
from pathlib import Path

import pytest

from runtime.spec import IdMapping, Json, NamespaceMode, NamespaceModes, Security, UserNamespace
from runtime.spec.namespaces import (
    check_member,
    check_modes,
    check_sysctls,
    document,
    id_mappings,
)
from store.errors import Error, InvalidArgumentError
from tests.specs import HOST, REQUEST

ONE = (IdMapping(container_id=0, host_id=100000, length=65536),)
NODE = NamespaceModes(network=NamespaceMode.NODE, ipc=NamespaceMode.NODE)


def kinds(entries: list[Json]) -> dict[str, Json]:
    return {str(entry["type"]): entry.get("path") for entry in entries if isinstance(entry, dict)}


def test_a_container_joins_the_pods_and_makes_its_own() -> None:
    assert kinds(document(REQUEST)) == {
        "mount": None,
        "network": "/run/ferry/s/net",
        "uts": "/run/ferry/s/uts",
        "ipc": "/run/ferry/s/ipc",
        "pid": None,
        "cgroup": None,
    }


def test_the_sandbox_decides_over_network_and_ipc() -> None:
    claims_node = replace(REQUEST.security, namespaces=replace(NODE, pid=NamespaceMode.CONTAINER))
    assert "network" in kinds(document(replace(REQUEST, security=claims_node)))
    found = kinds(document(replace(REQUEST, sandbox_modes=NODE)))
    assert set(found) == {"mount", "pid", "cgroup"}


@pytest.mark.parametrize(
    ("container", "sandbox", "expected"),
    [
        (NamespaceMode.CONTAINER, NamespaceMode.NODE, (True, None)),
        (NamespaceMode.POD, NamespaceMode.POD, (True, "/proc/9/ns/pid")),
        (NamespaceMode.POD, NamespaceMode.NODE, (False, None)),
        (NamespaceMode.NODE, NamespaceMode.POD, (False, None)),
        (NamespaceMode.TARGET, NamespaceMode.CONTAINER, (True, "/proc/9/ns/pid")),
    ],
)
def test_pid_is_each_containers_choice(
    container: NamespaceMode, sandbox: NamespaceMode, expected: tuple[bool, str | None]
) -> None:
    request = (
        replace(
            REQUEST,
            security=Security(namespaces=NamespaceModes(pid=container, target_id="c1")),
            sandbox_modes=NamespaceModes(pid=sandbox),
            sandbox=replace(REQUEST.sandbox, pid=Path("/proc/9/ns/pid")),
        )
        if sandbox is not NamespaceMode.TARGET
        else REQUEST
    )
    found = kinds(document(request))
    assert ("pid" in found, found.get("pid")) == expected


def test_no_cgroup_namespace_on_v1_or_for_privileged() -> None:
    on_v1 = replace(REQUEST, host=replace(HOST, cgroup_version=1))
    privileged = replace(REQUEST, security=replace(REQUEST.security, privileged=True))
    assert "cgroup" not in kinds(document(on_v1))
    assert "cgroup" not in kinds(document(privileged))


@pytest.mark.parametrize(
    ("modes", "text"),
    [
        (NamespaceModes(network=NamespaceMode.CONTAINER), "network container"),
        (NamespaceModes(ipc=NamespaceMode.TARGET), "ipc target"),
        (NamespaceModes(pid=NamespaceMode.TARGET), "target_id is empty"),
    ],
)
def test_modes_that_mean_nothing_are_refused(modes: NamespaceModes, text: str) -> None:
    with pytest.raises(InvalidArgumentError, match=text):
        check_modes(modes)


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        (UserNamespace(mode=NamespaceMode.CONTAINER), "mode container"),
        (UserNamespace(mode=NamespaceMode.TARGET), "mode target"),
        (UserNamespace(mode=NamespaceMode.POD, uids=ONE * 2, gids=ONE), "userns_options.uids"),
        (UserNamespace(mode=NamespaceMode.POD, uids=ONE), "userns_options.gids"),
        (
            UserNamespace(
                mode=NamespaceMode.POD, uids=(replace(ONE[0], container_id=1),), gids=ONE
            ),
            "container id 0",
        ),
    ],
)
def test_wrong_user_namespaces_are_refused(wanted: UserNamespace, text: str) -> None:
    with pytest.raises(InvalidArgumentError, match=text):
        check_modes(NamespaceModes(user=wanted))


MAPPED = UserNamespace(mode=NamespaceMode.POD, uids=ONE, gids=ONE)


@pytest.mark.parametrize(
    ("modes", "text"),
    [
        (NamespaceModes(user=MAPPED, pid=NamespaceMode.NODE), "pid node"),
        (NamespaceModes(user=MAPPED, ipc=NamespaceMode.NODE), "ipc node"),
        (
            NamespaceModes(
                user=replace(MAPPED, gids=(replace(ONE[0], host_id=2**32 - 10, length=10),))
            ),
            "userns_options.gids.*out of range",
        ),
    ],
)
def test_what_a_user_namespace_cannot_have_is_refused(modes: NamespaceModes, text: str) -> None:
    with pytest.raises(InvalidArgumentError, match=text):
        check_modes(modes)


def test_a_container_has_its_pods_users() -> None:
    pod = NamespaceModes(user=MAPPED)
    nodes = UserNamespace(mode=NamespaceMode.NODE)
    check_member(pod, pod)
    check_member(NamespaceModes(), pod)
    check_member(NamespaceModes(user=nodes), NamespaceModes())
    wider = replace(MAPPED, uids=(replace(ONE[0], length=70000),))
    for container, sandbox in (
        (NamespaceModes(user=nodes), pod),
        (NamespaceModes(user=wider), pod),
        (pod, NamespaceModes()),
        (pod, NamespaceModes(user=nodes)),
    ):
        with pytest.raises(InvalidArgumentError, match="the pod's are different"):
            check_member(container, sandbox)
    with pytest.raises(InvalidArgumentError, match="pid node"):
        check_member(NamespaceModes(pid=NamespaceMode.NODE), pod)


def test_a_mapped_container_joins_the_user_namespace_and_says_its_ids() -> None:
    modes = NamespaceModes(user=MAPPED)
    pinned = replace(REQUEST.sandbox, user=Path("/run/ferry/s/user"))
    request = replace(REQUEST, sandbox_modes=modes, sandbox=pinned)
    assert kinds(document(request))["user"] == "/run/ferry/s/user"
    ids = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    assert id_mappings(modes) == {"uidMappings": ids, "gidMappings": ids}
    assert id_mappings(NamespaceModes(user=UserNamespace(mode=NamespaceMode.NODE))) == {}
    with pytest.raises(Error, match="user namespace of the pod is not known"):
        document(replace(request, sandbox=REQUEST.sandbox))


def test_sysctls_of_the_pods_namespaces_pass() -> None:
    check_sysctls(
        {
            "kernel.shm_rmid_forced": "1",
            "kernel.sem": "250 32000 32 128",
            "fs.mqueue.msg_max": "100",
            "net.ipv4.ip_local_port_range": "1024 65535",
        },
        NamespaceModes(),
    )


@pytest.mark.parametrize(
    ("name", "value", "modes"),
    [
        ("kernel.shm_rmid_forced", "1+kernel.core_pattern=|/bin/x", NamespaceModes()),
        ("kernel.shm_rmid_forced", "1\nkernel.core_pattern=x", NamespaceModes()),
        ("kernel.shm_rmid_forced", "", NamespaceModes()),
        ("kernel.shm_rmid_forced", "1" * 5000, NamespaceModes()),
        ("kernel.core_pattern", "x", NamespaceModes()),
        ("vm.swappiness", "1", NamespaceModes()),
        ("net.ipv4.ip_forward+kernel.core_pattern", "1", NamespaceModes()),
        ("net.ipv4/../../kernel", "1", NamespaceModes()),
        ("net.ipv4.ip_forward", "1", NODE),
        ("fs.mqueue.msg_max", "1", NODE),
    ],
)
def test_other_sysctls_are_refused_by_name(name: str, value: str, modes: NamespaceModes) -> None:
    with pytest.raises(InvalidArgumentError, match="cannot set sysctl"):
        check_sysctls({name: value}, modes)
