"""The gRPC server on its unix socket."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import grpc
import grpc.aio

from store.errors import FailedPreconditionError

_MESSAGE_LIMIT: Final = 16 << 20
_SOCKET_PATH_LIMIT: Final = 107

# Clients are the kubelet and people on this node: keep-alive is theirs to choose.
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", _MESSAGE_LIMIT),
    ("grpc.max_send_message_length", _MESSAGE_LIMIT),
    ("grpc.so_reuseport", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 5000),
    ("grpc.keepalive_permit_without_calls", 1),
)


def make(interceptors: Sequence[grpc.aio.ServerInterceptor]) -> grpc.aio.Server:
    """Return a server without services or sockets."""
    return grpc.aio.server(interceptors=list(interceptors), options=_OPTIONS)


async def listen(server: grpc.aio.Server, socket: Path) -> None:
    """Start to serve on `socket`, mode 0660; one left by a dead daemon is replaced.

    Raises:
        FailedPreconditionError: the path is too long, or cannot be bound.
    """
    _bind(server, socket)
    await server.start()


def _bind(server: grpc.aio.Server, socket: Path) -> None:
    if len(os.fsencode(socket)) > _SOCKET_PATH_LIMIT:
        raise FailedPreconditionError(
            f"cannot listen on {socket}: a socket's path has at most {_SOCKET_PATH_LIMIT} bytes"
        )
    socket.parent.mkdir(parents=True, exist_ok=True)
    socket.unlink(missing_ok=True)
    mask = os.umask(0o117)
    try:
        server.add_insecure_port(f"unix:{socket}")
    except RuntimeError as error:
        raise FailedPreconditionError(f"cannot listen on {socket}: {error}") from error
    finally:
        os.umask(mask)
