"""What a container is given: users, privileges, mounts, limits, logs, and programs run in it."""

import asyncio
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from grpc import StatusCode, aio

from cri.api.runtime.v1 import api_pb2 as pb
from e2e.client import Client, Container, Pod, Running, code, log_lines, log_text
from e2e.images import BUSYBOX

pytestmark = pytest.mark.root

Images = Mapping[str, str]


async def sleeper(
    client: Client, running: Running, image: str, change: pb.LinuxContainerSecurityContext | None
) -> str:
    """Run a container that waits, with `change` merged into its security context."""
    container = Container(name="main", image=image, command=["sleep", "600"])
    config = container.config(running.pod)
    if change is not None:
        config.linux.security_context.MergeFrom(change)
    return await client.run(running, container, config)


async def proc_status(client: Client, container: str) -> dict[str, str]:
    text = await client.output(container, "cat", "/proc/self/status")
    return dict(re.findall(r"^(\w+):\s*(.*)$", text, re.MULTILINE))


# --- users and privileges


@pytest.mark.parametrize(
    ("context", "identity"),
    [
        (pb.LinuxContainerSecurityContext(), "0 0 0"),
        (
            pb.LinuxContainerSecurityContext(run_as_user=pb.Int64Value(value=1000)),
            "1000 1000 1000 50000",
        ),
        (
            pb.LinuxContainerSecurityContext(
                run_as_user=pb.Int64Value(value=4242), run_as_group=pb.Int64Value(value=77)
            ),
            "4242 77 77",
        ),
        (
            pb.LinuxContainerSecurityContext(run_as_username="www-data"),
            "33 33 33",
        ),
        (
            pb.LinuxContainerSecurityContext(
                run_as_user=pb.Int64Value(value=1000), supplemental_groups=[1234]
            ),
            "1000 1000 1000 1234 50000",
        ),
        (
            pb.LinuxContainerSecurityContext(
                run_as_user=pb.Int64Value(value=1000),
                supplemental_groups=[1234],
                supplemental_groups_policy=pb.SupplementalGroupsPolicy.Value("Strict"),
            ),
            "1000 1000 1000 1234",
        ),
    ],
    ids=["root", "uid", "uid and gid", "name", "merged groups", "strict groups"],
)
async def test_who_it_runs_as(
    cri: Client,
    images: Images,
    handler: str,
    logs: Path,
    context: pb.LinuxContainerSecurityContext,
    identity: str,
) -> None:
    async with cri.pod(Pod(name="users", logs=logs), handler) as running:
        container = await sleeper(cri, running, images[BUSYBOX], context)
        script = "echo $(id -u) $(id -g) $(id -G | tr ' ' '\\n' | sort -n)"
        assert await cri.output(container, "sh", "-c", script) == identity
        user = (await cri.status(container)).user.linux
        uid, gid, *groups = map(int, identity.split())
        assert (user.uid, user.gid) == (uid, gid)
        assert set(groups) - {gid} <= set(user.supplemental_groups)


async def test_a_group_alone_is_refused(cri: Client, images: Images, logs: Path) -> None:
    context = pb.LinuxContainerSecurityContext(run_as_group=pb.Int64Value(value=77))
    async with cri.pod(Pod(name="group", logs=logs)) as running:
        with pytest.raises(aio.AioRpcError):
            await sleeper(cri, running, images[BUSYBOX], context)


NET_ADMIN, CHOWN = 1 << 12, 1 << 0


