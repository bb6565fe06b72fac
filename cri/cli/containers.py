"""`ferry ps`, `logs`, `exec` and `attach`."""

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from cri.cli import logs as logging
from cri.cli.client import command, connect
from cri.cli.complete import containers as complete_containers
from cri.cli.logfile import Reader
from cri.cli.names import Candidate, pick
from cri.cli.options import DEFAULT_ADDRESS, PROGRAM, Address, Json
from cri.cli.output import age, print_json, print_messages, print_table, short
from store.errors import DeadlineExceededError

if TYPE_CHECKING:
    from cri.api.runtime.v1 import api_pb2
    from cri.cli.daemon import Daemon
    from runtime.io import Wanted

# By the numbers of CRI's ContainerState.
_STATES: Final = ("created", "running", "exited", "unknown")
_RUNNING: Final = 1

ContainerName = Annotated[
    str,
    typer.Argument(help="Id, name or POD/NAME.", autocompletion=complete_containers),
]

Stdin = Annotated[bool, typer.Option("--stdin", "-i", help="Pass our input on.")]
Tty = Annotated[bool, typer.Option("--tty", "-t", help="It has a terminal, of our size.")]


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command()(command(ps))
    app.command()(command(logs))
    app.command("exec", context_settings=PROGRAM)(command(exec_))
    app.command()(command(attach))


async def ps(
    all_: Annotated[bool, typer.Option("--all", "-a", help="Also those that do not run.")] = False,
    address: Address = DEFAULT_ADDRESS,
    json: Json = False,
) -> None:
    """List containers."""
    async with connect(address) as daemon:
        every, pods = await daemon.containers(), await daemon.pods()
    found = [each for each in every if all_ or each.state == _RUNNING]
    if json:
        print_messages(found)
        return
    names = {pod.id: f"{pod.metadata.namespace}/{pod.metadata.name}" for pod in pods}
    rows = [
        (
            short(each.id),
            each.metadata.name,
            _STATES[each.state],
            age(each.created_at),
            each.image.user_specified_image or each.image.image,
            names.get(each.pod_sandbox_id, short(each.pod_sandbox_id)),
        )
        for each in found
    ]
    print_table(("CONTAINER", "NAME", "STATE", "AGE", "IMAGE", "POD"), rows)


async def logs(
    container: ContainerName,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the container ends.")
    ] = False,
    tail: Annotated[
        int | None, typer.Option("--tail", "-n", min=0, help="Only the last so many lines.")
    ] = None,
    timestamps: Annotated[bool, typer.Option("--timestamps", "-t", help="With the time.")] = False,
    address: Address = DEFAULT_ADDRESS,
    json: Json = False,
) -> None:
    """Print a container's output, rotated files included; with --json one object a line."""
    write = logging.writer(timestamps=timestamps, as_json=json)
    async with connect(address) as daemon:
        id_ = await find(daemon, container)
        with Reader(await logging.log_of(daemon, id_), tail) as reader:
            if follow:
                await logging.follow(daemon, id_, reader, write)
            else:
                logging.show(reader, write)


async def exec_(
    container: ContainerName,
    command: Annotated[list[str], typer.Argument(help="A program and its arguments.")],
    stdin: Stdin = False,
    tty: Tty = False,
    timeout: Annotated[int, typer.Option(min=0, help="Seconds; 0 for no limit.")] = 0,
    address: Address = DEFAULT_ADDRESS,
    json: Json = False,
) -> None:
    """Run a program in a container and print its output; the exit code is the program's.

    Options of ferry come before CONTAINER. With -i or -t output comes as it is written, with
    --json one object a piece; without them it comes at the end.
    """
    async with connect(address) as daemon:
        if stdin or tty:
            wanted = _wanted(stdin=stdin, tty=tty)
            url = await daemon.exec_url(await find(daemon, container), command, wanted)
            await _converse(url, wanted, timeout=timeout, as_json=json)
        answer = await daemon.execute(await find(daemon, container), command, timeout)
    if json:
        print_json(
            {
                "stdout": answer.stdout.decode(errors="replace"),
                "stderr": answer.stderr.decode(errors="replace"),
                "exit_code": answer.exit_code,
            }
        )
    else:
        sys.stdout.buffer.write(answer.stdout)
        sys.stdout.flush()
        sys.stderr.buffer.write(answer.stderr)
    raise typer.Exit(answer.exit_code)


async def attach(
    container: ContainerName,
    stdin: Stdin = False,
    tty: Tty = False,
    address: Address = DEFAULT_ADDRESS,
    json: Json = False,
) -> None:
    """Join a container's own output, and input with -i, as they come from now on.

    A container with a terminal wants -t. With --json one object for each piece of output.
    """
    async with connect(address) as daemon:
        wanted = _wanted(stdin=stdin, tty=tty)
        url = await daemon.attach_url(await find(daemon, container), wanted)
        await _converse(url, wanted, timeout=0, as_json=json)


def _wanted(*, stdin: bool, tty: bool) -> "Wanted":
    from runtime.io import Wanted  # noqa: PLC0415 - see cri.cli

    return Wanted(stdin=stdin, stdout=True, stderr=not tty, terminal=tty)


async def _converse(url: str, wanted: "Wanted", *, timeout: int, as_json: bool) -> NoReturn:
    from cri.cli.sessions import converse  # noqa: PLC0415 - see cri.cli

    try:
        async with asyncio.timeout(timeout or None):
            code = await converse(url, wanted, as_json=as_json)
    except TimeoutError as error:
        raise DeadlineExceededError(
            f"cannot go on: no end within {timeout} s; the program was killed"
        ) from error
    raise typer.Exit(code)


async def find(daemon: "Daemon", wanted: str) -> str:
    """Return the id of the container that people mean.

    A name means the one that runs, if only one of that name does.

    Raises:
        NotFoundError: there is none.
        InvalidArgumentError: there are several.
    """
    pods = {pod.id: pod.metadata for pod in await daemon.pods()}
    every = [_candidate(each, pods) for each in await daemon.containers()]
    return pick("container", wanted, every, "ferry ps --all")


def _candidate(
    container: "api_pb2.Container", pods: "dict[str, api_pb2.PodSandboxMetadata]"
) -> Candidate:
    name, pod = container.metadata.name, pods.get(container.pod_sandbox_id)
    names = (name, f"{pod.name}/{name}", f"{pod.namespace}/{pod.name}/{name}") if pod else (name,)
    return Candidate(
        id=container.id,
        names=names,
        about=_STATES[container.state],
        live=container.state == _RUNNING,
    )
