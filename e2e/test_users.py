"""User namespaces: pods whose root is nobody on the node."""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from grpc import StatusCode, aio

from cri.api.runtime.v1 import api_pb2 as pb
from e2e.client import Client, Container, Pod, code, connected, eventually_logged, get
from e2e.conftest import DaemonMaker
from e2e.daemon import Service
from e2e.images import BUSYBOX, VOLUME, WEB
from e2e.registry import Registry

pytestmark = pytest.mark.root

Images = Mapping[str, str]

USERS = (200_000, 65_536)
SLEEP = ["sleep", "600"]


def mount(pod: Pod, source: Path, target: str) -> pb.Mount:
    """Return a mount as a kubelet sends it."""
    return pb.Mount(
        host_path=str(source),
        container_path=target,
        uidMappings=pod.mappings(),
        gidMappings=pod.mappings(),
    )


async def test_a_pods_root_is_nobody_on_the_node(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    pod = Pod(name="mapped", logs=logs, users=USERS, hostname="mapped-host")
    async with cri.pod(pod, handler) as running:
        main = await cri.run(running, Container(name="main", image=images[BUSYBOX], command=SLEEP))
        assert (await cri.output(main, "cat", "/proc/self/uid_map")).split() == [
            "0",
            *map(str, USERS),
        ]
        assert await cri.output(main, "id", "-u") == "0"
        assert Path(f"/proc/{await cri.pid(main)}").stat().st_uid == USERS[0]
        assert await cri.output(main, "hostname") == "mapped-host"
        files = "/ /bin/busybox /etc/resolv.conf /etc/hostname /dev/shm /home/user"
        owners = await cri.output(main, "sh", "-c", f"stat -c '%u:%g' {files}")
        assert owners.splitlines() == ["0:0"] * 6
        script = "echo made >/new && chown 1000:1000 /new && echo x >/dev/shm/y && stat -c %u /new"
        assert await cri.output(main, "sh", "-c", script) == "1000"
        assert "10.96.0.10" in await cri.output(main, "cat", "/etc/resolv.conf")
        status = await cri.pod_status(running.id)
        assert status.linux.namespaces.options.userns_options == pod.user_namespace()


async def test_two_pods_of_one_image_have_ids_of_their_own(
    cri: Client, images: Images, handler: str, logs: Path, daemon: Service
) -> None:
    found = []
    for number in (1, 2):
        pod = Pod(name=f"own{number}", logs=logs, users=(number * 300_000, 65_536))
        async with cri.pod(pod, handler) as running:
            container = Container(name="main", image=images[WEB], command=SLEEP)
            main = await cri.run(running, container)
            await cri.output(main, "sh", "-c", "touch /mine; chown 7:8 /srv/serve.py")
            found.append(await cri.output(main, "stat", "-c", "%u:%g", "/mine", "/srv/serve.py"))
    assert found == ["0:0\n7:8"] * 2


async def test_what_a_mapped_container_writes_looks_unmapped_on_the_disk(
    cri: Client, images: Images, handler: str, logs: Path, daemon: Service
) -> None:
    pod = Pod(name="disk", logs=logs, users=USERS)
    async with cri.pod(pod, handler) as running:
        main = await cri.run(running, Container(name="main", image=images[WEB], command=SLEEP))
        await cri.output(main, "sh", "-c", "touch /etc/written && chown 33:33 /etc/written")
        (written,) = daemon.root.glob("snapshots/*/fs/etc/written")
        assert (written.stat().st_uid, written.stat().st_gid) == (33, 33)


async def test_a_mapped_container_has_streams_logs_and_a_working_directory(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    pod = Pod(name="streams", logs=logs, users=USERS)
    async with cri.pod(pod, handler) as running:
        script = "pwd; echo again >/dev/stdout; echo wrong >/dev/stderr; touch here; sleep 600"
        container = Container(name="main", image=images[BUSYBOX], command=["sh", "-c", script])
        config = container.config(pod)
        config.working_dir = "/made/for/it"
        main = await cri.run(running, container, config)
        for line in ("/made/for/it", "again", "wrong"):
            await eventually_logged(pod, "main", line)
        assert await cri.output(main, "stat", "-c", "%u:%g", "/made", "/made/for/it/here") == (
            "0:0\n0:0"
        )


async def test_volumes_show_the_pods_ids(
    cri: Client, images: Images, handler: str, logs: Path, tmp_path: Path
) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    os.chown(volume, 1000, 1000)
    (volume / "root").write_text("node's root")
    pod = Pod(name="volumes", logs=logs, users=USERS)
    async with cri.pod(pod, handler) as running:
        fixed = mount(pod, volume, "/fixed")
        fixed.readonly = fixed.recursive_read_only = True
        container = Container(
            name="main",
            image=images[BUSYBOX],
            command=SLEEP,
            mounts=[mount(pod, volume, "/data"), fixed],
        )
        main = await cri.run(running, container)
        assert await cri.output(main, "stat", "-c", "%u", "/data", "/data/root") == "1000\n0"
        await cri.output(main, "sh", "-c", "touch /data/new && chown 5:6 /data/new")
        exit_code, _, errors = await cri.exec(main, "touch", "/fixed/x")
        assert exit_code != 0
        assert b"Read-only" in errors
    made = (volume / "new").stat()
    assert (made.st_uid, made.st_gid) == (5, 6)


async def test_a_volume_that_cannot_show_ids_is_refused_by_name(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    pod = Pod(name="unmappable", logs=logs, users=USERS)
    async with cri.pod(pod, handler) as running:
        container = Container(
            name="main",
            image=images[BUSYBOX],
            command=SLEEP,
            mounts=[mount(pod, Path("/proc/sys"), "/data")],
        )
        with pytest.raises(aio.AioRpcError, match=r"/proc/sys at /data.*no idmapped mounts") as no:
            await cri.create(running, container)
        assert code(no.value) is StatusCode.FAILED_PRECONDITION


async def test_containers_of_a_mapped_pod_share_processes_memory_and_network(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    pod = Pod(name="shared", logs=logs, users=USERS, pid="POD")
    async with cri.pod(pod, handler) as running:
        web = Container(name="web", image=images[WEB])
        await cri.run(running, web)
        await eventually_logged(pod, "web", "listening 8080")
        status = await cri.pod_status(running.id)
        assert await get(status.network.ip, 8080) == "shared /\n"
        main = await cri.run(running, Container(name="main", image=images[BUSYBOX], command=SLEEP))
        assert "serve.py" in await cri.output(main, "ps")
        assert "/holder" in await cri.output(main, "ps")
        page = await cri.output(main, "wget", "-qO-", "http://127.0.0.1:8080/x")
        assert page == "shared /x"


async def test_a_mapped_container_cannot_leave(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    pod = Pod(name="leave", logs=logs, users=USERS)
    async with cri.pod(pod, handler) as running:
        container = Container(name="main", image=images[BUSYBOX], command=SLEEP)
        config = container.config(pod)
        config.linux.security_context.capabilities.add_capabilities.append("ALL")
        config.linux.security_context.ClearField("seccomp")
        main = await cri.run(running, container, config)
        for script in (
            "mknod /tmp/sda b 8 0",
            "echo 1 >/proc/sys/kernel/panic",
            "mount -o remount,rw /sys",
            "dmesg -n 1",
        ):
            exit_code, _, errors = await cri.exec(main, "sh", "-c", script)
            assert exit_code != 0, script
            assert b"ermi" in errors or b"Read-only" in errors, (script, errors)


async def test_a_privileged_container_stays_in_its_user_namespace(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    pod = Pod(name="privileged", logs=logs, users=USERS)
    async with cri.pod(pod, handler) as running:
        container = Container(name="main", image=images[BUSYBOX], command=SLEEP)
        config = container.config(pod)
        config.linux.security_context.privileged = True
        main = await cri.run(running, container, config)
        await cri.output(main, "mount", "-t", "tmpfs", "x", "/mnt")
        assert (await cri.output(main, "cat", "/proc/self/uid_map")).split()[1] == str(USERS[0])
        exit_code, _, _ = await cri.exec(main, "sh", "-c", "echo 1 >/proc/sys/kernel/panic")
        assert exit_code != 0


async def test_a_mapped_pod_may_use_the_nodes_network(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    pod = Pod(name="hostnet", logs=logs, users=USERS, network="NODE")
    async with cri.pod(pod, handler) as running:
        main = await cri.run(running, Container(name="main", image=images[BUSYBOX], command=SLEEP))
        inside = await cri.output(main, "readlink", "/proc/self/ns/net")
        assert inside == str(Path("/proc/self/ns/net").readlink())
        assert "lo" in (await cri.output(main, "ls", "/sys/class/net")).split()
        exit_code, _, errors = await cri.exec(main, "sh", "-c", "echo 1 >/sys/class/net/lo/mtu")
        assert exit_code != 0
        assert b"Read-only" in errors or b"ermi" in errors


async def test_a_mapped_pod_may_set_sysctls_of_its_own(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    sysctls = {"net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1"}
    pod = Pod(name="sysctls", logs=logs, users=USERS, sysctls=sysctls)
    async with cri.pod(pod, handler) as running:
        main = await cri.run(running, Container(name="main", image=images[BUSYBOX], command=SLEEP))
        for name in sysctls:
            assert await cri.output(main, "cat", f"/proc/sys/{name.replace('.', '/')}") == "1"


@pytest.mark.parametrize("users", [None, USERS], ids=["node's users", "mapped"])
async def test_a_volume_that_the_image_declares_has_its_owners_and_modes(
    cri: Client, images: Images, handler: str, logs: Path, users: tuple[int, int] | None
) -> None:
    pod = Pod(name="declared", logs=logs, users=users)
    async with cri.pod(pod, handler) as running:
        main = await cri.run(running, Container(name="main", image=images[VOLUME], command=SLEEP))
        assert await cri.output(main, "cat", "/data/file", "/data/second") == (
            "of the image\nof the second layer"
        )
        found = await cri.output(
            main, "stat", "-c", "%a %u:%g", "/data", "/data/file", "/data/owned"
        )
        assert found.splitlines() == ["755 0:0", "644 0:0", "600 1000:50000"]
        await cri.output(main, "touch", "/data/new")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (pb.NamespaceOption(pid=pb.NamespaceMode.Value("NODE")), "pid node"),
        (pb.NamespaceOption(ipc=pb.NamespaceMode.Value("NODE")), "ipc node"),
        (
            pb.NamespaceOption(
                userns_options=pb.UserNamespace(
                    uids=[pb.IDMapping(container_id=70_000, host_id=1, length=1)]
                )
            ),
            "exactly one",
        ),
    ],
    ids=["pid", "ipc", "two mappings"],
)
async def test_what_a_user_namespace_cannot_have_is_refused(
    cri: Client, logs: Path, change: pb.NamespaceOption, text: str
) -> None:
    pod = Pod(name="refused", logs=logs, users=USERS)
    config = pod.config()
    config.linux.security_context.namespace_options.MergeFrom(change)
    with pytest.raises(aio.AioRpcError, match=text) as refused:
        await cri.run_pod(pod, config=config)
    assert code(refused.value) is StatusCode.INVALID_ARGUMENT


async def test_a_container_cannot_have_other_users_than_its_pod(
    cri: Client, images: Images, logs: Path
) -> None:
    pod = Pod(name="others", logs=logs, users=USERS)
    async with cri.pod(pod) as running:
        container = Container(name="main", image=images[BUSYBOX], command=SLEEP)
        for other in (None, (1, 65_536)):
            config = container.config(replace(pod, users=other))
            with pytest.raises(aio.AioRpcError, match="the pod's are different"):
                await cri.create(running, container, config)
        config = container.config(pod)
        config.linux.security_context.run_as_user.value = 70_000
        with pytest.raises(aio.AioRpcError, match=r"user 70000.*ids 0 to 65535"):
            await cri.create(running, container, config)


async def test_a_mapped_pod_outlives_the_daemon(
    make_daemon: DaemonMaker, registry: Registry, logs: Path
) -> None:
    daemon = make_daemon()
    pod = Pod(name="outlives", logs=logs, users=USERS)
    async with connected(daemon.address) as client:
        image = await client.pull(registry.reference(BUSYBOX))
        running = await client.run_pod(pod)
        container = Container(name="main", image=image, command=SLEEP)
        main = await client.run(running, container)
        pid = await client.pid(main)
    await asyncio.to_thread(daemon.restart, crash=True)
    async with connected(daemon.address) as client:
        status = await client.pod_status(running.id)
        assert status.state == pb.PodSandboxState.Value("SANDBOX_READY")
        assert await client.pid(main) == pid
        second = await client.run(running, replace(container, name="second"))
        assert await client.output(second, "id", "-u") == "0"
        await client.stop_pod(running.id)
        await client.remove_pod(running.id)
