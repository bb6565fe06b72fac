"""The gRPC server on its unix socket."""

import os
import socket as sockets
import stat
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import grpc
import grpc.aio

from store.errors import FailedPreconditionError
from store.files import explained

_MESSAGE_LIMIT: Final = 16 << 20
_SOCKET_PATH_LIMIT: Final = 107

# Clients are the kubelet and people on this node: keep-alive is theirs to choose.
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", _MESSAGE_LIMIT),
    ("grpc.max_send_message_length", _MESSAGE_LIMIT),
    ("grpc.so_reuseport", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 5000),
    ("grpc.keepalive_permit_without_calls", 1),
    # Who connects and does not begin holds a descriptor for so long.
    ("grpc.server_handshake_timeout_ms", 5000),
)


def make(interceptors: Sequence[grpc.aio.ServerInterceptor]) -> grpc.aio.Server:
    """Return a server without services or sockets."""
    return grpc.aio.server(interceptors=list(interceptors), options=_OPTIONS)


async def listen(server: grpc.aio.Server, socket: Path) -> None:
    """Start to serve on `socket`, mode 0660; one left by a dead daemon is replaced.

    Raises:
        FailedPreconditionError: the path is too long, is somebody else's or cannot be bound.
    """
    _bind(server, socket)
    await server.start()


def _bind(server: grpc.aio.Server, socket: Path) -> None:
    if len(os.fsencode(socket)) > _SOCKET_PATH_LIMIT:
        raise FailedPreconditionError(
            f"cannot listen on {socket}: a socket's path has at most {_SOCKET_PATH_LIMIT} bytes:"
            " set daemon.address"
        )
    with explained(f"make room for {socket}"):
        socket.parent.mkdir(parents=True, exist_ok=True)
        _clear(socket)
    mask = os.umask(0o117)
    try:
        server.add_insecure_port(f"unix:{socket}")
    except RuntimeError as error:
        raise FailedPreconditionError(f"cannot listen on {socket}: {error}") from error
    finally:
        os.umask(mask)


def _clear(socket: Path) -> None:
    """Remove what a dead daemon left, and nothing else."""
    try:
        mode = socket.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FailedPreconditionError(
            f"cannot listen on {socket}: what is there is not a socket; move it away, or set"
            " daemon.address"
        )
    if holder := listener(socket):
        raise FailedPreconditionError(
            f"cannot listen on {socket}: {holder} does; stop it, or set daemon.address"
        )
    socket.unlink(missing_ok=True)


def listener(socket: Path) -> str:
    """Name the process that listens on a unix socket; "" if none does. Does not block."""
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM | sockets.SOCK_CLOEXEC) as probe:
        probe.setblocking(False)  # noqa: FBT003 - the method takes it like this
        try:
            probe.connect(str(socket))
        except BlockingIOError:
            return "a process that does not answer"  # its queue is full
        except (ConnectionRefusedError, FileNotFoundError):
            return ""
        credentials = probe.getsockopt(sockets.SOL_SOCKET, sockets.SO_PEERCRED, 12)
    pid: int = struct.unpack("iII", credentials)[0]
    return f"process {pid} ({_command(pid)})"


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "gone by now"
