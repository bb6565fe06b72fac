"""`ferry pods`, `rm` and `port-forward`."""

import asyncio
from collections.abc import Callable
from functools import partial
from json import dumps
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cri.cli.client import command, connect
from cri.cli.complete import pods as complete_pods
from cri.cli.names import Candidate, pick
from cri.cli.options import DEFAULT_ADDRESS, Address, Json
from cri.cli.output import age, document, print_json, print_table, short
from cri.cli.removal import remove
from store.errors import InvalidArgumentError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cri.api.runtime.v1 import api_pb2

# By the numbers of CRI's PodSandboxState.
_STATES: Final = ("ready", "not ready")
_MOST: Final = 0xFFFF


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command()(command(pods))
    app.command()(command(rm))
    app.command("port-forward")(command(port_forward))


async def pods(address: Address = DEFAULT_ADDRESS, json: Json = False) -> None:
    """List pods."""
    async with connect(address) as daemon:
        found = await daemon.pods()
        addresses = [await daemon.addresses(pod.id) for pod in found]
    if json:
        pairs = zip(found, addresses, strict=True)
        print_json([{**document(pod), "addresses": its} for pod, its in pairs])
        return
    rows = [
        (
            short(pod.id),
            pod.metadata.namespace,
            pod.metadata.name,
            str(pod.metadata.attempt),
            _STATES[pod.state],
            age(pod.created_at),
            pod.runtime_handler,
            " ".join(its),
        )
        for pod, its in zip(found, addresses, strict=True)
    ]
    print_table(("POD", "NAMESPACE", "NAME", "ATTEMPT", "STATE", "AGE", "HANDLER", "IP"), rows)


async def rm(
    pod: Annotated[
        list[str],
        typer.Argument(help="Ids, names or NAMESPACE/NAME.", autocompletion=complete_pods),
    ],
    address: Address = DEFAULT_ADDRESS,
    json: Json = False,
) -> None:
    """Stop and remove pods, with their containers; all are found before one is removed."""
    async with connect(address) as daemon:
        every = await daemon.pods()
        try:
            found = [_find(each, every) for each in pod]
        except NotFoundError as error:
            raise NotFoundError(f"{error}{_whose(pod, every, await daemon.containers())}") from None
        for each in dict.fromkeys(found):
            await remove(daemon, next(one for one in every if one.id == each))
    if json:
        print_json({"removed": found})


async def port_forward(
    pod: Annotated[
        str, typer.Argument(help="Id, name or NAMESPACE/NAME.", autocompletion=complete_pods)
    ],
    ports: Annotated[
        list[str], typer.Argument(metavar="[LOCAL:]PORT...", help="LOCAL 0 is any free port.")
    ],
    address: Address = DEFAULT_ADDRESS,
    json: Json = False,
) -> None:
    """Reach a pod's ports at 127.0.0.1 until interrupted; with --json one object a port."""
    pairs = [_ports(each) for each in ports]

    def listening(port: int) -> Callable[[int], None]:
        def say(local: int) -> None:
            document = {"local": local, "port": port}
            line = dumps(document) if json else f"127.0.0.1:{local} -> {port}"
            print(line, flush=True)  # noqa: T201 - what the command is for

        return say

    async with connect(address) as daemon:
        from cri.cli.sessions import forward  # noqa: PLC0415 - see cri.cli

        found = _find(pod, await daemon.pods())
        async with asyncio.TaskGroup() as group:
            for local, port in pairs:
                ask = partial(daemon.forward_url, found, port)
                group.create_task(forward(local, port, ask, listening(port)))


def _ports(text: str) -> tuple[int, int]:
    """Return the port here and the port there."""
    local, _, port = text.rpartition(":")
    numbers = [
        int(part) if part.isascii() and part.isdecimal() else -1 for part in (local or port, port)
    ]
    if not (0 <= numbers[0] <= _MOST and 0 < numbers[1] <= _MOST):
        raise InvalidArgumentError(f"cannot forward {text!r}: it is not [LOCAL:]PORT")
    return numbers[0], numbers[1]


def _whose(
    wanted: "Sequence[str]",
    pods: "Sequence[api_pb2.PodSandbox]",
    containers: "Sequence[api_pb2.Container]",
) -> str:
    """Return a hint for who wrote the id of a container."""
    names = {pod.id: f"{pod.metadata.namespace}/{pod.metadata.name}" for pod in pods}
    for each in containers:
        if each.id.startswith(tuple(wanted)):
            return f"; {short(each.id)} is a container of {names.get(each.pod_sandbox_id, 'none')}"
    return ""


def _find(wanted: str, pods: "Sequence[api_pb2.PodSandbox]") -> str:
    candidates = [
        Candidate(
            id=pod.id,
            names=(pod.metadata.name, f"{pod.metadata.namespace}/{pod.metadata.name}"),
            about=f"attempt {pod.metadata.attempt}, {_STATES[pod.state]}",
        )
        for pod in pods
    ]
    return pick("pod", wanted, candidates, "ferry pods")
