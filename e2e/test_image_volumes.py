"""Images as volumes."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from grpc import StatusCode, aio

from cri.api.runtime.v1 import api_pb2 as pb
from e2e.client import Client, Container, Pod, code, connected
from e2e.conftest import DaemonMaker
from e2e.images import BUSYBOX, VOLUME
from e2e.registry import Registry

pytestmark = pytest.mark.root

Images = Mapping[str, str]

USERS = (200_000, 65_536)
SLEEP = ["sleep", "600"]


def image_mount(image: str, sub_path: str = "") -> pb.Mount:
    """Return a mount of an image at /vol, as a kubelet sends it."""
    return pb.Mount(
        container_path="/vol",
        readonly=True,
        image=pb.ImageSpec(image=image, user_specified_image=image),
        image_sub_path=sub_path,
    )


@pytest.mark.parametrize("users", [None, USERS], ids=["node's users", "mapped"])
async def test_an_image_can_be_mounted_read_and_run_but_not_written(
    cri: Client, images: Images, handler: str, logs: Path, users: tuple[int, int] | None
) -> None:
    pod = Pod(name="image", logs=logs, users=users)
    async with cri.pod(pod, handler) as running:
        volume = image_mount(images[VOLUME])
        volume.uidMappings.extend(pod.mappings())
        volume.gidMappings.extend(pod.mappings())
        container = Container(name="main", image=images[BUSYBOX], command=SLEEP, mounts=[volume])
        main = await cri.run(running, container)
        assert await cri.output(main, "cat", "/vol/data/file", "/vol/data/second") == (
            "of the image\nof the second layer"
        )
        assert await cri.output(main, "/vol/data/run") == "ran"
        assert await cri.output(main, "stat", "-c", "%u:%g", "/vol/data/owned") == "1000:50000"
        for command in ("touch /vol/x", "touch /vol/data/file", "mount -o remount,rw /vol"):
            exit_code, _, errors = await cri.exec(main, "sh", "-c", command)
            assert exit_code != 0, command
            assert b"Read-only" in errors or b"denied" in errors, errors
        (shown,) = (await cri.status(main)).mounts
        assert shown.image.image == images[VOLUME]
        assert shown.image.image_ref == images[VOLUME]
        assert shown.readonly


async def test_an_image_in_use_stays_whole_when_it_is_removed(
    make_daemon: DaemonMaker, registry: Registry, logs: Path
) -> None:
    daemon = make_daemon()
    async with connected(daemon.address) as client:
        busybox = await client.pull(registry.reference(BUSYBOX))
        volume = await client.pull(registry.reference(VOLUME))
        running = await client.run_pod(Pod(name="removed", logs=logs))
        container = Container(
            name="main", image=busybox, command=SLEEP, mounts=[image_mount(volume)]
        )
        main = await client.run(running, container)
        await client.remove_image(volume)
    await asyncio.to_thread(daemon.restart, crash=True)  # the start collects what nothing needs
    async with connected(daemon.address) as client:
        assert await client.output(main, "cat", "/vol/data/second") == "of the second layer"
        await client.stop_pod(running.id)
        await client.remove_pod(running.id)


@pytest.mark.parametrize(
    ("sub_path", "shown"),
    [
        ("data", "absolute"),
        ("data/absolute", "canary"),
        ("data/dotted", "canary"),
        ("./data//dotted/", "canary"),
    ],
)
async def test_a_sub_path_is_looked_up_inside_the_image(
    cri: Client, images: Images, handler: str, logs: Path, sub_path: str, shown: str
) -> None:
    async with cri.pod(Pod(name="sub", logs=logs), handler) as running:
        container = Container(
            name="main",
            image=images[BUSYBOX],
            command=SLEEP,
            mounts=[image_mount(images[VOLUME], sub_path)],
        )
        main = await cri.run(running, container)
        assert shown in (await cri.output(main, "ls", "/vol")).split()
        if shown == "canary":
            assert await cri.output(main, "cat", "/vol/canary") == "of the image"
            assert "shadow" not in (await cri.output(main, "ls", "/vol")).split()


async def test_a_sub_path_may_be_a_file(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    async with cri.pod(Pod(name="file", logs=logs), handler) as running:
        container = Container(
            name="main",
            image=images[BUSYBOX],
            command=SLEEP,
            mounts=[image_mount(images[VOLUME], "data/file")],
        )
        main = await cri.run(running, container)
        assert await cri.output(main, "cat", "/vol") == "of the image"


@pytest.mark.parametrize(
    ("sub_path", "wanted", "text"),
    [
        ("missing", StatusCode.NOT_FOUND, "does not exist"),
        ("data/file/x", StatusCode.NOT_FOUND, "does not exist"),
        ("data/nowhere", StatusCode.NOT_FOUND, "does not exist"),
        ("data/loop", StatusCode.INVALID_ARGUMENT, "symbolic links"),
        ("data/magic/etc", StatusCode.NOT_FOUND, "does not exist"),
        ("data/pipe", StatusCode.INVALID_ARGUMENT, "neither a directory nor a regular file"),
        ("../etc", StatusCode.INVALID_ARGUMENT, "must not contain '..'"),
        ("/etc", StatusCode.INVALID_ARGUMENT, "must be a relative path"),
    ],
)
async def test_a_sub_path_that_leads_nowhere_is_refused(
    cri: Client, images: Images, logs: Path, sub_path: str, wanted: StatusCode, text: str
) -> None:
    async with cri.pod(Pod(name="nowhere", logs=logs)) as running:
        container = Container(
            name="main",
            image=images[BUSYBOX],
            command=SLEEP,
            mounts=[image_mount(images[VOLUME], sub_path)],
        )
        with pytest.raises(aio.AioRpcError, match=text) as refused:
            await cri.create(running, container)
        assert code(refused.value) is wanted


async def test_an_image_volume_must_be_here_and_read_only(
    cri: Client, images: Images, logs: Path
) -> None:
    async with cri.pod(Pod(name="refused", logs=logs)) as running:
        container = Container(
            name="main", image=images[BUSYBOX], command=SLEEP, mounts=[image_mount("no/such:1")]
        )
        with pytest.raises(aio.AioRpcError, match=r"ImageVolumeMountFailed.*pull it first"):
            await cri.create(running, container)
        writable = image_mount(images[VOLUME])
        writable.readonly = False
        with pytest.raises(aio.AioRpcError, match="must be true for an image"):
            await cri.create(running, replace(container, mounts=[writable]))
