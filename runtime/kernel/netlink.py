"""Netlink: requests to the kernel in batches, and its errors in words.

pyroute2's message classes encode and decode, what is sent for every pod only once (`Template`); the
bytes travel over plain sockets, one system call for a whole batch. That is what makes it fit into
the start of a pod, where one `IPRoute` object for each pod would take 11 ms.

A rtnetlink batch is a sequence: a failed request does not undo those before it, and those after it
are still tried. A nftables batch (between `NFNL_MSG_BATCH_BEGIN` and `_END`) is all or nothing.
"""

import errno
import os
import socket
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self, TypeAlias

from pyroute2.netlink import nlmsg_base

ROUTE: Final = 0
NETFILTER: Final = 12

REQUEST: Final = 0x1
ACK: Final = 0x4
EXCLUSIVE: Final = 0x200
CREATE: Final = 0x400
REPLACE: Final = 0x100
DUMP: Final = 0x300

Value: TypeAlias = (
    "int | str | bytes | Mapping[str, Value] | Sequence[tuple[str, Value]] | Sequence[Value]"
)
Attributes: TypeAlias = Sequence[tuple[str, Value]]

_SOL_NETLINK: Final = 270
_NETLINK_CAP_ACK: Final = 10
_NETLINK_EXT_ACK: Final = 11
_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
_F_ACK_TLVS: Final = 0x200
_ATTRIBUTE_TEXT: Final = 1
_HEADER: Final = struct.Struct("=IHHII")
_RECEIVE: Final = 1 << 17
_TIMEOUT: Final = struct.pack("ll", 10, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One encoded message. `what` completes "cannot ..." in an error; the socket numbers it."""

    what: str
    data: bytes

    @property
    def flags(self) -> int:
        """The flags in its header."""
        return int(_HEADER.unpack_from(self.data)[2])


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One message from the kernel, header included in `data`."""

    type: int
    number: int
    flags: int
    data: bytes

    def error(self) -> tuple[int, str]:
        """Return errno and text of an NLMSG_ERROR; 0 says that the request was done."""
        number = -int(struct.unpack_from("=i", self.data, _HEADER.size)[0])
        return number, self._text() or os.strerror(number)

    def _text(self) -> str:
        if not self.flags & _F_ACK_TLVS:
            return ""
        for kind, value in attributes(self.data[_HEADER.size + 4 + _HEADER.size :]):
            if kind == _ATTRIBUTE_TEXT:
                return value.rstrip(b"\0").decode(errors="replace")
        return ""


def encode(
    what: str,
    message: nlmsg_base,
    type_: int,
    flags: int,
    attributes: Attributes = (),
    fields: Mapping[str, Value] | None = None,
) -> Request:
    """Fill and encode one of pyroute2's messages.

    Args:
        what: completes "cannot ..." in an error.
        message: a new message of the class that `type_` wants.
        type_: the message type.
        flags: REQUEST, ACK and so on.
        attributes: by pyroute2's names.
        fields: the fixed fields after the header.
    """
    message["header"]["type"] = type_
    message["header"]["flags"] = flags
    for name, value in (fields or {}).items():
        message[name] = value
    message["attrs"] = list(attributes)
    message.encode()
    return Request(what=what, data=bytes(message.data))


class Template:
    """A message that is encoded once and sent often, with other values in some places.

    pyroute2 takes 0.1 to 0.2 ms to encode a message, filling in a template a hundredth of that.

    Args:
        request: the message, with a mark that occurs nowhere else in each place.
        marks: the marks in the order of the values of `fill`, each as long as its values.
    """

    def __init__(self, request: Request, *marks: bytes) -> None:
        self._data = request.data
        self._places: list[tuple[int, int]] = []
        for mark in marks:
            if request.data.count(mark) != 1:
                raise ValueError(f"the mark {mark!r} is not there exactly once")
            self._places.append((request.data.index(mark), len(mark)))

    def fill(self, what: str, *values: bytes) -> Request:
        """Return the message with `values` in the places of the marks."""
        data = bytearray(self._data)
        for (start, length), value in zip(self._places, values, strict=True):
            if len(value) != length:
                raise ValueError(f"{value!r} does not fit into {length} bytes")
            data[start : start + length] = value
        return Request(what=what, data=bytes(data))


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and value of the netlink attributes in `data`; stops where they are malformed."""
    offset = 0
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4 or offset + length > len(data):
            return
        yield kind & 0x3FFF, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


class Netlink:
    """A socket in the network namespace of the thread that makes it; any thread may use it.

    Args:
        protocol: ROUTE or NETFILTER.
    """

    def __init__(self, protocol: int) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, protocol)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEOUT)
        self._lock = threading.Lock()
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def send(self, requests: Sequence[Request]) -> None:
        """Send a batch and wait until every request with ACK is answered.

        Raises:
            OSError: the first refusal: "cannot <what>: <the kernel's words>".
        """
        with self._lock:
            sent = self._transmit(requests)
            refused = self._acknowledged(sent)
        if refused is not None:
            raise refused

    def dump(self, request: Request) -> list[bytes]:
        """Return every message, header included, that a request with DUMP answers."""
        with self._lock:
            sent = self._transmit((request,))
            found: list[bytes] = []
            for reply in self._replies(sent):
                if reply.type == _NLMSG_DONE:
                    break
                if reply.type == _NLMSG_ERROR:
                    raise _refusal(request, reply)
                found.append(reply.data)
        return found

    def _transmit(self, requests: Sequence[Request]) -> dict[int, Request]:
        sent: dict[int, Request] = {}
        batch = bytearray()
        for request in requests:
            self._number += 1
            sent[self._number] = request
            start = len(batch)
            batch += request.data
            struct.pack_into("=II", batch, start + 8, self._number, 0)
        self._socket.send(batch)
        return sent

    def _acknowledged(self, sent: dict[int, Request]) -> OSError | None:
        refused: OSError | None = None
        waiting = {number for number, request in sent.items() if request.flags & ACK}
        for reply in self._replies(sent):
            if reply.type != _NLMSG_ERROR:
                continue
            if refused is None and reply.error()[0]:
                refused = _refusal(sent[reply.number], reply)
            if reply.number not in waiting:
                break  # an answer to the frame of a batch: all of it was refused
            waiting.remove(reply.number)
            if not waiting:
                break
        return refused

    def _replies(self, sent: Mapping[int, Request]) -> Iterator[Reply]:
        """Yield answers to `sent`; what an earlier failed call left unread is skipped."""
        while True:
            data = self._receive()
            offset = 0
            while offset + _HEADER.size <= len(data):
                length, type_, flags, number, _ = _HEADER.unpack_from(data, offset)
                if length < _HEADER.size:
                    break
                if number in sent:
                    body = data[offset : offset + length]
                    yield Reply(type=type_, number=number, flags=flags, data=body)
                offset += (length + 3) & ~3

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(_RECEIVE)
        except BlockingIOError as error:
            raise OSError(errno.ETIMEDOUT, "cannot hear from the kernel by netlink") from error


def _refusal(request: Request, reply: Reply) -> OSError:
    number, text = reply.error()
    return OSError(number, f"cannot {request.what}: {text}")
