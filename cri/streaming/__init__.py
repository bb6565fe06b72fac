"""The streaming server: exec, attach and port-forward over HTTP upgrades: the contract.

`Exec`, `Attach` and `PortForward` answer with a URL that holds a token; whoever comes with the
token gets the session, once. The protocols are sans-I/O (bytes in, values out): `spdy` (SPDY/3.1),
`websocket` (wsproto below), `channels` (messages of `*.channel.k8s.io`), `http` (h11 below).
`server` gives them sockets, and every session lives exactly as long as its peer.

The protocols are those of Kubernetes' remotecommand and portforward:
https://kubernetes.io/docs/reference/ and k8s.io/cri-streaming, k8s.io/streaming.
"""

import ssl
from dataclasses import dataclass, field
from typing import Protocol

from runtime.io import AttachRequest, ExecRequest
from store.errors import Error


class ProtocolError(Error):
    """The peer sent what its protocol does not allow; the connection is of no more use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortForwardRequest:
    """Ports of a pod. `ports` are only for clients of the plain WebSocket protocol."""

    namespace: str
    sandbox_id: str
    ports: tuple[int, ...] = ()


Request = ExecRequest | AttachRequest | PortForwardRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where the server listens and what a client may take.

    Times in seconds. `port` 0 takes any that is free. `base_url` is what clients are told instead
    of the address that is listened on. `tls` makes it HTTPS; with `verify_mode` CERT_REQUIRED
    clients need certificates.
    """

    address: str = "127.0.0.1"
    port: int = 0
    base_url: str = ""
    tls: ssl.SSLContext | None = None
    idle: float = 4 * 3600.0
    creation: float = 30.0
    request: float = 10.0
    waiting: int = 256


class Urls(Protocol):
    """Where a session can be had."""

    def url(self, request: Request) -> str:
        """Return a URL that gives the session once, within a minute.

        Raises:
            InvalidArgumentError: no id, no stream, or both a terminal and stderr were asked for.
            ResourceExhaustedError: too many URLs have been given that nobody came for.
        """
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """What a peer may make us keep."""

    streams: int = field(default=4096)
    unread: int = field(default=1 << 18)
