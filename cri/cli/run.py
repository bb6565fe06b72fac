"""`ferry run`: a pod with one container from an image."""

import asyncio
import secrets
import sys
from typing import Annotated

import typer

from cri.cli import logs
from cri.cli.client import command as runs
from cri.cli.client import connect
from cri.cli.complete import images as complete_images
from cri.cli.interrupts import Interrupts
from cri.cli.options import DEFAULT_ADDRESS, PROGRAM, Address, Json
from cri.cli.output import print_json, short


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command(context_settings=PROGRAM)(runs(run))


async def run(
    image: Annotated[
        str, typer.Argument(help="Name, name@digest or id.", autocompletion=complete_images)
    ],
    command: Annotated[
        list[str] | None, typer.Argument(help="Arguments; those of the image if there are none.")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the pod; made up if empty.")] = "",
    env: Annotated[
        list[str] | None, typer.Option("--env", "-e", help="KEY=VALUE, or KEY from this shell.")
    ] = None,
    publish: Annotated[
        list[str] | None,
        typer.Option("--publish", "-p", help="HOST:CONTAINER, or that and /udp."),
    ] = None,
    net_host: Annotated[bool, typer.Option("--net-host", help="Use the node's network.")] = False,
    rm: Annotated[
        bool, typer.Option("--rm", help="Show the output, wait, remove; its exit code is ours.")
    ] = False,
    runtime: Annotated[str, typer.Option(help="Handler, such as crun or runc.")] = "",
    address: Address = DEFAULT_ADDRESS,
    json: Json = False,
) -> None:
    """Run a one-container pod from an image; pulls the image if it is not here.

    Options of ferry come before IMAGE. With --rm the first SIGINT, SIGTERM or SIGHUP asks the
    container to end and a second one ends it; either way the pod is removed.
    """
    async with connect(address) as daemon:
        from cri.cli.launch import attend, launch  # noqa: PLC0415 - see cri.cli
        from cri.cli.requests import Wish  # noqa: PLC0415 - see cri.cli

        wish = Wish(
            image=image,
            name=name or f"ferry-{secrets.token_hex(3)}",
            command=command or (),
            env=env or (),
            publish=publish or (),
            host_network=net_host,
        )
        with Interrupts() as interrupts:
            try:
                launched = await interrupts.during(launch(daemon, wish, runtime))
            except asyncio.CancelledError:
                if interrupts.first is None:
                    raise
                raise typer.Exit(interrupts.exit_code) from None
            if rm:
                code = await attend(daemon, launched, interrupts, logs.writer(as_json=json))
                raise typer.Exit(code)
    if json:
        print_json({"pod": launched.pod, "container": launched.container})
    else:
        sys.stdout.write(f"pod {short(launched.pod)} container {short(launched.container)}\n")
