"""The transport on aiohttp. Imported when the first pull begins, not before.

It decides what a misbehaving server can cost: redirects are counted, never leave TLS, and lose
`Authorization` on the way to another host; addresses that hold cloud credentials are not
connected to, by whatever name; and an answer that does not move for `window` seconds is given up.
"""

import asyncio
import contextlib
import socket
import ssl
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Final, Self
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from store.errors import FailedPreconditionError, UnavailableError
from store.images.hosts import RegistryHost, Tls, is_loopback
from store.images.transport import (
    Patience,
    Reply,
    Request,
    TransientError,
    check_address,
    is_forbidden,
)

REDIRECTS: Final = 10
_REDIRECT: Final = frozenset({301, 302, 303, 307, 308})
_BUFFER: Final = 512 * 1024
_USER_AGENT: Final = "ferry"
_SHOWN: Final = 200


class HttpTransport:
    """A `Transport` for the time of one pull; connections are kept for its length."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._tls: dict[Tls, ssl.SSLContext] = {}
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=_GuardedResolver(), limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            read_bufsize=_BUFFER,
            headers={"User-Agent": _USER_AGENT, "Accept-Encoding": "identity"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    @contextlib.asynccontextmanager
    async def send(self, host: RegistryHost, request: Request) -> AsyncIterator[Reply]:
        """Send `request`; see `Transport.send`."""
        response = await self._follow(host, request)
        try:
            yield HttpReply(response, self._patience)
        finally:
            response.close()

    async def _follow(self, host: RegistryHost, request: Request) -> aiohttp.ClientResponse:
        """Return the first answer that is not a redirect; the caller closes it."""
        for _ in range(REDIRECTS + 1):
            response = await self._once(host, request)
            if response.status not in _REDIRECT or "Location" not in response.headers:
                return response
            response.close()
            request = redirected(request, response.headers["Location"])
        raise UnavailableError(f"cannot reach {host}: more than {REDIRECTS} redirects")

    async def _once(self, host: RegistryHost, request: Request) -> aiohttp.ClientResponse:
        check_address(request.url)
        secure = await self._context(host.tls) if request.url.startswith("https:") else True
        with _mapped(request.url):
            async with asyncio.timeout(self._patience.window):
                return await self._session.request(
                    request.method,
                    URL(request.url, encoded=True),
                    headers=_headers(host, request),
                    data=request.form,
                    allow_redirects=False,
                    ssl=secure,
                    proxy=_proxy(request.url),
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=host.dial_timeout),
                )

    async def _context(self, tls: Tls) -> ssl.SSLContext:
        if tls not in self._tls:
            self._tls[tls] = await asyncio.to_thread(_load, tls)
        return self._tls[tls]


class HttpReply:
    """A `Reply` that is given up when it does not move."""

    def __init__(self, response: aiohttp.ClientResponse, patience: Patience) -> None:
        self._response = response
        self._patience = patience
        self._left = patience.window
        self._got = 0

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._response.status

    def header(self, name: str) -> str:
        """Return a header's first value, or nothing."""
        return self._response.headers.get(name, "")

    def header_values(self, name: str) -> list[str]:
        """Return all values of a header."""
        return self._response.headers.getall(name, [])

    async def read(self) -> bytes:
        """Return what came next; the time that the caller takes in between does not count."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        with _mapped(str(self._response.url)):
            async with asyncio.timeout(self._left):
                data = await self._response.content.readany()
        self._left -= loop.time() - began
        self._got += len(data)
        if self._got >= self._patience.least:
            self._left, self._got = self._patience.window, 0
        return data


class _GuardedResolver(AbstractResolver):
    """The system's resolver, less the addresses that no registry has."""

    def __init__(self) -> None:
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        allowed = [result for result in found if not is_forbidden(result["host"])]
        if not allowed:
            raise OSError(None, f"{host} resolves to an address that no registry has")
        return allowed

    async def close(self) -> None:
        await self._resolver.close()


def redirected(request: Request, location: str) -> Request:
    """Return the request that follows a redirect.

    Raises:
        UnavailableError: it leaves TLS or HTTP, or would hand a form to another host.
    """
    old, new = urlsplit(request.url), _target(request.url, location)
    if new is None or new.scheme not in {old.scheme, "https"} or "@" in new.netloc:
        raise UnavailableError(f"cannot follow the redirect of {old.netloc} to {location[:200]!r}")
    url = urlunsplit(new)
    if (new.scheme, new.netloc) == (old.scheme, old.netloc):
        return replace(request, url=url)
    if request.form is not None:
        raise UnavailableError(f"cannot follow {old.netloc} to {new.netloc}: credentials stay")
    headers = {k: v for k, v in request.headers.items() if k != "Authorization"}
    return replace(request, url=url, headers=headers)


def _target(url: str, location: str) -> SplitResult | None:
    """Return where a redirect leads, if that is a place at all."""
    try:
        parts = urlsplit(urljoin(url, location))
    except ValueError:
        return None
    return parts if parts.hostname else None


def _headers(host: RegistryHost, request: Request) -> list[tuple[str, str]]:
    """Return the headers to send; those of the configuration are for its own host only."""
    own = host.headers if urlsplit(request.url).netloc == host.authority else ()
    return [*own, *request.headers.items()]


def _load(tls: Tls) -> ssl.SSLContext:
    """Build a TLS context: the system's authorities and the configured ones."""
    context = ssl.create_default_context()
    # From Python 3.13 on the default is RFC 5280 to the letter; private authorities that other
    # clients take often lack a key identifier.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if tls.skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    file = None
    try:
        for file in tls.ca:
            context.load_verify_locations(cafile=file)
        for file, key in tls.clients:
            context.load_cert_chain(file, key)
    except OSError as error:
        raise FailedPreconditionError(f"cannot use certificate {file}: {error}") from error
    return context


def _proxy(url: str) -> str | None:
    """Return the proxy that the environment names for `url`."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host) or urllib.request.proxy_bypass(host):
        return None
    return urllib.request.getproxies().get(parts.scheme)


@contextlib.contextmanager
def _mapped(url: str) -> Iterator[None]:
    """Turn aiohttp's errors into ours. `url` loses its query, which may hold a signature."""
    place = url.partition("?")[0]
    try:
        yield
    except TimeoutError as error:
        raise TransientError(f"cannot read {place}: no progress") from error
    except (aiohttp.ClientSSLError, aiohttp.InvalidURL) as error:
        raise UnavailableError(f"cannot reach {place}: {_text(error)}") from error
    except (aiohttp.ClientError, OSError) as error:
        raise TransientError(f"cannot read {place}: {_text(error)}") from error


def _text(error: Exception) -> str:
    """Return what went wrong; a server's bytes may be quoted in it, so it is kept short."""
    text = (str(error) or type(error).__name__)[:_SHOWN]
    return "".join(c if c.isprintable() else " " for c in text)
