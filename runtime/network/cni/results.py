"""What plugins answer: results, versions, refusals. Pure: bytes in, values or errors out."""

import ipaddress
import json
from dataclasses import dataclass
from typing import Final

import msgspec

from runtime.network.cni import INTERFACE, Call
from runtime.process import Finished
from store.errors import Error, ResourceExhaustedError, UnavailableError

_QUOTED: Final = 600
# Error codes of the specification: try again later; not available; not available at all.
_LATER: Final = frozenset({11, 50, 51})
# The specification has no code for it; this is what host-local says.
_EXHAUSTED: Final = "no IP addresses available"


class _Interface(msgspec.Struct):
    name: str = ""
    sandbox: str = ""


class _Address(msgspec.Struct):
    address: str
    interface: int | None = None


class _Result(msgspec.Struct):
    interfaces: list[_Interface] | None = None
    ips: list[_Address] | None = None


class _Refusal(msgspec.Struct):
    code: int = 0
    msg: str = ""
    details: str = ""


class _Versions(msgspec.Struct):
    supportedVersions: list[str]  # noqa: N815 - the specification's name


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What an ADD came to: the document to pass on, the pod's addresses, the main one first."""

    document: str = ""
    addresses: tuple[str, ...] = ()


def result(call: Call, version: str, output: str) -> Result:
    """Read the answer to ADD.

    A plugin that leaves out the version means the one it was asked in.

    Raises:
        Error: it is none; quotes it.
    """
    try:
        read = msgspec.json.decode(output, type=_Result)
        document = json.loads(output)
        if not document.get("cniVersion"):
            document["cniVersion"] = version
        addresses = tuple(_addresses(read))
        return Result(document=json.dumps(document, allow_nan=False), addresses=addresses)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Error(f"{call.problem}: no result ({error}), but {quoted(output)}") from error


def versions(call: Call, output: str) -> tuple[str, ...]:
    """Read the answer to VERSION.

    Raises:
        Error: it is none; quotes it.
    """
    try:
        return tuple(msgspec.json.decode(output, type=_Versions).supportedVersions)
    except msgspec.MsgspecError as error:
        raise Error(f"{call.problem}: no versions ({error}), but {quoted(output)}") from error


def refusal(call: Call, ended: Finished) -> Error:
    """Return the error of a plugin that failed, in its own words if it found any."""
    try:
        said = msgspec.json.decode(ended.stdout, type=_Refusal)
    except (msgspec.MsgspecError, RecursionError):
        said = _Refusal()
    text = _joined(said) or f"{_end(ended.code)}, {printed(ended)}"
    if _EXHAUSTED in text:
        return ResourceExhaustedError(f"{call.problem}: {text}")
    kind = UnavailableError if said.code in _LATER else Error
    return kind(f"{call.problem}: {text}")


def printed(ended: Finished) -> str:
    """Quote both of a program's streams."""
    output, errors = ended.stdout.decode(errors="replace"), ended.stderr.decode(errors="replace")
    if not errors.strip():
        return quoted(output)
    complaint = f"{_cut(errors)!r} to its standard error"
    return f"{quoted(output)}, and {complaint}" if output.strip() else f"it printed {complaint}"


def quoted(output: str) -> str:
    """Say what a program printed, as one line that does nothing to a terminal."""
    cut = _cut(output)
    return f"it printed {cut!r}" if cut else "it printed nothing"


def _cut(output: str) -> str:
    line = _line(output)
    return line[:_QUOTED] + (" ..." if len(line) > _QUOTED else "")


def _addresses(read: _Result) -> list[str]:
    """Return the addresses inside the pod: of its own interface, if the plugins name it."""
    interfaces = read.interfaces or []
    inside = {number for number, each in enumerate(interfaces) if each.sandbox}
    named = {number for number in inside if interfaces[number].name == INTERFACE}
    wanted = {None, *(named or inside)}
    return [
        str(ipaddress.ip_interface(each.address).ip)
        for each in read.ips or []
        if each.interface in wanted
    ]


def _joined(said: _Refusal) -> str:
    words = "; ".join(text for text in (_line(said.msg), _line(said.details)) if text)
    cut = words[:_QUOTED]
    return f"{cut} (code {said.code})" if cut and said.code else cut


def _line(text: str) -> str:
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _end(code: int) -> str:
    return f"it ended with {code}" if code >= 0 else f"it was killed by signal {-code}"