@pytest.mark.parametrize(
    ("add", "drop", "has", "lacks"),
    [
        ([], [], CHOWN, NET_ADMIN),
        (["NET_ADMIN"], [], NET_ADMIN | CHOWN, 0),
        (["CAP_NET_ADMIN"], ["ALL"], NET_ADMIN, CHOWN),
        ([], ["CHOWN"], 0, CHOWN),
        (["ALL"], [], NET_ADMIN | CHOWN, 0),
        ([], ["ALL"], 0, NET_ADMIN | CHOWN),
    ],
)
async def test_capabilities(
    cri: Client,
    images: Images,
    handler: str,
    logs: Path,
    add: list[str],
    drop: list[str],
    has: int,
    lacks: int,
) -> None:
    context = pb.LinuxContainerSecurityContext(
        capabilities=pb.Capability(add_capabilities=add, drop_capabilities=drop)
    )
    async with cri.pod(Pod(name="caps", logs=logs), handler) as running:
        container = await sleeper(cri, running, images[BUSYBOX], context)
        status = await proc_status(cri, container)
        effective = int(status["CapEff"], 16)
        assert (effective & has, effective & lacks) == (has, 0)
        assert int(status["CapInh"], 16) == 0


@pytest.mark.parametrize(
    ("profile", "mode"), [("RuntimeDefault", "2"), ("Unconfined", "0")], ids=["default", "none"]
)
async def test_seccomp(
    cri: Client, images: Images, handler: str, logs: Path, profile: str, mode: str
) -> None:
    kind = pb.SecurityProfile.ProfileType.Value(profile)
    context = pb.LinuxContainerSecurityContext(seccomp=pb.SecurityProfile(profile_type=kind))
    async with cri.pod(Pod(name="seccomp", logs=logs), handler) as running:
        container = await sleeper(cri, running, images[BUSYBOX], context)
        assert (await proc_status(cri, container))["Seccomp"] == mode


