import grpc.aio
import pytest
from grpc import StatusCode

from cri.api.runtime.v1 import api_pb2 as pb
from cri.services.registration import RAW
from tests.serving import Clients, Parts, raw_call


@pytest.mark.parametrize("name", RAW)
async def test_the_typed_method_answers_like_its_twin(name: str, parts: Parts) -> None:
    service = parts.service()
    metadata = pb.PodSandboxMetadata(name="pod", uid="u", namespace="ns")
    run = pb.RunPodSandboxRequest(config=pb.PodSandboxConfig(metadata=metadata))
    await service.RunPodSandbox(run, None)
    request = getattr(pb, f"{name}Request")()
    answer, twin = getattr(service, name)(request, None), getattr(service, RAW[name])(request, None)
    if name.startswith("Stream"):
        assert [one.SerializeToString() async for one in answer] == [one async for one in twin]
    else:
        assert (await answer).SerializeToString() == await twin


async def test_bytes_that_are_no_message_are_an_invalid_argument(clients: Clients) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await raw_call(clients, "RunPodSandbox", b"\xff\xff\xff")
    assert raised.value.code() is StatusCode.INVALID_ARGUMENT
    assert "request: cannot decode it" in (raised.value.details() or "")


async def test_text_that_is_not_utf8_is_an_invalid_argument(clients: Clients) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await raw_call(clients, "StopPodSandbox", b"\x0a\x02\xff\xfe")
    assert raised.value.code() is StatusCode.INVALID_ARGUMENT
