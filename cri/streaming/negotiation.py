"""What client and server agree to speak: pure functions from a request to an upgrade.

SPDY clients name their protocols in `X-Stream-Protocol-Version`, WebSocket clients in
`Sec-WebSocket-Protocol`; the first that we know is taken, as the client prefers them.
"""

import base64
import binascii
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from wsproto.utilities import generate_accept_token

from cri.streaming.http import Head, Header, RefusedError

_VERSION: Final = "X-Stream-Protocol-Version"
_ACCEPTED: Final = "X-Accepted-Stream-Protocol-Versions"
_KEY_BYTES: Final = 16


class Transport(enum.Enum):
    """What carries a session's streams."""

    SPDY = "SPDY/3.1"
    WEBSOCKET = "WebSocket"
    TUNNEL = "SPDY/3.1 in WebSocket"


@dataclass(frozen=True, slots=True)
class Protocol:
    """A protocol's name and what it can do.

    `structured`: the error stream carries a metav1.Status. `resize`: there is a stream of sizes.
    `close`: one direction of a channel can be closed.
    """

    name: str
    structured: bool = False
    resize: bool = False
    base64: bool = False
    close: bool = False


@dataclass(frozen=True, slots=True)
class Agreement:
    """What was agreed on, and the headers that say so."""

    transport: Transport
    protocol: Protocol
    headers: Sequence[Header]


def _table(*protocols: Protocol) -> Mapping[str, Protocol]:
    return {protocol.name: protocol for protocol in protocols}


COMMAND_SPDY: Final = _table(
    Protocol("v4.channel.k8s.io", structured=True, resize=True),
    Protocol("v3.channel.k8s.io", resize=True),
    Protocol("v2.channel.k8s.io"),
    Protocol("channel.k8s.io"),
)
COMMAND_WEBSOCKET: Final = _table(
    Protocol("v5.channel.k8s.io", structured=True, resize=True, close=True),
    Protocol("v4.channel.k8s.io", structured=True, resize=True),
    Protocol("v4.base64.channel.k8s.io", structured=True, resize=True, base64=True),
    Protocol("channel.k8s.io", resize=True),
    Protocol("base64.channel.k8s.io", resize=True, base64=True),
    Protocol("", resize=True),
)
FORWARD_SPDY: Final = _table(Protocol("portforward.k8s.io"))
TUNNELS: Final = _table(Protocol("SPDY/3.1+portforward.k8s.io"))
FORWARD_WEBSOCKET: Final = _table(
    Protocol("v4.channel.k8s.io"), Protocol("v4.base64.channel.k8s.io", base64=True), Protocol("")
)


def command(head: Head) -> Agreement:
    """Agree on how to exec or attach.

    Raises:
        RefusedError: with what we accept, if nothing fits.
    """
    if _is_websocket(head):
        return _websocket(head, COMMAND_WEBSOCKET)
    return _spdy(head, COMMAND_SPDY)


def forward(head: Head) -> Agreement:
    """Agree on how to forward ports.

    Raises:
        RefusedError: with what we accept, if nothing fits.
    """
    if _is_websocket(head):
        return _websocket(head, {**TUNNELS, **FORWARD_WEBSOCKET})
    return _spdy(head, FORWARD_SPDY)


def _is_websocket(head: Head) -> bool:
    return "websocket" in _lower(head, "upgrade")


def _lower(head: Head, name: str) -> list[str]:
    return [value.lower() for value in head.values(name)]


def _spdy(head: Head, known: Mapping[str, Protocol]) -> Agreement:
    if not head.values(_VERSION.lower()):
        raise RefusedError(
            HTTPStatus.BAD_REQUEST, f"unable to upgrade: header {_VERSION} is missing"
        )
    protocol = _first(head.values(_VERSION.lower()), known)
    if "spdy/3.1" not in _lower(head, "upgrade") or "upgrade" not in _lower(head, "connection"):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "unable to upgrade: it must be to SPDY/3.1")
    headers = [("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1"), (_VERSION, protocol.name)]
    return Agreement(Transport.SPDY, protocol, headers)


def _websocket(head: Head, known: Mapping[str, Protocol]) -> Agreement:
    if head.method != "GET":
        raise RefusedError(
            HTTPStatus.METHOD_NOT_ALLOWED, "WebSockets start with GET", [("Allow", "GET")]
        )
    if head.values("sec-websocket-version") != ["13"]:
        raise RefusedError(
            HTTPStatus.UPGRADE_REQUIRED,
            "unable to upgrade: WebSocket's version must be 13",
            [("Sec-WebSocket-Version", "13")],
        )
    protocol = _first(head.values("sec-websocket-protocol") or [""], known)
    headers = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Accept", _accept(head)),
    ]
    if protocol.name:
        headers.append(("Sec-WebSocket-Protocol", protocol.name))
    transport = Transport.TUNNEL if protocol.name in TUNNELS else Transport.WEBSOCKET
    return Agreement(transport, protocol, headers)


def _accept(head: Head) -> str:
    keys = head.values("sec-websocket-key")
    try:
        fits = [len(base64.b64decode(key, validate=True)) for key in keys] == [_KEY_BYTES]
    except binascii.Error:
        fits = False
    if not fits:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "unable to upgrade: Sec-WebSocket-Key is no key")
    return generate_accept_token(keys[0].encode("ascii")).decode("ascii")


def _first(offered: Sequence[str], known: Mapping[str, Protocol]) -> Protocol:
    for name in offered:
        if name in known:
            return known[name]
    raise RefusedError(
        HTTPStatus.FORBIDDEN,
        "unable to upgrade: none of the client's protocols is known here",
        [(_ACCEPTED, name) for name in known if name],
    )