async def test_no_new_privileges_and_a_read_only_root(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    context = pb.LinuxContainerSecurityContext(no_new_privs=True, readonly_rootfs=True)
    async with cri.pod(Pod(name="tight", logs=logs), handler) as running:
        container = await sleeper(cri, running, images[BUSYBOX], context)
        assert (await proc_status(cri, container))["NoNewPrivs"] == "1"
        failed, _, errors = await cri.exec(container, "touch", "/new")
        assert (failed, b"Read-only" in errors) == (1, True)
        assert await cri.exec(container, "touch", "/dev/shm/new")


async def test_masked_and_read_only_paths(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    async with cri.pod(Pod(name="masked", logs=logs), handler) as running:
        container = await sleeper(cri, running, images[BUSYBOX], None)
        assert await cri.output(container, "sh", "-c", "cat /proc/kcore | wc -c") == "0"
        assert await cri.output(container, "ls", "-A", "/sys/firmware") == ""
        failed, _, _ = await cri.exec(container, "sh", "-c", "echo 1 > /proc/sys/kernel/panic")
        assert failed != 0


async def test_privileged(cri: Client, images: Images, handler: str, logs: Path) -> None:
    pod = Pod(name="privileged", logs=logs)
    config = pod.config()
    config.linux.security_context.privileged = True
    running = await cri.run_pod(pod, handler, config)
    context = pb.LinuxContainerSecurityContext(privileged=True)
    container = await sleeper(cri, running, images[BUSYBOX], context)
    status = await proc_status(cri, container)
    own = dict(re.findall(r"^(\w+):\s*(.*)$", Path("/proc/self/status").read_text(), re.MULTILINE))
    assert status["CapEff"] == own["CapBnd"]
    assert status["Seccomp"] == "0"
    await cri.output(container, "sh", "-c", "mkdir /m && mount -t tmpfs m /m && umount /m")
    await cri.stop_pod(running.id)
    await cri.remove_pod(running.id)


# --- mounts


async def test_mounts_read_write_and_read_only(
    cri: Client, images: Images, handler: str, logs: Path, tmp_path: Path
) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "note").write_text("from the node\n")
    (tmp_path / "link").symlink_to(volume)
    mounts = [
        pb.Mount(container_path="/rw", host_path=str(volume)),
        pb.Mount(container_path="/ro", host_path=str(volume), readonly=True),
        pb.Mount(container_path="/via/link", host_path=str(tmp_path / "link")),
    ]
    async with cri.pod(Pod(name="mounts", logs=logs), handler) as running:
        main = Container(
            name="main", image=images[BUSYBOX], command=["sleep", "600"], mounts=mounts
        )
        container = await cri.run(running, main)
        assert await cri.output(container, "cat", "/ro/note") == "from the node"
        await cri.output(container, "sh", "-c", "echo back > /rw/answer")
        assert (volume / "answer").read_text() == "back\n"
        assert await cri.output(container, "cat", "/via/link/answer") == "back"
        failed, _, errors = await cri.exec(container, "touch", "/ro/new")
        assert (failed, b"Read-only" in errors) == (1, True)
        shown = {mount.container_path: mount for mount in (await cri.status(container)).mounts}
        assert set(shown) >= {"/rw", "/ro", "/via/link"}
        assert shown["/ro"].readonly is True
        assert shown["/rw"].host_path == str(volume)


async def test_mount_propagation(
    cri: Client, images: Images, handler: str, logs: Path, tmp_path: Path
) -> None:
    names = {"private": "PRIVATE", "slave": "HOST_TO_CONTAINER", "shared": "BIDIRECTIONAL"}
    mounts = []
    for name, mode in names.items():
        (tmp_path / name / "later").mkdir(parents=True)
        subprocess.run(["mount", "--bind", tmp_path / name, tmp_path / name], check=True)
        subprocess.run(["mount", "--make-rshared", tmp_path / name], check=True)
        propagation = pb.MountPropagation.Value(f"PROPAGATION_{mode}")
        mounts.append(
            pb.Mount(
                container_path=f"/{name}", host_path=str(tmp_path / name), propagation=propagation
            )
        )
    try:
        async with cri.pod(Pod(name="propagation", logs=logs), handler) as running:
            main = Container(
                name="main", image=images[BUSYBOX], command=["sleep", "600"], mounts=mounts
            )
            container = await cri.run(running, main)
            for name in names:
                later = tmp_path / name / "later"
                subprocess.run(["mount", "-t", "tmpfs", "later", later], check=True)
                (later / "seen").touch()
            seen = {
                name: (await cri.exec(container, "test", "-e", f"/{name}/later/seen"))[0] == 0
                for name in names
            }
            assert seen == {"private": False, "slave": True, "shared": True}
    finally:
        for name in names:
            subprocess.run(["umount", "-R", tmp_path / name], check=True)


# --- limits


def cgroup_value(pid: int, controller: str, v1: str, v2: str) -> str:
    """Read a setting of the cgroup of `pid`, whichever layout this node has."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return (Path("/sys/fs/cgroup") / controller / path.lstrip("/") / v1).read_text().strip()
        if not controllers and Path("/sys/fs/cgroup/cgroup.controllers").exists():
            return (Path("/sys/fs/cgroup") / path.lstrip("/") / v2).read_text().strip()
    raise AssertionError(f"process {pid} has no {controller} cgroup")


def memory_limit(pid: int) -> int:
    return int(cgroup_value(pid, "memory", "memory.limit_in_bytes", "memory.max"))


async def test_limits_are_applied_reported_and_changed(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    async with cri.pod(Pod(name="limits", logs=logs), handler) as running:
        main = Container(
            name="main", image=images[BUSYBOX], command=["sleep", "600"], memory=64 << 20
        )
        config = main.config(running.pod)
        config.linux.resources.cpu_quota = 50_000
        container = await cri.run(running, main, config)
        pid = await cri.pid(container)
        assert memory_limit(pid) == 64 << 20
        assert "50000" in cgroup_value(pid, "cpu", "cpu.cfs_quota_us", "cpu.max")
        shown = (await cri.status(container)).resources.linux
        assert (shown.memory_limit_in_bytes, shown.cpu_quota) == (64 << 20, 50_000)

        request = pb.UpdateContainerResourcesRequest(
            container_id=container,
            linux=pb.LinuxContainerResources(
                cpu_period=100_000, cpu_quota=20_000, memory_limit_in_bytes=96 << 20
            ),
        )
        await cri.runtime.UpdateContainerResources(request)
        assert memory_limit(pid) == 96 << 20
        assert "20000" in cgroup_value(pid, "cpu", "cpu.cfs_quota_us", "cpu.max")
        shown = (await cri.status(container)).resources.linux
        assert (shown.memory_limit_in_bytes, shown.cpu_quota) == (96 << 20, 20_000)


async def test_out_of_memory_is_told(cri: Client, images: Images, handler: str, logs: Path) -> None:
    async with cri.pod(Pod(name="oom", logs=logs), handler) as running:
        hungry = Container(
            name="main",
            image=images[BUSYBOX],
            command=["sh", "-c", "sleep 0.2; x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done"],
            memory=24 << 20,
        )
        config = hungry.config(running.pod)
        config.linux.resources.memory_swap_limit_in_bytes = 24 << 20
        container = await cri.run(running, hungry, config)
        status = await cri.exited(container)
        assert (status.exit_code, status.reason) == (137, "OOMKilled")


async def test_a_pods_containers_live_below_its_cgroup(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    parent = "/e2epods/burstable/podx"
    roots = [path.parent for path in Path("/sys/fs/cgroup").glob("**/cgroup.procs")]
    tops = [root for root in roots if root.parent == Path("/sys/fs/cgroup")] or [
        Path("/sys/fs/cgroup")
    ]
    made = [top / parent.lstrip("/") for top in tops if top.name != "unified"]
    for folder in made:  # as a kubelet does
        folder.mkdir(parents=True)
        for level in (folder.parent.parent, folder.parent, folder):
            if (level / "cpuset.cpus").exists() and not (level / "cpuset.cpus").read_text().strip():
                for name in ("cpuset.cpus", "cpuset.mems"):
                    (level / name).write_text((level.parent / name).read_text())
    try:
        pod = Pod(name="parent", logs=logs, cgroup_parent=parent)
        async with cri.pod(pod, handler) as running:
            container = await sleeper(cri, running, images[BUSYBOX], None)
            text = Path(f"/proc/{await cri.pid(container)}/cgroup").read_text()
            paths = {line.split(":", 2)[2] for line in text.splitlines() if ":memory:" in line}
            paths = paths or {line.split(":", 2)[2] for line in text.splitlines()}
            assert all(path.startswith(f"{parent}/") for path in paths), text
        async with asyncio.timeout(10):
            while [child for folder in made for child in folder.iterdir() if child.is_dir()]:
                await asyncio.sleep(0.05)
    finally:
        for folder in made:
            for level in (folder, folder.parent, folder.parent.parent):
                level.rmdir()


# --- programs run in a container


async def test_exec_keeps_streams_apart_and_codes_as_they_are(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    async with cri.pod(Pod(name="exec", logs=logs), handler) as running:
        container = await sleeper(cri, running, images[BUSYBOX], None)
        script = "echo out; echo err >&2; printf '\\377\\000x'; exit 5"
        assert await cri.exec(container, "sh", "-c", script) == (5, b"out\n\xff\x00x", b"err\n")
        code_, output, _ = await cri.exec(container, "sh", "-c", "yes | head -c 3000000")
        assert (code_, len(output)) == (0, 3_000_000)
        code_, output, _ = await cri.exec(container, "cat")  # its input is empty
        assert (code_, output) == (0, b"")


async def test_an_exec_that_says_too_much_is_cut_to_what_a_kubelet_takes(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    most = 16 << 20
    async with cri.pod(Pod(name="loud", logs=logs), handler) as running:
        container = await sleeper(cri, running, images[BUSYBOX], None)
        flood = "head -c 40000000 /dev/zero"
        code_, output, errors = await cri.exec(container, "sh", "-c", f"{flood}; exit 3")
        assert (code_, errors) == (3, b"")
        assert most - 4096 < len(output) < most
        code_, output, errors = await cri.exec(container, "sh", "-c", f"{flood}; {flood} >&2")
        assert code_ == 0
        assert most - 4096 < len(output) + len(errors) < most
        assert abs(len(output) - len(errors)) < 4096


async def test_an_exec_that_takes_too_long_is_ended(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    async with cri.pod(Pod(name="slow", logs=logs), handler) as running:
        container = await sleeper(cri, running, images[BUSYBOX], None)
        with pytest.raises(aio.AioRpcError) as late:
            await cri.exec(container, "sh", "-c", "sleep 300 & sleep 301", timeout=1)
        assert code(late.value) is StatusCode.DEADLINE_EXCEEDED
        async with asyncio.timeout(10):
            while "sleep 30" in await cri.output(container, "ps", "-o", "args"):
                await asyncio.sleep(0.05)


async def test_an_exec_needs_a_running_container_and_a_program(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    async with cri.pod(Pod(name="noexec", logs=logs), handler) as running:
        container = await sleeper(cri, running, images[BUSYBOX], None)
        try:
            found, _, _ = await cri.exec(container, "/no/such/program")
            assert found != 0
        except aio.AioRpcError as error:
            assert "/no/such/program" in str(error.details())  # noqa: PT017 - either is right
        await cri.stop(container)
        with pytest.raises(aio.AioRpcError):
            await cri.exec(container, "true")


# --- logs


async def test_the_log_has_streams_tags_and_long_lines(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    script = "echo one; echo two >&2; head -c 40000 /dev/zero | tr '\\0' x; echo; printf end"
    async with cri.pod(Pod(name="log", logs=logs), handler) as running:
        container = await cri.run(
            running, Container(name="main", image=images[BUSYBOX], command=["sh", "-c", script])
        )
        await cri.exited(container)
        path = running.pod.log_directory / "main/0.log"
        stamp = re.compile(
            r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|[+-]\d\d:\d\d) (stdout|stderr) [PF] "
        )
        async with asyncio.timeout(5):
            while not path.read_text().endswith("end\n"):
                await asyncio.sleep(0.02)
        assert all(stamp.match(line) for line in path.read_text().splitlines())
        lines = log_lines(path)
        assert ("stdout", "F", "one") in lines
        assert ("stderr", "F", "two") in lines
        # A long line comes in parts; the end of the line may come by itself.
        start = next(n for n, (_, _, text) in enumerate(lines) if text.startswith("x"))
        end = next(n for n, (_, tag, _) in enumerate(lines[start:], start) if tag == "F")
        assert "".join(text for _, _, text in lines[start : end + 1]) == "x" * 40_000


async def test_a_reopened_log_loses_nothing(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    script = "i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done"
    async with cri.pod(Pod(name="rotate", logs=logs), handler) as running:
        main = Container(name="main", image=images[BUSYBOX], command=["sh", "-c", script])
        container = await cri.create(running, main)
        path = running.pod.log_directory / "main/0.log"
        await cri.start(container)
        rotated = []
        for number in range(3):
            try:
                rotated.append(path.rename(path.with_suffix(f".log.{number}")))
                await cri.runtime.ReopenContainerLog(
                    pb.ReopenContainerLogRequest(container_id=container)
                )
            except aio.AioRpcError:
                break  # it has ended meanwhile; what it wrote is in the renamed file
            assert path.exists()
        await cri.exited(container)
        async with asyncio.timeout(5):
            while True:
                text = "".join(map(log_text, (*rotated, path)))
                if text.endswith("2999\n"):
                    break
                await asyncio.sleep(0.05)
        assert text == "".join(f"{number}\n" for number in range(3000))


async def test_a_log_that_is_gone_can_be_made_anew(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    async with cri.pod(Pod(name="gone", logs=logs), handler) as running:
        script = "trap 'echo again' USR1; while :; do sleep 0.05; done"
        container = await cri.run(
            running, Container(name="main", image=images[BUSYBOX], command=["sh", "-c", script])
        )
        path = running.pod.log_directory / "main/0.log"
        path.unlink()
        await cri.runtime.ReopenContainerLog(pb.ReopenContainerLogRequest(container_id=container))
        assert path.exists()
        async with asyncio.timeout(10):
            while not log_lines(path):
                os.kill(await cri.pid(container), 10)
                await asyncio.sleep(0.1)
        assert set(log_lines(path)) == {("stdout", "F", "again")}
