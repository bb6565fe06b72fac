"""Images as volumes, over fakes: what is kept for them, how long, and what is told."""

import asyncio
from dataclasses import replace

import pytest

from runtime.pods import ContainerConfig
from runtime.pods.imagevolumes import ImageVolumes
from runtime.rollback import Rollback
from runtime.spec import MountRequest
from store.errors import Error, InvalidArgumentError, NotFoundError
from store.references import labelled
from store.snapshots import Kind
from tests.podnode import NAMESPACE, VOLUME, VOLUME_ID, Ground, daemon
from tests.unit.runtime.pods.test_services import CONTAINER, POD

ONE = MountRequest(container_path="/one", image=VOLUME, readonly=True)
TWO = replace(ONE, container_path="/two", image=str(VOLUME_ID))
PLAIN = MountRequest(container_path="/plain", host_path="/srv")
MOUNTED = replace(CONTAINER, mounts=(ONE, PLAIN, TWO))


def with_sub_path(sub_path: str) -> ContainerConfig:
    return replace(CONTAINER, mounts=(replace(ONE, image_sub_path=sub_path),))


async def test_every_use_has_a_view_that_lives_as_long_as_the_container(ground: Ground) -> None:
    async with daemon(ground) as one:
        pod = await one.pods.run(NAMESPACE, POD, "")
        before = ground.left()
        id_ = await one.containers.create(NAMESPACE, pod, MOUNTED)
        bundle = ground.layout.container(NAMESPACE, id_)
        assert ground.mounts.mounted(bundle.images) == [bundle.images / "0", bundle.images / "1"]
        for number in (0, 1):
            view = await one.node.snapshotter.stat(NAMESPACE, f"{id_}.image.{number}")
            assert view.kind is Kind.VIEW
        container = one.containers.get(NAMESPACE, id_).container
        assert container.mount_image_refs == {"/one": VOLUME_ID, "/two": VOLUME_ID}
        await one.containers.remove(NAMESPACE, id_)
        assert ground.left() == before


async def test_the_record_keeps_the_views_from_being_collected(ground: Ground) -> None:
    async with daemon(ground) as one:
        pod = await one.pods.run(NAMESPACE, POD, "")
        id_ = await one.containers.create(NAMESPACE, pod, MOUNTED)
        record = ground.containers.get(NAMESPACE, id_)
        kept = {node.key for node in labelled(NAMESPACE, record.labels)}
        assert kept == {f"{id_}.image.0", f"{id_}.image.1"}
        assert record.labels.items() >= CONTAINER.labels.items()
        assert one.containers.get(NAMESPACE, id_).container.config.labels == CONTAINER.labels


async def test_what_a_crash_left_of_a_container_goes_with_its_views(ground: Ground) -> None:
    async with daemon(ground) as one:
        pod = await one.pods.run(NAMESPACE, POD, "")
        before = ground.left()
        id_ = await one.containers.create(NAMESPACE, pod, MOUNTED)
        await one.tasks.delete(NAMESPACE, id_)
    ground.containers.delete(NAMESPACE, id_)
    async with daemon(ground):
        assert ground.left() == before


async def test_a_missing_sub_path_is_told(ground: Ground) -> None:
    async with daemon(ground) as one:
        pod = await one.pods.run(NAMESPACE, POD, "")
        with pytest.raises(NotFoundError, match=r"ImageVolumeMountFailed: .*'nosuch'.* not exist"):
            await one.containers.create(NAMESPACE, pod, with_sub_path("nosuch"))


async def test_a_mount_that_fails_is_told_as_an_image_volumes(ground: Ground) -> None:
    async with daemon(ground) as one:
        volumes = ImageVolumes(one.node)
        uses = volumes.find(NAMESPACE, MOUNTED.mounts)
        ground.mounts.failure = OSError(5, "Input/output error", "overlay")
        async with Rollback() as undo:
            with pytest.raises(Error, match=r"ImageVolumeMountFailed: cannot mount .*Input/output"):
                await volumes.make(NAMESPACE, "c1", uses, None, undo)
        assert [line for line in ground.left() if "snapshot" in line] == []


@pytest.mark.parametrize("sub_path", ["/etc", "..", "a/../../b", "a\0b"])
async def test_a_sub_path_that_leads_out_is_refused_at_once(ground: Ground, sub_path: str) -> None:
    async with daemon(ground) as one:
        pod = await one.pods.run(NAMESPACE, POD, "")
        before = ground.left()
        with pytest.raises(InvalidArgumentError, match="ImageVolumeMountFailed: "):
            await one.containers.create(NAMESPACE, pod, with_sub_path(sub_path))
        assert ground.left() == before


async def test_an_image_and_a_host_path_are_one_too_many(ground: Ground) -> None:
    both = replace(CONTAINER, mounts=(replace(ONE, host_path="/srv"),))
    async with daemon(ground) as one:
        pod = await one.pods.run(NAMESPACE, POD, "")
        with pytest.raises(InvalidArgumentError, match="host_path is set, too"):
            await one.containers.create(NAMESPACE, pod, both)


async def test_a_cancelled_create_leaves_no_view(ground: Ground) -> None:
    async with daemon(ground) as one:
        pod = await one.pods.run(NAMESPACE, POD, "")
        before = ground.left()
        for steps in range(0, 40, 3):
            async with asyncio.TaskGroup() as group:
                call = group.create_task(one.containers.create(NAMESPACE, pod, MOUNTED))
                for _ in range(steps):
                    await asyncio.sleep(0)
                call.cancel()
        id_ = await one.containers.create(NAMESPACE, pod, MOUNTED)
        await one.containers.remove(NAMESPACE, id_)
        assert ground.left() == before
