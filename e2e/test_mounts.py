"""Mounts of the node's files: how deep read-only goes, and mount options."""

import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from grpc import StatusCode, aio

from cri.api.runtime.v1 import api_pb2 as pb
from e2e.client import Client, Container, Pod, code
from e2e.images import BUSYBOX

pytestmark = pytest.mark.root

Images = Mapping[str, str]

USERS = (200_000, 65_536)
SLEEP = ["sleep", "600"]


@pytest.fixture
def tree(node: None, tmp_path: Path) -> Iterator[Path]:
    """A directory with another file system below it, both shared as on a node with systemd."""
    tree = tmp_path / "tree"
    (tree / "below").mkdir(parents=True)
    subprocess.run(["mount", "--bind", tree, tree], check=True)
    subprocess.run(["mount", "--make-shared", tree], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "below", tree / "below"], check=True)
    yield tree
    subprocess.run(["umount", "--recursive", tree], check=True)


@pytest.mark.parametrize("users", [None, USERS], ids=["node's users", "mapped"])
async def test_read_only_goes_as_deep_as_it_is_asked(
    cri: Client,
    images: Images,
    handler: str,
    logs: Path,
    tree: Path,
    users: tuple[int, int] | None,
) -> None:
    pod = Pod(name="deep", logs=logs, users=users)
    shallow = pb.Mount(
        container_path="/shallow",
        host_path=str(tree),
        readonly=True,
        uidMappings=pod.mappings(),
        gidMappings=pod.mappings(),
    )
    deep = pb.Mount()
    deep.CopyFrom(shallow)
    deep.container_path, deep.recursive_read_only = "/deep", True
    async with cri.pod(pod, handler) as running:
        container = Container(
            name="main", image=images[BUSYBOX], command=SLEEP, mounts=[shallow, deep]
        )
        main = await cri.run(running, container)
        await cri.output(main, "touch", "/shallow/below/x")
        assert (tree / "below/x").stat().st_uid == 0
        for path in ("/shallow/x", "/deep/x", "/deep/below/x"):
            exit_code, _, errors = await cri.exec(main, "touch", path)
            assert (exit_code, b"Read-only" in errors) == (1, True), path
        shown = {each.container_path: each for each in (await cri.status(main)).mounts}
        assert shown["/deep"].recursive_read_only
        assert not shown["/shallow"].recursive_read_only


async def test_a_volume_with_something_below_that_has_no_ids_of_its_own_works(
    cri: Client, images: Images, handler: str, logs: Path, tree: Path
) -> None:
    pod = Pod(name="mixed", logs=logs, users=USERS)
    subprocess.run(["mount", "-t", "proc", "proc", tree / "below"], check=True)
    (tree / "file").touch()
    mount = pb.Mount(
        container_path="/mixed",
        host_path=str(tree),
        uidMappings=pod.mappings(),
        gidMappings=pod.mappings(),
    )
    async with cri.pod(pod, handler) as running:
        container = Container(name="main", image=images[BUSYBOX], command=SLEEP, mounts=[mount])
        main = await cri.run(running, container)
        shown = await cri.output(main, "stat", "-c", "%u", "/mixed/file", "/mixed/below/uptime")
        assert shown.split() == ["0", "65534"]


@pytest.mark.parametrize(
    "contradiction",
    [
        pb.Mount(readonly=False),
        pb.Mount(readonly=True, propagation=pb.PROPAGATION_HOST_TO_CONTAINER),
        pb.Mount(readonly=True, propagation=pb.PROPAGATION_BIDIRECTIONAL),
    ],
    ids=["writable", "slave", "shared"],
)
async def test_recursive_read_only_with_what_contradicts_it_is_refused(
    cri: Client, images: Images, logs: Path, tree: Path, contradiction: pb.Mount
) -> None:
    deep = pb.Mount(container_path="/deep", host_path=str(tree), recursive_read_only=True)
    deep.MergeFrom(contradiction)
    async with cri.pod(Pod(name="contradiction", logs=logs)) as running:
        container = Container(name="main", image=images[BUSYBOX], command=SLEEP, mounts=[deep])
        with pytest.raises(aio.AioRpcError, match="recursive_read_only") as refused:
            await cri.create(running, container)
        assert code(refused.value) is StatusCode.INVALID_ARGUMENT


async def test_mount_options_are_applied(
    cri: Client, images: Images, handler: str, logs: Path, tmp_path: Path
) -> None:
    (tmp_path / "run").write_text("#!/bin/sh\necho ran\n")
    (tmp_path / "run").chmod(0o755)
    async with cri.pod(Pod(name="options", logs=logs), handler) as running:
        plain = pb.Mount(host_path=str(tmp_path), container_path="/plain")
        strict = pb.Mount(
            host_path=str(tmp_path),
            container_path="/strict",
            mount_options=["noexec", "nosuid", "nodev"],
        )
        container = Container(
            name="main", image=images[BUSYBOX], command=SLEEP, mounts=[plain, strict]
        )
        main = await cri.run(running, container)
        assert await cri.output(main, "/plain/run") == "ran"
        with pytest.raises(aio.AioRpcError, match=r"not executable|permission denied"):
            await cri.exec(main, "/strict/run")
        lines = (await cri.output(main, "cat", "/proc/mounts")).splitlines()
        found = {line.split()[1]: set(line.split()[3].split(",")) for line in lines}
        assert {"noexec", "nosuid", "nodev"} <= found["/strict"]
        assert not {"noexec", "nosuid", "nodev"} & found["/plain"]
        unknown = replace(
            container,
            name="unknown",
            mounts=[pb.Mount(host_path="/", container_path="/x", mount_options=["suid"])],
        )
        with pytest.raises(aio.AioRpcError, match="noexec, nodev, nosuid"):
            await cri.create(running, unknown)
