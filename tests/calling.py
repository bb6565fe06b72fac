"""What tests of CRI's services ask for over and over."""

import asyncio
from collections.abc import Callable

from cri.api.runtime.v1 import api_pb2 as pb
from tests.serving import Clients


async def run_pod(clients: Clients, name: str = "pod", **labels: str) -> str:
    """Run a sandbox; return its id."""
    config = pb.PodSandboxConfig(
        metadata=pb.PodSandboxMetadata(name=name, uid=f"uid-{name}", namespace="ns"),
        labels=labels,
    )
    request = pb.RunPodSandboxRequest(config=config)
    return (await clients.runtime.RunPodSandbox(request)).pod_sandbox_id


async def run_container(clients: Clients, pod: str, name: str = "main", **labels: str) -> str:
    """Create and start a container; return its id."""
    config = pb.ContainerConfig(
        metadata=pb.ContainerMetadata(name=name),
        image=pb.ImageSpec(image="sha256:1"),
        labels=labels,
    )
    request = pb.CreateContainerRequest(pod_sandbox_id=pod, config=config)
    id_ = (await clients.runtime.CreateContainer(request)).container_id
    await clients.runtime.StartContainer(pb.StartContainerRequest(container_id=id_))
    return id_


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until the server, which tells its client nothing of it, has come so far."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.001)
