"""Which signal stops a container, and its number."""

import signal

from store.errors import InvalidArgumentError

DEFAULT = "SIGTERM"


def number(name: str) -> int:
    """Return the number of `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`, `RTMAX-2`; signal(7).

    Raises:
        InvalidArgumentError: no such signal.
    """
    text = name.upper().removeprefix("SIG")
    if text.isdecimal():
        value = int(text)
    elif text.startswith(("RTMIN", "RTMAX")):
        value = _real_time(text)
    else:
        found = signal.Signals.__members__.get(f"SIG{text}")
        value = int(found) if found is not None else 0
    if not 1 <= value <= signal.SIGRTMAX:
        raise InvalidArgumentError(f"cannot use stop signal {name[:64]!r}: no such signal")
    return value


def _real_time(text: str) -> int:
    lowest = text.startswith("RTMIN")
    offset = text[5:].removeprefix("+" if lowest else "-") or "0"
    if not offset.isdecimal():
        return 0
    return signal.SIGRTMIN + int(offset) if lowest else signal.SIGRTMAX - int(offset)


def effective(requested: str, image: str) -> str:
    """Return the signal's name by precedence: the request's, the image's, SIGTERM.

    An image may name nonsense; it then counts for nothing.
    """
    for name in (requested, image):
        if name:
            try:
                value = number(name)
            except InvalidArgumentError:
                if name is requested:
                    raise
                continue
            return _name(value)
    return DEFAULT


def _name(value: int) -> str:
    if signal.SIGRTMIN <= value <= signal.SIGRTMAX:
        return "SIGRTMIN" if value == signal.SIGRTMIN else _real_time_name(value)
    return signal.Signals(value).name


def _real_time_name(value: int) -> str:
    offset = value - signal.SIGRTMIN
    if value == signal.SIGRTMAX:
        return "SIGRTMAX"
    return f"SIGRTMIN+{offset}" if offset <= 15 else f"SIGRTMAX-{signal.SIGRTMAX - value}"
