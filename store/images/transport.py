"""HTTP as far as a registry client needs it: the contract between `registry` and `http`.

It keeps the HTTP library out of everything else, so that a daemon that never pulls never imports
it (about 7 MB).
"""

import ipaddress
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Final, Protocol
from urllib.parse import urlsplit

from store.errors import PermissionDeniedError, UnavailableError
from store.images.hosts import RegistryHost

_METADATA: Final = frozenset(
    ipaddress.ip_address(text)
    for text in ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254")
)
"""Where clouds keep instance credentials, besides the link-local range."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, whose `form` is sent as a URL-encoded body.

    Its `headers` go along redirects, except `Authorization`, which stays with its host.
    """

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] | None = field(default=None, repr=False)

    def with_header(self, name: str, value: str) -> "Request":
        """Return the same request with one header more; an empty `value` adds none."""
        return replace(self, headers={**self.headers, name: value}) if value else self

    def as_head(self) -> "Request":
        """Return the request that asks for the headers only."""
        return replace(self, method="HEAD")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How slow an answer may be: at least `least` bytes (or its end) in every `window` seconds."""

    window: float = 60.0
    least: int = 64 * 1024


class Reply(Protocol):
    """An answer whose body is still on its way."""

    @property
    def status(self) -> int:
        """The HTTP status; redirects are followed already."""
        ...

    def header(self, name: str) -> str:
        """Return a header's first value, or nothing."""
        ...

    def header_values(self, name: str) -> list[str]:
        """Return all values of a header."""
        ...

    async def read(self) -> bytes:
        """Return what came next of the body, or nothing at its end; TransientError if it broke."""
        ...


class Transport(Protocol):
    """Sends requests."""

    def send(self, host: RegistryHost, request: Request) -> AbstractAsyncContextManager[Reply]:
        """Send with the TLS settings and headers of `host`, following redirects within bounds.

        Raises:
            TransientError: the network or the server failed in a way that may pass.
            UnavailableError: TLS failed, or redirects lead nowhere good.
            PermissionDeniedError: an address is refused that no registry has.
        """
        ...


class TransientError(UnavailableError):
    """It may work if it is tried again, after `retry_after` seconds if the server said so."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


async def read_body(reply: Reply, limit: int) -> bytes | None:
    """Return the whole body, or None as soon as it has more than `limit` bytes."""
    length = reply.header("Content-Length")
    if length.isdigit() and int(length) > limit:
        return None
    body = bytearray()
    while data := await reply.read():
        body += data
        if len(body) > limit:
            return None
    return bytes(body)


def is_forbidden(address: str) -> bool:
    """Tell whether a literal address is one where clouds keep secrets and no registry is."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(ip, "ipv4_mapped", None) or ip
    return mapped.is_link_local or mapped.is_multicast or mapped in _METADATA


def check_address(url: str) -> None:
    """Refuse a URL that names a forbidden address.

    Raises:
        PermissionDeniedError: it does.
    """
    host = urlsplit(url).hostname or ""
    if is_forbidden(host):
        raise PermissionDeniedError(f"cannot ask {host}: no registry has such an address")
