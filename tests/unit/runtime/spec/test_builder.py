"""Whole specs, held by golden files; `REGENERATE_GOLDEN=1` writes them anew for review."""

import json
import os
import platform
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from runtime.spec import (
    Capabilities,
    DeviceNode,
    DeviceRequest,
    EditedDevice,
    EditedMount,
    Edits,
    GroupsPolicy,
    Hook,
    HugepageLimit,
    IdMapping,
    MountRequest,
    NamespaceMode,
    NamespaceModes,
    ProcessUser,
    Profile,
    ProfileKind,
    Propagation,
    Resources,
    Rlimit,
    SandboxPaths,
    Security,
    SELinux,
    SpecRequest,
    UserNamespace,
)
from runtime.spec.builder import build
from store.errors import Error, InvalidArgumentError
from tests.specs import HOST, OWN_PID, REQUEST, with_security

_GOLDEN: Final = Path(__file__).parent / "golden"
_DRI: Final = DeviceNode(
    path="/dev/dri/card0", kind="c", major=226, minor=0, mode=0o20660, uid=0, gid=44
)
_LOOP: Final = DeviceNode(path="/dev/loop0", kind="b", major=7, minor=0, mode=0o60660, uid=0, gid=6)
_ON_NODE: Final = NamespaceModes(
    network=NamespaceMode.NODE, pid=NamespaceMode.NODE, ipc=NamespaceMode.NODE
)

_IDS: Final = (IdMapping(container_id=0, host_id=200000, length=65536),)
_MAPPED: Final = replace(
    REQUEST,
    sandbox_modes=NamespaceModes(user=UserNamespace(mode=NamespaceMode.POD, uids=_IDS, gids=_IDS)),
    sandbox=replace(REQUEST.sandbox, user=Path("/run/ferry/s/user")),
)

_CASES: Final[dict[str, SpecRequest]] = {
    "default": REQUEST,
    "privileged": replace(
        with_security(replace(REQUEST.security, privileged=True)),
        host_devices=(_DRI, _LOOP),
    ),
    "node_namespaces": replace(
        REQUEST,
        security=Security(namespaces=_ON_NODE),
        sandbox_modes=_ON_NODE,
        sandbox=SandboxPaths(resolv_conf=Path("/run/ferry/s/resolv.conf")),
    ),
    "shared_pid": replace(
        REQUEST,
        security=Security(),
        sandbox=replace(REQUEST.sandbox, pid=Path("/proc/77/ns/pid")),
        sysctls={"kernel.shm_rmid_forced": "1", "net.ipv4.ip_unprivileged_port_start": "0"},
    ),
    "seccomp_default": with_security(Security(seccomp=Profile(kind=ProfileKind.RUNTIME_DEFAULT))),
    "seccomp_localhost": replace(
        with_security(
            Security(seccomp=Profile(kind=ProfileKind.LOCALHOST, localhost="/p/block.json"))
        ),
        seccomp_profile={
            "defaultAction": "SCMP_ACT_ALLOW",
            "archMap": [
                {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}
            ],
            "syscalls": [{"names": ["sethostname"], "action": "SCMP_ACT_ERRNO"}],
        },
    ),
    "user_and_confinement": replace(
        with_security(
            Security(
                readonly_rootfs=True,
                no_new_privs=True,
                groups_policy=GroupsPolicy.STRICT,
                capabilities=Capabilities(drop=("ALL",), add=("net_admin",), ambient=("CHOWN",)),
                selinux=SELinux(level="s0:c1,c2"),
                apparmor=Profile(kind=ProfileKind.LOCALHOST, localhost="strict"),
            )
        ),
        user=ProcessUser(uid=1000, gid=1000, supplemental_groups=(1000, 1234), home="/home/web"),
        rlimits=(Rlimit(kind="RLIMIT_NOFILE", soft=1024, hard=4096),),
        host=replace(HOST, apparmor=True, selinux=True),
        terminal=True,
        annotations={"io.example/handler": "allowed"},
    ),
    "mounts": replace(
        REQUEST,
        mounts=(
            MountRequest(container_path="/data/deep/er", readonly=True, recursive_readonly=True),
            MountRequest(container_path="/data/", propagation=Propagation.BIDIRECTIONAL),
            MountRequest(container_path="/etc/resolv.conf", readonly=True),
            MountRequest(
                container_path="/model", image="sha256:1", readonly=True, options=("nosuid",)
            ),
            MountRequest(
                container_path="/mapped",
                uid_mappings=(IdMapping(container_id=0, host_id=100000, length=65536),),
                gid_mappings=(IdMapping(container_id=0, host_id=100000, length=65536),),
            ),
        ),
        sources={
            "/data/deep/er": Path("/var/lib/a"),
            "/data/": Path("/var/lib/b"),
            "/etc/resolv.conf": Path("/var/lib/c"),
            "/model": Path("/var/lib/d"),
            "/mapped": Path("/var/lib/e"),
        },
    ),
    "devices": replace(
        REQUEST,
        device_requests=(
            DeviceRequest(container_path="/dev/gpu", host_path="/dev/dri", permissions="rw"),
            DeviceRequest(container_path="", host_path="/dev/loop0"),
        ),
        devices={"/dev/dri": (_DRI,), "/dev/loop0": (_LOOP,)},
    ),
    "resources": replace(
        REQUEST,
        resources=Resources(
            cpu_period=100_000,
            cpu_quota=50_000,
            cpu_shares=512,
            memory_limit=64 << 20,
            oom_score_adj=-997,
            cpuset_cpus="0-1",
            cpuset_mems="0",
            hugepages=(HugepageLimit(page_size="2MB", limit=4 << 20),),
            unified={"memory.oom.group": "1", "memory.high": "max"},
        ),
    ),
    "mapped": _MAPPED,
    "mapped_node_network": replace(
        _MAPPED,
        sandbox_modes=replace(_MAPPED.sandbox_modes, network=NamespaceMode.NODE),
        mounts=(
            MountRequest(container_path="/model", image="sha256:1", readonly=True),
            MountRequest(
                container_path="/data", uid_mappings=_IDS, gid_mappings=_IDS, options=("noexec",)
            ),
        ),
        sources={"/model": Path("/run/ferry/c/images/0"), "/data": Path("/var/lib/data")},
    ),
    "cdi": replace(
        _MAPPED,
        user=ProcessUser(uid=1000, gid=1000, supplemental_groups=(1000, 44)),
        env=(("GPU", b"request"),),
        edits=Edits(
            env=("GPU=cdi", "NEW="),
            devices=(
                EditedDevice(
                    path="/dev/gpu0",
                    host_path="/dev/gpu0",
                    kind="c",
                    major=226,
                    minor=0,
                    mode=0o660,
                    gid=44,
                ),
                EditedDevice(
                    path="/dev/gpu1",
                    host_path="/dev/dri/card1",
                    kind="c",
                    major=226,
                    minor=1,
                    mode=0o600,
                    uid=0,
                    access="",
                ),
                EditedDevice(
                    path="/dev/pipe", host_path="/dev/pipe", kind="p", major=0, minor=0, mode=0o600
                ),
            ),
            mounts=(
                EditedMount(source="/lib/driver", target="/lib/driver", options=("rbind", "ro")),
                EditedMount(source="tmpfs", target="/dev/shm/", type="tmpfs"),  # noqa: S108
            ),
            hooks={
                "createContainer": (
                    Hook(path="/bin/hook", args=("hook", "x"), env=("A=b",), timeout=3),
                    Hook(path="/bin/second"),
                )
            },
            gids=(44, 45),
            rdt={"closID": "gold"},
        ),
    ),
    "cgroup_v1": replace(
        REQUEST,
        resources=Resources(memory_limit=64 << 20),
        host=replace(HOST, cgroup_version=1, swap_accounting=False, hugepage_sizes=()),
    ),
}


