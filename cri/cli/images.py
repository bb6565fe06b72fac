"""`ferry pull`, `images` and `rmi`."""

import getpass
import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cri.cli.client import command, connect
from cri.cli.complete import images as complete_images
from cri.cli.options import DEFAULT_ADDRESS, Address, Json
from cri.cli.output import print_json, print_messages, print_table, short, size
from cri.cli.progress import Rows
from store.errors import Error, NotFoundError, PermissionDeniedError

if TYPE_CHECKING:
    from cri.cli.bars import Bars
    from cri.cli.daemon import Daemon

_LOGIN: Final = "With a name and a password: `ferry pull --user NAME IMAGE`."

ImageName = Annotated[
    str, typer.Argument(help="Name, name@digest or id.", autocompletion=complete_images)
]
ImageNames = Annotated[
    list[str], typer.Argument(help="Names or ids.", autocompletion=complete_images)
]


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command()(command(pull))
    app.command()(command(images))
    app.command()(command(rmi))


async def pull(
    image: ImageName,
    user: Annotated[
        str, typer.Option(help="NAME or NAME:PASSWORD for the registry; asks for what is missing.")
    ] = "",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No bars.")] = False,
    address: Address = DEFAULT_ADDRESS,
    json: Json = False,
) -> None:
    """Fetch an image, with a bar for each layer; prints the image's id."""
    async with connect(address) as daemon:
        id_ = await fetch(daemon, image, credentials(user), bars=not quiet)
    if json:
        print_json({"image": image, "id": id_})
    else:
        sys.stdout.write(f"{id_}\n")


def credentials(user: str) -> tuple[str, str]:
    """Return name and password, asking for the password where it is missing.

    Without a terminal it is the first line of standard input, so that no password need be written
    where other users of the node see it.
    """
    name, colon, password = user.partition(":")
    if not name or colon:
        return name, password
    if sys.stdin.isatty():
        return name, getpass.getpass(f"Password of {name}: ")
    return name, sys.stdin.readline().rstrip("\n")


async def fetch(
    daemon: "Daemon", image: str, login: tuple[str, str] = ("", ""), *, bars: bool = True
) -> str:
    """Pull an image, with bars if there is a terminal to show them on; return its id."""
    if not bars or not sys.stderr.isatty():
        return await _watch(daemon, image, login, None)
    from cri.cli.bars import Bars  # noqa: PLC0415 - slow to import, and seldom needed

    with Bars() as shown:
        return await _watch(daemon, image, login, shown)


async def _watch(daemon: "Daemon", image: str, login: tuple[str, str], bars: "Bars | None") -> str:
    rows, id_ = Rows(), ""
    try:
        async for progress in daemon.pull(image, *login):
            id_ = progress.image_id or id_
            if bars is not None and not progress.image_id:
                bars.show(rows.heard(progress.stage, progress.item, progress.done, progress.total))
    except PermissionDeniedError as error:
        raise PermissionDeniedError(f"{error}\n{_LOGIN}") from None
    if not id_:
        raise Error(f"cannot pull {image}: the daemon ended the pull without a result")
    return id_


async def images(address: Address = DEFAULT_ADDRESS, json: Json = False) -> None:
    """List images."""
    async with connect(address) as daemon:
        found = await daemon.images()
    if json:
        print_messages(found)
        return
    rows = [
        (name, short(image.id), size(image.size), "pinned" if image.pinned else "")
        for image in found
        for name in image.repo_tags or image.repo_digests or ["<none>"]
    ]
    print_table(("NAME", "ID", "SIZE", ""), sorted(rows))


async def rmi(image: ImageNames, address: Address = DEFAULT_ADDRESS, json: Json = False) -> None:
    """Remove images, each with all of its names."""
    async with connect(address) as daemon:
        for reference in image:
            if await daemon.image(reference) is None:
                raise NotFoundError(f"cannot find image {reference!r}: `ferry images` lists them")
            await daemon.remove_image(reference)
    if json:
        print_json({"removed": image})
