"""Records as JSON: any frozen dataclass of plain values, enums, paths, tuples and mappings.

Bytes become base64, paths text. A field that the program does not know is ignored, and one that a
row lacks gets its default, so records survive both an update and going back by one version.
"""

from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from store import errors

T = TypeVar("T")


class Codec(Generic[T]):
    """Encodes and decodes one record type."""

    def __init__(self, kind: type[T]) -> None:
        self._kind = kind
        self._encoder = msgspec.json.Encoder(enc_hook=_encode_other)
        self._decoder = msgspec.json.Decoder(kind, dec_hook=_decode_other)

    def encode(self, record: T) -> bytes:
        """Return the JSON; InvalidArgumentError if a text in it is not Unicode."""
        try:
            return self._encoder.encode(record)
        except (UnicodeEncodeError, TypeError, NotImplementedError) as error:
            raise errors.InvalidArgumentError(
                f"cannot encode a {self._kind.__name__}: {error}"
            ) from error

    def decode(self, data: bytes) -> T:
        """Return the record; DataLossError, naming the field, if `data` is not one."""
        try:
            return self._decoder.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise errors.DataLossError(f"cannot decode a {self._kind.__name__}: {error}") from error


def _encode_other(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"no JSON form for {type(value).__name__}")


def _decode_other(kind: type, value: object) -> Path:
    if issubclass(kind, Path) and isinstance(value, str):
        return Path(value)
    raise TypeError(f"no {kind.__name__} from {type(value).__name__}")
