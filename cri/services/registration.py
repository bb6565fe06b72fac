"""Putting services on a gRPC server, from the descriptors of their methods.

Lists go past gRPC's serialiser: for a method that `RAW` names, its twin is registered, which
returns the bytes of the same answer.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import grpc
import grpc.aio
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from cri.api.runtime.v1 import api_pb2 as pb
from cri.services.cri_image import ImageService
from cri.services.cri_runtime import RuntimeService

if TYPE_CHECKING:
    from google.protobuf.message import Message

RAW: Final[Mapping[str, str]] = {
    "ListPodSandbox": "list_pod_sandbox",
    "StreamPodSandboxes": "stream_pod_sandboxes",
    "ListContainers": "list_containers",
    "StreamContainers": "stream_containers",
}
"""Methods whose answers are ready bytes, and the methods that return them."""


def add_services(server: grpc.aio.Server, runtime: RuntimeService, images: ImageService) -> None:
    """Register both CRI services."""
    for name, service in (("RuntimeService", runtime), ("ImageService", images)):
        descriptor = pb.DESCRIPTOR.services_by_name[name]
        handlers = {method.name: _handler(service, method) for method in descriptor.methods}
        generic = grpc.method_handlers_generic_handler(descriptor.full_name, handlers)
        server.add_generic_rpc_handlers((generic,))
        server.add_registered_method_handlers(descriptor.full_name, handlers)


def _handler(
    service: RuntimeService | ImageService, method: MethodDescriptor
) -> "grpc.RpcMethodHandler[Message, Message]":
    twin = RAW.get(method.name)
    make = (
        grpc.unary_stream_rpc_method_handler
        if method.server_streaming
        else grpc.unary_unary_rpc_method_handler
    )
    return make(
        getattr(service, twin or method.name),
        request_deserializer=GetMessageClass(method.input_type).FromString,
        response_serializer=None if twin else GetMessageClass(method.output_type).SerializeToString,
    )
