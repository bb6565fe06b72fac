"""What the longer files of control groups say, parsed; pure.

Formats: Documentation/accounting/psi.rst, and "io.stat" and "Block IO Controller" in
Documentation/admin-guide of the kernel. What does not look as documented is left out: a newer
kernel may say more.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from runtime.cgroups import DeviceIo, Pressure, Stall

_PAIR: Final = re.compile(r"^(\S+) (\d+)$", re.MULTILINE)
_STALL: Final = re.compile(
    r"^(some|full) avg10=([\d.]+) avg60=([\d.]+) avg300=([\d.]+) total=(\d+)", re.MULTILINE
)
_DEVICE: Final = re.compile(r"^(\d+):(\d+) (.+)$", re.MULTILINE)

_IO_STAT: Final = {
    "rbytes": "read_bytes",
    "wbytes": "written_bytes",
    "rios": "reads",
    "wios": "writes",
}


def table(text: str) -> dict[str, int]:
    """Return the `name number` lines; quickly where there are no others, which is nearly always."""
    words = text.split()
    names, values = words[::2], words[1::2]
    if len(names) == len(values) and "".join(values).isdigit():
        return dict(zip(names, map(int, values), strict=True))
    return {name: int(value) for name, value in _PAIR.findall(text)}


def pressure(text: str) -> Pressure | None:
    """Return what a `*.pressure` file says; None if it says nothing."""
    found = {
        kind: Stall(total=int(total), avg10=float(ten), avg60=float(sixty), avg300=float(longest))
        for kind, ten, sixty, longest, total in _STALL.findall(text)
    }
    return Pressure(some=found.get("some"), full=found.get("full")) if found else None


def io_stat(text: str) -> tuple[DeviceIo, ...]:
    """Return the devices of v2's `io.stat`."""
    found = _DEVICE.findall(text)
    return tuple(_device(int(major), int(minor), _words(rest)) for major, minor, rest in found)


def _words(text: str) -> dict[str, int]:
    pairs = (word.partition("=") for word in text.split())
    return {_IO_STAT[key]: int(value) for key, _, value in pairs if key in _IO_STAT}


def blkio(size: str, operations: str) -> tuple[DeviceIo, ...]:
    """Return the devices of v1's `blkio.throttle.io_service_bytes` and `io_serviced`."""
    numbers: dict[tuple[int, int], dict[str, int]] = {}
    for text, read, write in (
        (size, "read_bytes", "written_bytes"),
        (operations, "reads", "writes"),
    ):
        for device, operation, value in _operations(text):
            name = {"Read": read, "Write": write}.get(operation)
            if name:
                numbers.setdefault(device, {})[name] = value
    return tuple(_device(*device, found) for device, found in sorted(numbers.items()))


def _operations(text: str) -> Iterator[tuple[tuple[int, int], str, int]]:
    for major, minor, rest in _DEVICE.findall(text):
        operation, _, value = rest.partition(" ")
        if value.isdigit():
            yield (int(major), int(minor)), operation, int(value)


def _device(major: int, minor: int, numbers: Mapping[str, int]) -> DeviceIo:
    return DeviceIo(
        major=major,
        minor=minor,
        read_bytes=numbers.get("read_bytes", 0),
        written_bytes=numbers.get("written_bytes", 0),
        reads=numbers.get("reads", 0),
        writes=numbers.get("writes", 0),
    )
