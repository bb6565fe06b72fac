"""Serving metrics over HTTP, on a unix socket or a TCP address."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from cri.metrics import Metrics
from store.errors import UnavailableError


@asynccontextmanager
async def serving(metrics: Metrics, address: str) -> AsyncIterator[None]:
    """Answer `GET /metrics` for the block.

    Args:
        metrics: what to serve.
        address: a socket's absolute path (a stale one is replaced) or `host:port`.

    Raises:
        UnavailableError: nothing can listen there.
    """

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/metrics", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await _start(runner, address)
        yield
    finally:
        await runner.cleanup()
        _forget(address)


def _forget(address: str) -> None:
    if address.startswith("/"):
        Path(address).unlink(missing_ok=True)


async def _start(runner: web.AppRunner, address: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        if address.startswith("/"):
            await web.UnixSite(runner, address).start()
        else:
            await web.TCPSite(runner, host.strip("[]"), int(port)).start()
    except OSError as error:
        raise UnavailableError(f"cannot serve metrics on {address}: {error}") from error
