"""`ferry ps`, `logs` and `exec`."""

import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cri.cli import logs as logging
from cri.cli.client import command, connect
from cri.cli.complete import containers as complete_containers
from cri.cli.logfile import Reader
from cri.cli.names import Candidate, pick
from cri.cli.options import DEFAULT_ADDRESS, PROGRAM, Address, Json
from cri.cli.output import age, print_json, print_messages, print_table, short

if TYPE_CHECKING:
    from cri.api.runtime.v1 import api_pb2
    from cri.cli.daemon import Daemon

# By the numbers of CRI's ContainerState.
_STATES: Final = ("created", "running", "exited", "unknown")
_RUNNING: Final = 1

ContainerName = Annotated[
    str,
    typer.Argument(help="Id, name or POD/NAME.", autocompletion=complete_containers),
]


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command()(command(ps))
    app.command()(command(logs))
    app.command("exec", context_settings=PROGRAM)(command(exec_))


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
    timeout: Annotated[int, typer.Option(min=0, help="Seconds; 0 for no limit.")] = 0,
    address: Address = DEFAULT_ADDRESS,
    json: Json = False,
) -> None:
    """Run a program in a container and print its output; the exit code is the program's.

    Options of ferry come before CONTAINER.
    """
    async with connect(address) as daemon:
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
