"""What the daemon and the unpack worker say to each other: msgpack over SOCK_SEQPACKET.

The daemon asks the worker for a job with an `Unpack` and three descriptors: the job's socket, the
blob and the directory. On the job's socket it then says what of the blob is `Available`, and hears
`Advanced`, then one `Failed` or the `Part`s of an `Unpacked`, and last `Exited`: the process that
did it is gone. Shutting its side down cancels the job.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from store.errors import ResourceExhaustedError
from store.images import Unpacked
from store.images.layers import Limits

LARGEST: Final = 1 << 17
"""Bytes that no message exceeds, well under what a socket takes at once."""

_PART: Final = 1 << 16
_RESULT: Final = 1 << 26


class Unpack(msgspec.Struct, frozen=True, tag=True):
    """Unpack a layer; comes with descriptors."""

    media_type: str
    limits: Limits


class Available(msgspec.Struct, frozen=True, tag=True):
    """So many bytes of the blob may be read; `complete` if that is all."""

    size: int
    complete: bool


class Advanced(msgspec.Struct, frozen=True, tag=True):
    """So many bytes of the blob are applied."""

    size: int


class Part(msgspec.Struct, frozen=True, tag=True):
    """A piece of the result."""

    data: bytes
    last: bool


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The layer is refused; `kind` is the name of a class of `store.errors`."""

    kind: str
    text: str


class Exited(msgspec.Struct, frozen=True, tag=True):
    """The process of the job is gone; `status` as waitpid(2) gives it."""

    status: int


Event = Advanced | Part | Failed | Exited

encode = msgspec.msgpack.Encoder().encode
decode_request = msgspec.msgpack.Decoder(Unpack).decode
decode_available = msgspec.msgpack.Decoder(Available).decode
decode_result = msgspec.msgpack.Decoder(Unpacked).decode
_events: msgspec.msgpack.Decoder[Event] = msgspec.msgpack.Decoder(Event)
decode_event = _events.decode


def parts(result: Unpacked) -> Iterator[Part]:
    """Yield `result` in pieces.

    Raises:
        ResourceExhaustedError: so much is left unfinished that it would burden the daemon.
    """
    data = encode(result)
    if len(data) > _RESULT:
        raise ResourceExhaustedError("cannot unpack the layer: too many parents are only implied")
    for at in range(0, len(data), _PART):
        yield Part(data[at : at + _PART], last=at + _PART >= len(data))
