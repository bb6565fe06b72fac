"""Specs that `build` makes, run by both OCI runtimes: what the container then sees."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.cgroups.detect import detect
from runtime.cgroups.paths import CgroupfsPaths
from runtime.cgroups.v1 import CgroupsV1
from runtime.cgroups.v2 import CgroupsV2
from runtime.spec import (
    Capabilities,
    DeviceRequest,
    MountRequest,
    NamespaceMode,
    NamespaceModes,
    ProcessUser,
    Profile,
    ProfileKind,
    Propagation,
    Resources,
    SandboxPaths,
    Security,
    SpecRequest,
)
from runtime.spec.builder import build
from runtime.spec.devices import host_devices, scan
from runtime.spec.host import gather
from runtime.spec.resources import merge_resources, update_document
from store.images import ImageConfig
from tests.waiting import PATIENCE

pytestmark = pytest.mark.root

_TOOLS = Path("/opt/ferry/bin")
_APPLETS = (
    "sh cat id ls grep touch hostname mount mknod test echo sleep stat env pwd chroot chown unshare"
)
_ON_NODE = NamespaceModes(network=NamespaceMode.NODE, ipc=NamespaceMode.NODE)
_OWN_PID = replace(_ON_NODE, pid=NamespaceMode.CONTAINER)

Run = Callable[[SpecRequest, str], str]


def _tool(name: str) -> Path:
    found = shutil.which(name, path=f"{_TOOLS}:{os.environ['PATH']}")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return Path(found)


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    root = tmp_path / "rootfs"
    for name in ("bin", "proc", "sys", "dev", "etc", "tmp", "srv"):
        (root / name).mkdir(parents=True)
    shutil.copy(_tool("busybox"), root / "bin/busybox")
    for applet in _APPLETS.split():
        (root / "bin" / applet).hardlink_to(root / "bin/busybox")
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nweb:x:1000:1000::/srv:/bin/sh\n")
    return root


@pytest.fixture
def base(rootfs: Path, tmp_path: Path) -> SpecRequest:
    (tmp_path / "resolv.conf").write_text("nameserver 10.0.0.10\n")
    return SpecRequest(
        container_id=f"spec-{os.getpid()}",
        image=ImageConfig(entrypoint=("/bin/sh",)),
        sandbox_modes=_ON_NODE,
        security=Security(namespaces=_OWN_PID),
        sandbox=SandboxPaths(resolv_conf=tmp_path / "resolv.conf"),
        cgroups_path=f"/ferry-spec-{os.getpid()}",
        rootfs=rootfs,
        host=gather(detect()),
    )


@pytest.fixture(params=["crun", "runc"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Run]:
    program = _tool(str(request.param))
    state = tmp_path / "state"

    def run_script(spec: SpecRequest, script: str) -> str:
        bundle = tmp_path / "bundle"
        bundle.mkdir(exist_ok=True)
        document = build(replace(spec, args=("-c", script)))
        (bundle / "config.json").write_text(json.dumps(document))
        done = subprocess.run(
            [program, f"--root={state}", "run", f"--bundle={bundle}", spec.container_id],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    yield run_script
    assert list(state.glob("[!.]*")) == []
    assert list(Path("/sys/fs/cgroup").glob(f"**/ferry-spec-{os.getpid()}")) == []


def _status(text: str) -> dict[str, str]:
    return {name: value.strip() for name, _, value in (x.partition(":") for x in text.splitlines())}


def test_a_plain_container_has_default_capabilities_and_a_cut_down_view(
    base: SpecRequest, run: Run
) -> None:
    status = _status(run(base, "cat /proc/self/status"))
    assert status["CapBnd"] == status["CapEff"] == status["CapPrm"] == "00000000a80425fb"
    assert status["CapInh"] == status["CapAmb"] == "0000000000000000"
    assert status["Seccomp"] == "0"
    assert status["NoNewPrivs"] == "0"


def test_the_kernels_filesystems_are_read_only_but_dev(base: SpecRequest, run: Run) -> None:
    mounts = {line.split()[1]: line.split() for line in run(base, "cat /proc/mounts").splitlines()}
    assert mounts["/sys"][3].split(",")[0] == "ro"
    assert mounts["/dev"][2] == "tmpfs"
    assert mounts["/dev/pts"][2] == "devpts"
    assert mounts["/dev/shm"][3].startswith("rw,nosuid,nodev,noexec")  # noqa: S108 - the pod's
    assert any(point.startswith("/sys/fs/cgroup") for point in mounts)
    assert all(
        entry[3].split(",")[0] == "ro" for point, entry in mounts.items() if "cgroup/" in point
    )


def test_the_pods_resolv_conf_is_seen(base: SpecRequest, run: Run) -> None:
    assert run(base, "cat /etc/resolv.conf") == "nameserver 10.0.0.10\n"


def test_a_privileged_container_has_all_there_is(base: SpecRequest, run: Run) -> None:
    privileged = replace(
        base,
        security=Security(
            namespaces=_OWN_PID,
            privileged=True,
            masked_paths=("/proc/kcore",),
            readonly_paths=("/proc/sys",),
            seccomp=Profile(kind=ProfileKind.RUNTIME_DEFAULT),
        ),
        host_devices=host_devices(),
    )
    own = _status(Path("/proc/self/status").read_text())
    status = _status(run(privileged, "cat /proc/self/status"))
    assert status["CapBnd"] == own["CapBnd"]
    assert status["Seccomp"] == "0"
    loop = next(node.path for node in host_devices() if "loop" in node.path)
    assert run(privileged, f"ls {loop}; test -w /proc/sys/kernel && echo writable").split() == [
        loop,
        "writable",
    ]
    mounts = run(privileged, "grep ' /sys ' /proc/mounts")
    assert mounts.split()[3].startswith("rw")


def test_masked_and_readonly_paths(base: SpecRequest, run: Run) -> None:
    security = Security(
        namespaces=_OWN_PID,
        masked_paths=("/proc/keys", "/sys/firmware", "/proc/not-there"),
        readonly_paths=("/proc/sys", "/proc/not-there"),
    )
    script = "cat /proc/keys; ls -A /sys/firmware; echo x >/proc/sys/kernel/hostname || echo denied"
    assert run(replace(base, security=security), script) == "denied\n"


def test_a_readonly_root(base: SpecRequest, run: Run) -> None:
    security = Security(namespaces=_OWN_PID, readonly_rootfs=True)
    assert run(replace(base, security=security), "touch /x || echo refused") == "refused\n"


def test_user_groups_and_home(base: SpecRequest, run: Run) -> None:
    user = ProcessUser(uid=1000, gid=1000, supplemental_groups=(1000, 1234, 50000), home="/srv")
    output = run(replace(base, user=user), "id -u; id -g; id -G; echo $HOME")
    assert output.splitlines() == ["1000", "1000", "1000 1234 50000", "/srv"]


def test_the_default_seccomp_profile(base: SpecRequest, run: Run) -> None:
    security = Security(
        namespaces=_OWN_PID,
        seccomp=Profile(kind=ProfileKind.RUNTIME_DEFAULT),
        capabilities=Capabilities(add=("SYS_TIME",)),
    )
    script = "grep Seccomp: /proc/self/status; mount -t tmpfs x /tmp || echo refused; sh -c 'id -u'"
    assert run(replace(base, security=security), script).split() == [
        "Seccomp:",
        "2",
        "refused",
        "0",
    ]


def test_the_default_profile_keeps_new_user_namespaces_away(base: SpecRequest, run: Run) -> None:
    script = "unshare -U true 2>/dev/null && echo made || echo refused"
    confined = Security(namespaces=_OWN_PID, seccomp=Profile(kind=ProfileKind.RUNTIME_DEFAULT))
    assert run(base, script) == "made\n"
    assert run(replace(base, security=confined), script) == "refused\n"


def test_a_localhost_profile(base: SpecRequest, run: Run) -> None:
    security = Security(
        namespaces=_OWN_PID,
        seccomp=Profile(kind=ProfileKind.LOCALHOST, localhost="/p.json"),
    )
    spec = replace(
        base,
        security=security,
        seccomp_profile={
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [
                {"names": ["chmod", "fchmodat", "chown", "fchownat"], "action": "SCMP_ACT_ERRNO"}
            ],
        },
    )
    assert run(spec, "chown 1:1 /tmp || echo refused") == "refused\n"


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        (Capabilities(add=("NET_ADMIN",)), "00000000a80435fb"),
        (Capabilities(drop=("ALL",)), "0000000000000000"),
        (Capabilities(drop=("ALL",), add=("cap_chown",)), "0000000000000001"),
    ],
)
def test_capabilities(
    base: SpecRequest, run: Run, capabilities: Capabilities, expected: str
) -> None:
    security = Security(namespaces=_OWN_PID, capabilities=capabilities)
    status = _status(run(replace(base, security=security), "cat /proc/self/status"))
    assert status["CapEff"] == expected


def test_an_ambient_capability_reaches_a_plain_user(base: SpecRequest, run: Run) -> None:
    security = Security(
        namespaces=_OWN_PID, capabilities=Capabilities(ambient=("NET_BIND_SERVICE",))
    )
    user = ProcessUser(uid=1000, gid=1000)
    status = _status(run(replace(base, security=security, user=user), "cat /proc/self/status"))
    assert status["CapAmb"] == status["CapEff"] == "0000000000000400"


def test_no_new_privileges_and_limits(base: SpecRequest, run: Run) -> None:
    spec = replace(
        base,
        security=Security(namespaces=_OWN_PID, no_new_privs=True),
        resources=Resources(oom_score_adj=500, cpu_shares=512, memory_limit=64 << 20),
    )
    output = run(spec, "grep NoNewPrivs /proc/self/status; cat /proc/self/oom_score_adj")
    assert output.split() == ["NoNewPrivs:", "1", "500"]


def test_a_device_and_nothing_else(base: SpecRequest, run: Run) -> None:
    spec = replace(
        base,
        device_requests=(DeviceRequest(container_path="/dev/mine", host_path="/dev/kmsg"),),
        devices={"/dev/kmsg": scan("/dev/kmsg")},
    )
    script = (
        "test -c /dev/mine && echo there; mknod /tmp/d c 10 200 && echo made; "
        "cat </tmp/d || echo refused; echo x >/dev/null && echo null"
    )
    assert run(spec, script).split() == ["there", "made", "refused", "null"]


def test_mounts_are_read_only_as_asked(base: SpecRequest, run: Run, tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "sub").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "sub", top / "sub"], check=True)
    try:
        plain = MountRequest(container_path="/srv/plain", readonly=True)
        deep = MountRequest(container_path="/srv/deep", readonly=True, recursive_readonly=True)
        outer = MountRequest(container_path="/srv", propagation=Propagation.HOST_TO_CONTAINER)
        (tmp_path / "outer").mkdir()
        sources = {"/srv/plain": top, "/srv/deep": top, "/srv": tmp_path / "outer"}
        spec = replace(base, mounts=(plain, deep, outer), sources=sources)
        script = (
            "touch /srv/plain/x || echo 1; touch /srv/plain/sub/x && echo 2; "
            "touch /srv/deep/x || echo 3; touch /srv/deep/sub/y || echo 4; touch /srv/z && echo 5"
        )
        assert run(spec, script).split() == ["1", "2", "3", "4", "5"]
        assert (tmp_path / "outer/z").exists()
    finally:
        subprocess.run(["umount", top / "sub"], check=True)


def test_account_files_that_are_fifos_do_not_hang_the_runtime(
    base: SpecRequest, run: Run, rootfs: Path
) -> None:
    (rootfs / "etc/passwd").unlink()
    os.mkfifo(rootfs / "etc/passwd")
    os.mkfifo(rootfs / "etc/group")
    assert run(base, "echo alive") == "alive\n"


@pytest.mark.parametrize("name", ["crun", "runc"])
def test_an_update_changes_what_it_names_and_keeps_the_rest(
    base: SpecRequest, name: str, tmp_path: Path
) -> None:
    paths = CgroupfsPaths()
    cgroups = CgroupsV1() if base.host.cgroup_version == 1 else CgroupsV2()
    first = Resources(cpu_shares=512, cpu_quota=50_000, cpu_period=100_000, memory_limit=64 << 20)
    spec = replace(base, resources=first, args=("-c", "exec sleep 1000"))
    (tmp_path / "config.json").write_text(json.dumps(build(spec)))
    command = [str(_tool(name)), f"--root={tmp_path / 'state'}"]
    subprocess.run(
        [*command, "run", "--detach", f"--bundle={tmp_path}", spec.container_id],
        check=True,
        timeout=PATIENCE,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        directory = paths.directory(spec.cgroups_path)
        assert cgroups.read(directory).memory_limit == 64 << 20
        merged = merge_resources(first, Resources(memory_limit=128 << 20, cpu_quota=-1))
        subprocess.run(
            [*command, "update", "--resources", "-", spec.container_id],
            input=json.dumps(update_document(merged, base.host)).encode(),
            check=True,
            timeout=PATIENCE,
        )
        counters = cgroups.read(directory, detailed=True)
        assert counters.memory_limit == 128 << 20
        assert counters.extra["cpu_quota"] == -1
        assert counters.extra["cpu_period"] == 100_000
        if base.host.swap_accounting:
            assert counters.swap_limit == 0
        if base.host.cgroup_version == 1:
            assert counters.extra["cpu_shares"] == 512
    finally:
        subprocess.run(
            [*command, "delete", "--force", spec.container_id], check=True, timeout=PATIENCE
        )
    assert list(Path("/sys/fs/cgroup").glob(f"**/ferry-spec-{os.getpid()}")) == []
