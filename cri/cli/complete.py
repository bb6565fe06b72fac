"""What a shell offers after TAB: names that the daemon knows. Never an error, never for long."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Final

import typer

from cri.cli.client import connect
from cri.cli.options import DEFAULT_ADDRESS
from store.errors import Error

if TYPE_CHECKING:
    from cri.cli.daemon import Daemon

_PATIENCE: Final = 1.0

Ask = Callable[["Daemon"], Awaitable[Iterable[str]]]


def images(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of images that begin with what is typed."""
    return _known(ctx, incomplete, _images)


def pods(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of pods that begin with what is typed."""
    return _known(ctx, incomplete, _pods)


def containers(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the containers that begin with what is typed, as POD/NAME."""
    return _known(ctx, incomplete, _containers)


def _known(ctx: typer.Context, incomplete: str, ask: Ask) -> list[str]:
    address = ctx.params.get("address") or DEFAULT_ADDRESS
    with contextlib.suppress(Error, OSError, TimeoutError):
        found = asyncio.run(_asked(str(address), ask))
        return sorted({name for name in found if name.startswith(incomplete)})
    return []


async def _asked(address: str, ask: Ask) -> Iterable[str]:
    async with asyncio.timeout(_PATIENCE), connect(address) as daemon:
        return await ask(daemon)


async def _images(daemon: "Daemon") -> Iterable[str]:
    return [name for image in await daemon.images() for name in image.repo_tags]


async def _pods(daemon: "Daemon") -> Iterable[str]:
    return [pod.metadata.name for pod in await daemon.pods()]


async def _containers(daemon: "Daemon") -> Iterable[str]:
    names = {pod.id: pod.metadata.name for pod in await daemon.pods()}
    return [
        f"{names.get(each.pod_sandbox_id, '')}/{each.metadata.name}"
        for each in await daemon.containers()
    ]
