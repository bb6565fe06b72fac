"""Terminal sizes as clients send them: JSON objects, one behind the other."""

import json
from typing import Final, cast

from cri.streaming import ProtocolError
from runtime.io import Size

_LIMIT: Final = 4096
_MOST: Final = 0xFFFF


class Sizes:
    """Reads `{"Width":80,"Height":24}` and so on, however the bytes are cut."""

    def __init__(self) -> None:
        self._rest = b""
        self._decoder = json.JSONDecoder()

    def feed(self, data: bytes) -> Size | None:
        """Return the last size that `data` completes; those before it matter no more.

        Raises:
            ProtocolError: it is no size.
        """
        text = (self._rest + data).decode("latin-1").lstrip()
        latest = None
        while text:
            try:
                value, end = self._decoder.raw_decode(text)
            except (ValueError, RecursionError) as error:
                if len(text) > _LIMIT or not text.startswith("{") or "}" in text:
                    raise ProtocolError(f"cannot read a size: {text[:80]!r}") from error
                break
            latest = _size(value)
            text = text[end:].lstrip()
        self._rest = text.encode("latin-1")
        return latest


def _size(value: object) -> Size:
    if not isinstance(value, dict):
        raise ProtocolError(f"cannot read a size: {str(value)[:80]!r}")
    fields = {str(key).lower(): part for key, part in cast("dict[object, object]", value).items()}
    width, height = (_number(fields.get(name, 0)) for name in ("width", "height"))
    return Size(width=width, height=height)


def _number(value: object) -> int:
    if type(value) is not int or not 0 <= value <= _MOST:
        raise ProtocolError(f"cannot read a size: {str(value)[:80]!r}")
    return value