@pytest.mark.parametrize("name", sorted(_CASES))
def test_the_spec_is_as_reviewed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    path = _GOLDEN / f"{name}.json"
    text = json.dumps(build(_CASES[name]), indent=2) + "\n"
    if os.environ.get("REGENERATE_GOLDEN"):
        path.write_text(text)
        pytest.skip(f"wrote {path}")
    assert text == path.read_text()


def test_every_golden_file_has_its_case() -> None:
    assert {path.stem for path in _GOLDEN.glob("*.json")} == set(_CASES)


def test_the_same_request_gives_the_same_bytes() -> None:
    assert json.dumps(build(REQUEST)) == json.dumps(build(replace(REQUEST)))


def test_a_missing_namespace_of_the_pod_is_an_error_not_a_private_one() -> None:
    for kind in ("net", "ipc", "uts"):
        sandbox = replace(REQUEST.sandbox, **{kind: None})
        with pytest.raises(Error, match="namespace of the pod is not known"):
            build(replace(REQUEST, sandbox=sandbox))
    with pytest.raises(Error, match="pid namespace of the pod is not known"):
        build(replace(REQUEST, security=Security()))


def test_annotations_are_text() -> None:
    with pytest.raises(InvalidArgumentError, match="one has no name"):
        build(replace(REQUEST, annotations={"": "x"}))
    with pytest.raises(InvalidArgumentError, match=r"annotation a 'x\\x00'"):
        build(replace(REQUEST, annotations={"a": "x\0"}))


def test_the_image_decides_nothing_but_program_environment_and_directory() -> None:
    hostile = replace(
        REQUEST,
        image=replace(
            REQUEST.image,
            user="0:0",
            volumes=("/proc",),
            labels={"io.kubernetes.cri.privileged": "true"},
        ),
    )
    assert build(hostile) == build(REQUEST)
    assert OWN_PID.network is NamespaceMode.POD


def test_under_systemd_a_container_is_in_its_scope_itself() -> None:
    subgroup = "run.oci.systemd.subgroup"
    scoped = replace(REQUEST, cgroups_path="pod.slice:ferry:c1")
    spec = build(scoped)
    assert spec["annotations"] == {subgroup: "", **REQUEST.annotations}
    chosen = build(replace(scoped, annotations={subgroup: "inner"}))  # the handler allows it
    assert chosen["annotations"] == {subgroup: "inner"}
    assert subgroup not in json.dumps(build(REQUEST))
