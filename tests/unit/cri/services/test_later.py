import grpc.aio
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from grpc import StatusCode

from cri.api.runtime.v1 import api_pb2 as pb
from cri.services.later import LaterCalls
from tests.serving import Clients, raw_call

METHODS = [
    method
    for method in pb.DESCRIPTOR.services_by_name["RuntimeService"].methods
    if method.name in vars(LaterCalls)
]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: str(method.name))
async def test_what_is_not_there_yet_says_so_by_name(
    method: MethodDescriptor, clients: Clients
) -> None:
    data = GetMessageClass(method.input_type)().SerializeToString()
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await raw_call(clients, method.name, data)
    assert raised.value.code() is StatusCode.UNIMPLEMENTED
    assert f"cannot serve {method.name}: " in (raised.value.details() or "")


def test_the_rest_of_cri_is_there() -> None:
    service = pb.DESCRIPTOR.services_by_name["RuntimeService"]
    assert len(service.methods) - len(METHODS) == 34
