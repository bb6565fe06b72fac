"""The daemon as commands see it: stubs over its socket, and errors in words."""

import asyncio
import functools
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Final, ParamSpec

import grpc
import grpc.aio
import typer

from cri.api.ferry.v1 import node_pb2_grpc
from cri.api.runtime.v1 import api_pb2_grpc

P = ParamSpec("P")

ADDRESS_VARIABLE: Final = "FERRY_ADDRESS"
DEFAULT_ADDRESS: Final = "/run/ferry/ferry.sock"
_MESSAGE_LIMIT: Final = 64 << 20

Address = Annotated[
    str,
    typer.Option(
        "--address", "-a", envvar=ADDRESS_VARIABLE, help="The daemon's socket.", show_default=True
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@dataclass(frozen=True, slots=True)
class Client:
    """The daemon's services."""

    runtime: api_pb2_grpc.RuntimeServiceStub
    images: api_pb2_grpc.ImageServiceStub
    node: node_pb2_grpc.NodeStub


@asynccontextmanager
async def connect(address: str) -> AsyncIterator[Client]:
    """Connect to the daemon for the block."""
    target = address if address.startswith("unix:") else f"unix:{_absolute(address)}"
    options = (("grpc.max_receive_message_length", _MESSAGE_LIMIT),)
    async with grpc.aio.insecure_channel(target, options=options) as channel:
        yield Client(
            api_pb2_grpc.RuntimeServiceStub(channel),
            api_pb2_grpc.ImageServiceStub(channel),
            node_pb2_grpc.NodeStub(channel),
        )


def _absolute(address: str) -> str:
    return os.path.join(os.getcwd(), address)  # noqa: PTH109, PTH118 - gRPC wants text


def command(body: Callable[P, Coroutine[None, None, None]]) -> Callable[P, None]:
    """Return a coroutine function as the plain one that a command is."""

    @functools.wraps(body)
    def plain(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(body(*args, **kwargs))

    return plain


def explain(error: grpc.RpcError) -> str:
    """Return what went wrong and what to do next."""
    if not isinstance(error, grpc.aio.AioRpcError):
        return str(error)
    text = error.details() or error.code().name
    if error.code() is grpc.StatusCode.UNAVAILABLE and "onnect" in text:
        return (
            f"cannot reach the daemon: {text}\n"
            f"Is ferryd running (systemctl status ferryd)? Another socket: --address or "
            f"{ADDRESS_VARIABLE}."
        )
    return text
