import json

import grpc.aio
import pytest
from grpc import StatusCode

from cri.api.runtime.v1 import api_pb2 as pb
from cri.services import cri_image, serialised
from cri.services.cri_image import stages
from runtime.operations import Operations
from store.images import Credentials, Progress
from tests.fakes.images import FakeImages
from tests.fakes.images import image as some_image
from tests.serving import Clients, Parts

NAME = "example.org/a:1"
ID = str(some_image(1, NAME).id)


async def pull(clients: Clients, name: str = NAME) -> str:
    request = pb.PullImageRequest(image=pb.ImageSpec(image=name))
    return (await clients.images.PullImage(request)).image_ref


async def found(clients: Clients, name: str) -> pb.ImageStatusResponse:
    return await clients.images.ImageStatus(
        pb.ImageStatusRequest(image=pb.ImageSpec(image=name), verbose=True)
    )


async def test_a_pull_returns_the_id_by_which_the_image_is_found(clients: Clients) -> None:
    assert await pull(clients) == ID
    by_name, by_id = await found(clients, NAME), await found(clients, ID)
    assert by_name.image == by_id.image
    assert (by_name.image.id, list(by_name.image.repo_tags)) == (ID, [NAME])
    assert by_name.image.uid.value == 1000
    assert json.loads(by_name.info["info"])["config"]["Cmd"] == ["sh"]


async def test_credentials_arrive(clients: Clients, parts: Parts) -> None:
    auth = pb.AuthConfig(username="u", password="p")
    await clients.images.PullImage(pb.PullImageRequest(image=pb.ImageSpec(image=NAME), auth=auth))
    assert parts.images.credentials == Credentials(username="u", password="p")


async def test_a_broken_auth_is_refused_before_anything_is_asked(clients: Clients) -> None:
    request = pb.PullImageRequest(
        image=pb.ImageSpec(image=NAME), auth=pb.AuthConfig(auth="not base64!")
    )
    with pytest.raises(grpc.aio.AioRpcError, match=r"auth\.auth: is not base64") as raised:
        await clients.images.PullImage(request)
    assert raised.value.code() is StatusCode.INVALID_ARGUMENT


async def test_an_absent_image_is_no_error_but_no_image(clients: Clients) -> None:
    answer = await found(clients, "example.org/none:1")
    assert not answer.HasField("image")
    assert not answer.info


async def test_a_reference_that_cannot_be_parsed_is_refused(clients: Clients) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await found(clients, "-bad")
    assert raised.value.code() is StatusCode.INVALID_ARGUMENT


async def test_lists_and_streams_show_the_same_and_filter(clients: Clients, parts: Parts) -> None:
    parts.images.available |= FakeImages(some_image(2, "example.org/b:1")).available
    await pull(clients)
    await pull(clients, "example.org/b:1")
    for wanted, names in (
        (pb.ImageFilter(), [NAME, "example.org/b:1"]),
        (pb.ImageFilter(image=pb.ImageSpec(image="example.org/b:1")), ["example.org/b:1"]),
        (pb.ImageFilter(image=pb.ImageSpec(image="example.org/c:1")), []),
    ):
        answer = await clients.images.ListImages(pb.ListImagesRequest(filter=wanted))
        stream = clients.images.StreamImages(pb.StreamImagesRequest(filter=wanted))
        streamed = [image async for chunk in stream for image in chunk.images]
        assert streamed == list(answer.images)
        assert [image.repo_tags[0] for image in streamed] == names


async def test_a_large_list_points_to_the_stream(
    clients: Clients, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts.images.available |= FakeImages(some_image(2, "example.org/b:1")).available
    await pull(clients)
    await pull(clients, "example.org/b:1")
    monkeypatch.setattr(serialised, "MAX_UNARY", 10)
    monkeypatch.setattr(cri_image, "MAX_CHUNK", 10)
    with pytest.raises(grpc.aio.AioRpcError, match="use StreamImages"):
        await clients.images.ListImages(pb.ListImagesRequest())
    stream = clients.images.StreamImages(pb.StreamImagesRequest())
    assert [len(chunk.images) async for chunk in stream] == [1, 1]


async def test_removing_twice_is_no_error(clients: Clients) -> None:
    await pull(clients)
    for _ in range(2):
        await clients.images.RemoveImage(pb.RemoveImageRequest(image=pb.ImageSpec(image=ID)))
    assert not (await found(clients, NAME)).HasField("image")


async def test_an_empty_store_has_filesystems(clients: Clients) -> None:
    answer = await clients.images.ImageFsInfo(pb.ImageFsInfoRequest())
    assert answer.image_filesystems[0].fs_id.mountpoint == "/"
    assert answer.image_filesystems[0].HasField("used_bytes")
    assert answer.container_filesystems == answer.image_filesystems


def test_a_pull_moves_its_operation_only_forward() -> None:
    operations = Operations(clock=lambda: 0.0)
    with operations.begin("PullImage") as operation:
        report = stages(operation)
        assert report is not None
        for stage, item in (
            ("resolve", "a"),
            ("download", "l1"),
            ("unpack", "l1"),
            ("download", "l2"),
            ("unpack", "l2"),
            ("publish", "a"),
        ):
            report(Progress(stage=stage, item=item, done=1, total=2))
        steps = [(stage.name, stage.subject) for stage in operation.stages]
    assert steps == [
        ("resolve", "a (1 of 2 bytes)"),
        ("download", "l1 (1 of 2 bytes)"),
        ("unpack", "l2 (1 of 2 bytes)"),
        ("publish", "a (1 of 2 bytes)"),
    ]


def test_outside_of_an_operation_nobody_is_told() -> None:
    assert stages(None) is None
