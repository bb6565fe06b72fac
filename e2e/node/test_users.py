"""User namespaces and images as volumes where systemd and cgroup v2 are, as on most nodes."""

import os
from pathlib import Path

import pytest
from grpc import StatusCode, aio

from cri.api.runtime.v1 import api_pb2 as pb
from e2e.client import Client, Container, Pod, code
from e2e.node import installed

pytestmark = pytest.mark.root

USERS = (200_000, 65_536)
SLEEP = ["sleep", "600"]


def volume(pod: Pod, folder: Path) -> pb.Mount:
    """Return a volume that somebody owns, as a kubelet sends it."""
    folder.mkdir()
    os.chown(folder, 1000, 1000)
    return pb.Mount(
        container_path="/data",
        host_path=str(folder),
        uidMappings=pod.mappings(),
        gidMappings=pod.mappings(),
    )


async def test_a_pods_root_is_nobody_on_the_node_and_its_files_are_what_they_say(
    cri: Client, image: str, logs: Path, tmp_path: Path
) -> None:
    pod = Pod(name="mapped", logs=logs, users=USERS, pid="POD")
    view = pb.Mount(container_path="/view", readonly=True, image=pb.ImageSpec(image=image))
    async with cri.pod(pod, "crun") as running:
        container = Container(
            name="main",
            image=image,
            command=SLEEP,
            mounts=[volume(pod, tmp_path / "volume"), view],
        )
        main = await cri.run(running, container)
        assert (await cri.output(main, "cat", "/proc/self/uid_map")).split()[1:] == [
            str(number) for number in USERS
        ]
        assert Path(f"/proc/{await cri.pid(main)}").stat().st_uid == USERS[0]
        script = "touch /data/new /new && stat -c %u /data /data/new /new /view/bin /sys/fs/cgroup"
        owners = (await cri.output(main, "sh", "-c", script)).split()
        assert owners[:4] == ["1000", "0", "0", "0"]
        assert "cgroup.procs" in await cri.output(main, "ls", "/sys/fs/cgroup")
        assert (await cri.exec(main, "touch", "/view/x"))[0] != 0
        assert (tmp_path / "volume/new").stat().st_uid == 0


async def test_a_mapped_pod_outlives_the_daemon(cri: Client, image: str, logs: Path) -> None:
    pod = Pod(name="outlives", logs=logs, users=USERS)
    async with cri.pod(pod, "crun") as running:
        main = await cri.run(running, Container(name="main", image=image, command=SLEEP))
        pid = await cri.pid(main)
        former = installed.main_pid()
        installed.systemctl("kill", "--signal=KILL", installed.UNIT)
        installed.until_another_runs(former)
        assert await cri.pid(main) == pid
        second = await cri.run(running, Container(name="second", image=image, command=SLEEP))
        assert await cri.output(second, "stat", "-c", "%u", "/bin") == "0"


async def test_a_handler_that_has_none_says_so_and_refuses(cri: Client, logs: Path) -> None:
    status = await cri.runtime.Status(pb.StatusRequest())
    able = {handler.name: handler.features.user_namespaces for handler in status.runtime_handlers}
    assert able == {"": True, "crun": True, "runc": False}  # Debian 13 has runc 1.1
    pod = Pod(name="refused", logs=logs, users=USERS)
    with pytest.raises(aio.AioRpcError, match=r"handler runc .* 1\.1.* has none") as refused:
        await cri.run_pod(pod, "runc")
    assert code(refused.value) is StatusCode.FAILED_PRECONDITION
