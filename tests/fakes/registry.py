"""A registry on loopback whose answers a test decides: honest until told otherwise."""

import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

from store.digest import Digest, sha256

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class FakeRegistry:
    """Manifests by `repository/reference`, blobs by digest, and what was asked for."""

    host: str = ""
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    requests: list[web.Request] = field(default_factory=list)
    _handlers: list[tuple[str, Handler]] = field(default_factory=list)

    def add_manifest(self, repository: str, tag: str, media_type: str, body: bytes) -> Digest:
        """Serve a manifest by tag and by digest."""
        digest = sha256(body)
        for reference in (tag, digest):
            self.manifests[f"{repository}/manifests/{reference}"] = (media_type, body)
        return digest

    def add_blob(self, data: bytes) -> Digest:
        """Serve a blob in every repository."""
        digest = sha256(data)
        self.blobs[digest] = data
        return digest

    def on(self, part: str, handler: Handler) -> None:
        """Answer paths that contain `part` with `handler`; the last one that fits is taken."""
        self._handlers.insert(0, (part, handler))

    def asked(self, part: str = "") -> list[str]:
        """Return method and path of the requests whose path contains `part`, in their order."""
        return [f"{r.method} {r.path}" for r in self.requests if part in r.path]

    def sent(self, header: str) -> list[str | None]:
        """Return what each request had in `header`."""
        return [request.headers.get(header) for request in self.requests]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        self.requests.append(request)
        for part, handler in self._handlers:
            if part in request.path:
                return await handler(request)
        return await self.honest(request)

    async def honest(self, request: web.Request) -> web.StreamResponse:
        """Answer as a registry should."""
        name = request.path.removeprefix("/v2/")
        if name in self.manifests:
            media_type, body = self.manifests[name]
            headers = {"Docker-Content-Digest": sha256(body), "Content-Type": media_type}
            return web.Response(body=body, headers=headers)
        data = self.blobs.get(name.rpartition("/")[2])
        if data is None:
            return web.json_response(
                {"errors": [{"code": "UNKNOWN", "message": "no such thing"}]}, status=404
            )
        return ranged(request, data)


def ranged(request: web.Request, data: bytes) -> web.Response:
    """Return `data`, or the part of it that was asked for."""
    start = request.http_range.start
    if start is None:
        return web.Response(body=data)
    headers = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
    return web.Response(status=206, body=data[start:], headers=headers)


def once(handler: Handler, then: Handler) -> Handler:
    """Return a handler that answers the first request with `handler`, later ones with `then`."""
    handlers = iter([handler])

    async def answer(request: web.Request) -> web.StreamResponse:
        return await next(handlers, then)(request)

    return answer


def fixed(status: int, **headers: str) -> Handler:
    """Return a handler that always answers `status`; `_` in header names becomes `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers=named)

    return answer


@contextlib.asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None) -> AsyncIterator[FakeRegistry]:
    """Run a registry for the block, over TLS if told how."""
    registry = FakeRegistry()
    application = web.Application(client_max_size=0)
    application.router.add_route("*", "/{path:.*}", registry.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        port = runner.addresses[0][1]
        registry.host = f"127.0.0.1:{port}"
        yield registry
    finally:
        await runner.cleanup()
