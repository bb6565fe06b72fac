"""Whatever bytes and texts a client sends: an error that names what is wrong, never a surprise."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc.aio
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc import StatusCode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cri.api.runtime.v1 import api_pb2 as pb
from cri.services import rules
from tests.serving import Clients, Parts, serving

SURPRISES = {StatusCode.INTERNAL, StatusCode.UNKNOWN}
METHODS = [
    method for service in pb.DESCRIPTOR.services_by_name.values() for method in service.methods
]
NAMES = [f"{method.containing_service.name}.{method.name}" for method in METHODS]

# Each of these must never become a path, an argument or a line.
NASTY = ["\0", "a\0b", "../../etc/passwd", "a/../b", "a\nb", "x" * 10_240, "-x\n", "\x7f"]


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Parts, Clients]]:
    parts = Parts()
    parts.sandboxes.events.broadcast.close()  # a stream of events would not end by itself
    with TemporaryDirectory() as directory:
        async with serving(parts, Path(directory)) as clients:
            yield parts, clients


async def ask(clients: Clients, method: MethodDescriptor, data: bytes) -> StatusCode:
    path = f"/{method.containing_service.full_name}/{method.name}"
    try:
        if method.server_streaming:
            stream: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = clients.channel.unary_stream(
                path
            )
            async for _ in stream(data):
                pass
        else:
            unary: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = clients.channel.unary_unary(
                path
            )
            await unary(data)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return StatusCode.OK


@pytest.mark.parametrize("method", METHODS, ids=NAMES)
@settings(
    max_examples=15,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.binary(max_size=200))
async def test_no_bytes_are_a_surprise(method: MethodDescriptor, data: bytes) -> None:
    async with served() as (_, clients):
        assert await ask(clients, method, data) not in SURPRISES


def texts(descriptor: Descriptor, seen: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every string that a request can carry and that ferry reads."""
    for field in descriptor.fields:
        key = f"{descriptor.name}.{field.name}"
        if key in rules.UNREAD or descriptor.name in seen:
            continue
        kind = field.message_type
        if field.type in {FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES} or (
            kind and kind.GetOptions().map_entry
        ):
            yield (field.name,)
        elif kind:
            for rest in texts(kind, (*seen, descriptor.name)):
                yield (field.name, *rest)


def planted(message: Message, path: tuple[str, ...], text: str) -> None:
    """Put `text` at `path` of a message."""
    name, *rest = path
    field = message.DESCRIPTOR.fields_by_name[name]
    value = getattr(message, name)
    if field.message_type and field.message_type.GetOptions().map_entry:
        value[text] = text
    elif rest:
        planted(value.add() if field.is_repeated else value, tuple(rest), text)
    elif field.is_repeated:
        value.append(text)
    else:
        is_text = field.type == FieldDescriptor.TYPE_STRING
        setattr(message, name, text if is_text else text.encode())


def valid(method: MethodDescriptor) -> Message:
    """Return a request of this method that would be served."""
    message = GetMessageClass(method.input_type)()
    if isinstance(message, pb.RunPodSandboxRequest):
        message.config.metadata.MergeFrom(pb.PodSandboxMetadata(name="n", uid="u", namespace="ns"))
    if isinstance(message, pb.CreateContainerRequest):
        message.config.metadata.name = "c"
        message.config.image.image = "sha256:1"
    for name in ("pod_sandbox_id", "container_id"):
        if name in message.DESCRIPTOR.fields_by_name:
            setattr(message, name, "none")
    return message


CASES = [
    (method, path)
    for method in METHODS
    for path in texts(method.input_type)
    if method.name not in {"RestorePod", "CheckpointPod", "CheckpointContainer"}
]


@pytest.mark.parametrize(
    ("method", "path"), CASES, ids=[f"{m.name}.{'.'.join(p)}" for m, p in CASES]
)
async def test_nul_is_refused_in_every_field(
    method: MethodDescriptor, path: tuple[str, ...]
) -> None:
    message = valid(method)
    planted(message, path, "a\0b")
    async with served() as (parts, clients):
        code = await ask(clients, method, message.SerializeToString())
        assert code in {StatusCode.INVALID_ARGUMENT, StatusCode.UNIMPLEMENTED}
        assert parts.sandboxes.calls == parts.containers.calls == []


IDS = [(method, path) for method, path in CASES if path[-1] in rules.IDS]


@pytest.mark.parametrize("text", [*NASTY, "", "a/b", "..", "ä"], ids=repr)
async def test_ids_that_are_none_are_refused_everywhere(text: str) -> None:
    async with served() as (parts, clients):
        for method, path in IDS:
            message = valid(method)
            planted(message, path, text)
            code = await ask(clients, method, message.SerializeToString())
            optional = text == "" and path[0] == "filter"
            wanted = StatusCode.OK if optional else StatusCode.INVALID_ARGUMENT
            assert code in {wanted, StatusCode.UNIMPLEMENTED}, method.name
        assert parts.sandboxes.calls == parts.containers.calls == []
    assert len(IDS) > 20


@pytest.mark.parametrize("text", NASTY, ids=repr)
@pytest.mark.parametrize("name", ["name", "uid", "namespace"])
async def test_names_of_pods_are_refused_before_anything_is_made(name: str, text: str) -> None:
    metadata = pb.PodSandboxMetadata(name="n", uid="u", namespace="ns")
    setattr(metadata, name, text)
    request = pb.RunPodSandboxRequest(config=pb.PodSandboxConfig(metadata=metadata))
    async with served() as (parts, clients):
        with pytest.raises(grpc.aio.AioRpcError, match=rf"config\.metadata\.{name}: ") as raised:
            await clients.runtime.RunPodSandbox(request)
        assert raised.value.code() is StatusCode.INVALID_ARGUMENT
        assert parts.sandboxes.kept == {}
