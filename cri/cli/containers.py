"""`ferry ps`, `logs` and `exec`."""

import sys
from typing import Annotated

import typer

from cri.api.runtime.v1 import api_pb2
from cri.cli import logs as logfiles
from cri.cli.client import DEFAULT_ADDRESS, Address, Client, Json, command, connect
from cri.cli.output import age, print_json, print_messages, print_table, short
from store.errors import InvalidArgumentError, NotFoundError

_STATES = {
    api_pb2.CONTAINER_CREATED: "created",
    api_pb2.CONTAINER_RUNNING: "running",
    api_pb2.CONTAINER_EXITED: "exited",
    api_pb2.CONTAINER_UNKNOWN: "unknown",
}


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command()(command(ps))
    app.command()(command(logs))
    app.command("exec", context_settings={"ignore_unknown_options": True})(command(exec_))


async def ps(
    all_: Annotated[bool, typer.Option("--all", help="Also those that have ended.")] = False,  # noqa: FBT002
    address: Address = DEFAULT_ADDRESS,
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """List containers."""
    async with connect(address) as client:
        every = (await client.runtime.ListContainers(api_pb2.ListContainersRequest())).containers
        found = [
            container for container in every if all_ or container.state == api_pb2.CONTAINER_RUNNING
        ]
    if json:
        print_messages(found)
        return
    rows = [
        (
            short(container.id),
            container.metadata.name,
            _STATES[container.state],
            age(container.created_at),
            container.image.user_specified_image or container.image.image,
            short(container.pod_sandbox_id),
        )
        for container in found
    ]
    print_table(("CONTAINER", "NAME", "STATE", "AGE", "IMAGE", "POD"), rows)


async def logs(
    container: str,
    follow: Annotated[bool, typer.Option("--follow", "-f")] = False,  # noqa: FBT002 - a flag
    tail: Annotated[int | None, typer.Option(help="Only the last so many lines.")] = None,
    timestamps: Annotated[bool, typer.Option("--timestamps", "-t")] = False,  # noqa: FBT002
    address: Address = DEFAULT_ADDRESS,
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Print a container's output."""
    async with connect(address) as client:
        id_ = await find(client, container)
        path = await logfiles.log_path(client, id_)
        raw = logfiles.tail(path, tail)
        lines = [line for line in map(logfiles.parse, raw) if line is not None]
        if json:
            print_json([_document(line) for line in lines])
            return
        for line in lines:
            logfiles.write(line, timestamps=timestamps)
        if follow:
            await logfiles.follow(client, id_, offset=path.stat().st_size, timestamps=timestamps)


def _document(line: logfiles.Line) -> dict[str, str | bool]:
    return {
        "time": line.stamp,
        "stream": line.stream,
        "partial": line.partial,
        "text": line.text.decode(errors="replace"),
    }


async def exec_(
    container: str,
    command: Annotated[list[str], typer.Argument()],
    timeout: Annotated[int, typer.Option(help="Seconds; 0 for none.")] = 0,
    address: Address = DEFAULT_ADDRESS,
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Run a program in a container and print its output; the exit code is the program's."""
    async with connect(address) as client:
        answer = await client.runtime.ExecSync(
            api_pb2.ExecSyncRequest(
                container_id=await find(client, container), cmd=command, timeout=timeout
            )
        )
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


async def find(client: Client, wanted: str) -> str:
    """Return the id of the container that an id, its beginning or a name means.

    Raises:
        NotFoundError: there is none.
        InvalidArgumentError: there are several.
    """
    every = (await client.runtime.ListContainers(api_pb2.ListContainersRequest())).containers
    found = [c.id for c in every if c.id.startswith(wanted)]
    found = found or [c.id for c in every if c.metadata.name == wanted]
    if not found:
        raise NotFoundError(f"cannot find container {wanted!r}: `ferry ps --all` lists them")
    if len(found) > 1:
        raise InvalidArgumentError(f"cannot tell which container {wanted!r} is: {len(found)} match")
    return found[0]
