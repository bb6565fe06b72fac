"""A gRPC server for a probe, in plain Python: it tells everybody that it serves, or does not.

    python3 healthy.py PORT FILE

It runs inside a container; it serves as long as FILE exists. Of HTTP/2 (RFC 9113) and of gRPC's
health protocol it knows what a probe's one call takes.
"""

import socket
import struct
import sys
from pathlib import Path

PREFACE = len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
DATA, HEADERS, SETTINGS, PING = 0, 1, 4, 6
ACK = END_STREAM = 1
END_HEADERS = 4
STATUS_200 = b"\x88"  # RFC 7541, appendix A
SERVING, NOT_SERVING = 1, 2


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return one frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def header(name: bytes, value: bytes) -> bytes:
    """Return a header field that nobody needs to remember (RFC 7541, 6.2.2)."""
    return b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value


def answer(stream: int, health: int) -> bytes:
    """Return the whole answer to a call: headers, HealthCheckResponse, trailers."""
    start = STATUS_200 + header(b"content-type", b"application/grpc")
    message = bytes((8, health))
    return (
        frame(HEADERS, END_HEADERS, stream, start)
        + frame(DATA, 0, stream, struct.pack(">BI", 0, len(message)) + message)
        + frame(HEADERS, END_HEADERS | END_STREAM, stream, header(b"grpc-status", b"0"))
    )


def serve(client: socket.socket, file: Path) -> None:
    """Serve one connection to its end."""
    reader = client.makefile("rb")
    reader.read(PREFACE)
    client.sendall(frame(SETTINGS, 0, 0))
    while len(head := reader.read(9)) == 9:
        kind, flags, stream = struct.unpack(">BBI", head[3:])
        payload = reader.read(int.from_bytes(head[:3], "big"))
        if kind in (SETTINGS, PING) and not flags & ACK:
            client.sendall(frame(kind, ACK, 0, payload if kind == PING else b""))
        if kind in (DATA, HEADERS) and flags & END_STREAM:
            client.sendall(answer(stream, SERVING if file.exists() else NOT_SERVING))


def main() -> None:
    """Serve one client after the other."""
    listener = socket.create_server(("", int(sys.argv[1])))
    while True:
        client, _ = listener.accept()
        with client:
            serve(client, Path(sys.argv[2]))


if __name__ == "__main__":
    main()
