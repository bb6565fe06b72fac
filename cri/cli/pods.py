"""`ferry pods`, `run` and `rm`."""

import secrets
import sys
import uuid
from typing import Annotated

import grpc
import typer

from cri.api.runtime.v1 import api_pb2
from cri.cli.client import DEFAULT_ADDRESS, Address, Client, Json, command, connect
from cri.cli.logs import follow
from cri.cli.output import age, print_json, print_messages, print_table, short
from store.errors import InvalidArgumentError, NotFoundError

_LOGS = "/var/log/pods"
_NODE = api_pb2.NODE
_CONTAINER = api_pb2.CONTAINER


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command()(command(pods))
    app.command(context_settings={"ignore_unknown_options": True})(command(run))
    app.command()(command(rm))


async def pods(
    address: Address = DEFAULT_ADDRESS,
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """List pods."""
    async with connect(address) as client:
        found = (await client.runtime.ListPodSandbox(api_pb2.ListPodSandboxRequest())).items
    if json:
        print_messages(found)
        return
    rows = [
        (
            short(pod.id),
            pod.metadata.namespace,
            pod.metadata.name,
            str(pod.metadata.attempt),
            "ready" if pod.state == api_pb2.SANDBOX_READY else "not ready",
            age(pod.created_at),
            pod.runtime_handler,
        )
        for pod in found
    ]
    print_table(("POD", "NAMESPACE", "NAME", "ATTEMPT", "STATE", "AGE", "HANDLER"), rows)


async def run(  # noqa: PLR0913, PLR0917 - a command has the options its users expect
    image: str,
    command: Annotated[list[str] | None, typer.Argument()] = None,
    name: Annotated[str, typer.Option(help="Name of the pod; made up if empty.")] = "",
    env: Annotated[list[str] | None, typer.Option("--env", "-e", help="KEY=VALUE.")] = None,
    publish: Annotated[
        list[str] | None, typer.Option("--publish", "-p", help="HOST:CONTAINER[/udp].")
    ] = None,
    net_host: Annotated[bool, typer.Option(help="Use the node's network.")] = False,  # noqa: FBT002
    rm: Annotated[bool, typer.Option("--rm", help="Show output, wait, remove.")] = False,  # noqa: FBT002
    runtime: Annotated[str, typer.Option(help="Handler, such as crun or runc.")] = "",
    address: Address = DEFAULT_ADDRESS,
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Run a one-container pod from an image; pulls the image if it is not here."""
    pod = _pod_config(name or f"ferry-{secrets.token_hex(3)}", publish or [], net_host=net_host)
    container = _container_config(image, command or [], env or [], net_host=net_host)
    async with connect(address) as client:
        ids = await _start(client, pod, container, runtime)
        if rm:
            raise typer.Exit(await _until_end(client, *ids))
    if json:
        print_json({"pod": ids[0], "container": ids[1]})
    else:
        sys.stdout.write(f"pod {short(ids[0])} container {short(ids[1])}\n")


def _pod_config(name: str, publish: list[str], *, net_host: bool) -> api_pb2.PodSandboxConfig:
    uid = str(uuid.uuid4())
    config = api_pb2.PodSandboxConfig(
        metadata=api_pb2.PodSandboxMetadata(name=name, namespace="default", uid=uid),
        hostname="" if net_host else name,
        log_directory=f"{_LOGS}/default_{name}_{uid}",
        labels={"io.kubernetes.pod.name": name, "io.kubernetes.pod.namespace": "default"},
    )
    options = config.linux.security_context.namespace_options
    options.pid = _CONTAINER
    if net_host:
        options.network = _NODE
    config.port_mappings.extend(_port(text) for text in publish)
    return config


def _port(text: str) -> api_pb2.PortMapping:
    ports, _, protocol = text.partition("/")
    host, _, inside = ports.partition(":")
    if not host.isdecimal() or not inside.isdecimal():
        raise InvalidArgumentError(f"cannot publish {text!r}: want HOST:CONTAINER[/udp]")
    kind = api_pb2.UDP if protocol == "udp" else api_pb2.TCP
    return api_pb2.PortMapping(protocol=kind, host_port=int(host), container_port=int(inside))


def _container_config(
    image: str, command: list[str], env: list[str], *, net_host: bool
) -> api_pb2.ContainerConfig:
    config = api_pb2.ContainerConfig(
        metadata=api_pb2.ContainerMetadata(name="main"),
        image=api_pb2.ImageSpec(image=image, user_specified_image=image),
        args=command,
        log_path="main/0.log",
    )
    for pair in env:
        key, _, value = pair.partition("=")
        config.envs.add(key=key, value=value.encode())
    options = config.linux.security_context.namespace_options
    options.pid = _CONTAINER
    if net_host:
        options.network = _NODE
    return config


async def _start(
    client: Client, pod: api_pb2.PodSandboxConfig, container: api_pb2.ContainerConfig, handler: str
) -> tuple[str, str]:
    status = await client.images.ImageStatus(api_pb2.ImageStatusRequest(image=container.image))
    if not status.HasField("image"):
        await client.images.PullImage(api_pb2.PullImageRequest(image=container.image))
    answer = await client.runtime.RunPodSandbox(
        api_pb2.RunPodSandboxRequest(config=pod, runtime_handler=handler)
    )
    sandbox = answer.pod_sandbox_id
    try:
        created = await client.runtime.CreateContainer(
            api_pb2.CreateContainerRequest(
                pod_sandbox_id=sandbox, config=container, sandbox_config=pod
            )
        )
        id_ = created.container_id
        await client.runtime.StartContainer(api_pb2.StartContainerRequest(container_id=id_))
    except grpc.RpcError:
        await _remove(client, sandbox)
        raise
    return sandbox, id_


async def _until_end(client: Client, sandbox: str, container: str) -> int:
    try:
        return await follow(client, container)
    except KeyboardInterrupt:
        return 130
    finally:
        await _remove(client, sandbox)


async def _remove(client: Client, sandbox: str) -> None:
    await client.runtime.StopPodSandbox(api_pb2.StopPodSandboxRequest(pod_sandbox_id=sandbox))
    await client.runtime.RemovePodSandbox(api_pb2.RemovePodSandboxRequest(pod_sandbox_id=sandbox))


async def rm(
    pod: Annotated[list[str], typer.Argument(help="Ids or names of pods.")],
    address: Address = DEFAULT_ADDRESS,
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Stop and remove pods, with their containers."""
    removed = []
    async with connect(address) as client:
        for wanted in pod:
            id_ = await _find(client, wanted)
            await _remove(client, id_)
            removed.append(id_)
    if json:
        print_json({"removed": removed})


async def _find(client: Client, wanted: str) -> str:
    every = (await client.runtime.ListPodSandbox(api_pb2.ListPodSandboxRequest())).items
    found = [pod.id for pod in every if pod.id.startswith(wanted) or pod.metadata.name == wanted]
    if not found:
        raise NotFoundError(f"cannot find pod {wanted!r}: `ferry pods` lists them")
    if len(found) > 1:
        raise InvalidArgumentError(f"cannot tell which pod {wanted!r} is: {len(found)} match")
    return found[0]
