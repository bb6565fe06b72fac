"""`ferry pull`, `images` and `rmi`."""

import sys
from collections.abc import AsyncIterable
from typing import Annotated

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TransferSpeedColumn,
)

from cri.api.ferry.v1 import node_pb2
from cri.api.runtime.v1 import api_pb2
from cri.cli.client import DEFAULT_ADDRESS, Address, Json, command, connect
from cri.cli.output import print_json, print_messages, print_table, short, size

_VERBS = {"resolve": "resolving", "download": "fetching", "unpack": "unpacking", "publish": "done"}


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command()(command(pull))
    app.command()(command(images))
    app.command()(command(rmi))


async def pull(
    image: str,
    user: Annotated[str, typer.Option(help="USER:PASSWORD for the registry.")] = "",
    address: Address = DEFAULT_ADDRESS,
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Fetch an image, with a bar for each layer."""
    name, _, password = user.partition(":")
    request = node_pb2.PullRequest(reference=image, username=name, password=password)
    async with connect(address) as client:
        id_ = await _watch(client.node.Pull(request), quiet=json or not sys.stdout.isatty())
    if json:
        print_json({"image": image, "id": id_})
    else:
        print(id_)  # noqa: T201 - the command's result


async def _watch(stream: AsyncIterable[node_pb2.PullProgress], *, quiet: bool) -> str:
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        disable=quiet,
    )
    rows: dict[str, TaskID] = {}
    id_ = ""
    with bars:
        async for progress in stream:
            if progress.image_id:
                id_ = progress.image_id
                continue
            if progress.item not in rows:
                rows[progress.item] = bars.add_task(progress.item, total=None)
            verb = _VERBS.get(progress.stage, progress.stage)
            bars.update(
                rows[progress.item],
                description=f"{verb:9} {_item(progress.item)}",
                completed=progress.done,
                total=progress.total or None,
            )
    return id_


def _item(item: str) -> str:
    return short(item) if item.startswith("sha256:") else item


async def images(
    address: Address = DEFAULT_ADDRESS,
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """List images."""
    async with connect(address) as client:
        found = (await client.images.ListImages(api_pb2.ListImagesRequest())).images
    if json:
        print_messages(found)
        return
    rows = []
    for image in found:
        for name in image.repo_tags or image.repo_digests or ["<none>"]:
            pinned = "pinned" if image.pinned else ""
            rows.append((name, short(image.id), size(image.size), pinned))
    print_table(("NAME", "ID", "SIZE", ""), sorted(rows))


async def rmi(
    image: list[str],
    address: Address = DEFAULT_ADDRESS,
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Remove images, with all their names."""
    async with connect(address) as client:
        for reference in image:
            spec = api_pb2.ImageSpec(image=reference)
            await client.images.RemoveImage(api_pb2.RemoveImageRequest(image=spec))
    if json:
        print_json({"removed": image})
