"""Bad input over the real socket: what is said, that nothing is left, and that all goes on."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import pytest
from grpc import StatusCode, aio

from cri.api.runtime.v1 import api_pb2 as pb
from e2e.client import Client, Container, Pod, code
from e2e.images import BUSYBOX

pytestmark = [pytest.mark.root, pytest.mark.ferry]

Images = Mapping[str, str]
UNKNOWN = "0123456789abcdef" * 4

CALLS: Mapping[str, Callable[[Client, str], Awaitable[object]]] = {
    "PodSandboxStatus": Client.pod_status,
    "ContainerStatus": Client.status,
    "StartContainer": Client.start,
    "ExecSync": lambda client, id_: client.exec(id_, "true"),
    "Exec": lambda client, id_: client.runtime.Exec(
        pb.ExecRequest(container_id=id_, cmd=["true"], stdout=True)
    ),
    "Attach": lambda client, id_: client.runtime.Attach(
        pb.AttachRequest(container_id=id_, stdout=True)
    ),
    "PortForward": lambda client, id_: client.runtime.PortForward(
        pb.PortForwardRequest(pod_sandbox_id=id_, port=[80])
    ),
    "UpdateContainerResources": lambda client, id_: client.runtime.UpdateContainerResources(
        pb.UpdateContainerResourcesRequest(
            container_id=id_, linux=pb.LinuxContainerResources(cpu_shares=2)
        )
    ),
    "ReopenContainerLog": lambda client, id_: client.runtime.ReopenContainerLog(
        pb.ReopenContainerLogRequest(container_id=id_)
    ),
}


@pytest.mark.parametrize("name", CALLS)
async def test_what_is_not_there_is_not_found(cri: Client, name: str) -> None:
    with pytest.raises(aio.AioRpcError, match=UNKNOWN) as failed:
        await CALLS[name](cri, UNKNOWN)
    assert code(failed.value) is StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    "identifier", ["", "../x", "a/b", "a\nb", "x" * 10_000], ids=["", "..", "/", "newline", "long"]
)
@pytest.mark.parametrize("name", CALLS)
async def test_ids_are_checked(cri: Client, name: str, identifier: str) -> None:
    with pytest.raises(aio.AioRpcError, match="_id") as failed:
        await CALLS[name](cri, identifier)
    assert code(failed.value) is StatusCode.INVALID_ARGUMENT


def without_metadata(config: pb.PodSandboxConfig) -> None:
    config.ClearField("metadata")


def bad_name(config: pb.PodSandboxConfig) -> None:
    config.metadata.name = "../../etc"


def bad_hostname(config: pb.PodSandboxConfig) -> None:
    config.hostname = "a b"


def relative_logs(config: pb.PodSandboxConfig) -> None:
    config.log_directory = "var/log"


def bad_port(config: pb.PodSandboxConfig) -> None:
    config.port_mappings.add(container_port=80, host_port=70_000)


def two_namespaces(config: pb.PodSandboxConfig) -> None:
    config.linux.security_context.namespace_options.network = pb.NamespaceMode.Value("TARGET")


def climbing_cgroup(config: pb.PodSandboxConfig) -> None:
    config.linux.cgroup_parent = "/a/../../b"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (without_metadata, "metadata"),
        (bad_name, "metadata.name"),
        (bad_hostname, "hostname"),
        (relative_logs, "log_directory"),
        (bad_port, "host_port"),
        (two_namespaces, "network"),
        (climbing_cgroup, "cgroup_parent"),
    ],
)
async def test_a_sandboxs_fields_are_named(
    cri: Client, logs: Path, change: Callable[[pb.PodSandboxConfig], None], field: str
) -> None:
    pod = Pod(name="bad", logs=logs)
    config = pod.config()
    change(config)
    with pytest.raises(aio.AioRpcError, match=field) as failed:
        await cri.run_pod(pod, config=config)
    assert code(failed.value) is StatusCode.INVALID_ARGUMENT
    assert list(await cri.list_pods()) == []


def climbing_log(config: pb.ContainerConfig) -> None:
    config.log_path = "../../../etc/cron.d/x"


def relative_mount(config: pb.ContainerConfig) -> None:
    config.mounts.add(container_path="data", host_path="/tmp")


def nul_in_env(config: pb.ContainerConfig) -> None:
    config.envs.add(key="A", value=b"x\0y")


def negative_user(config: pb.ContainerConfig) -> None:
    config.linux.security_context.run_as_user.value = -5


def unknown_capability(config: pb.ContainerConfig) -> None:
    config.linux.security_context.capabilities.add_capabilities.append("FLY")


def missing_profile(config: pb.ContainerConfig) -> None:
    seccomp = config.linux.security_context.seccomp
    seccomp.profile_type = pb.SecurityProfile.ProfileType.Value("Localhost")
    seccomp.localhost_ref = "/no/such/profile.json"


def unknown_image(config: pb.ContainerConfig) -> None:
    config.image.image = f"sha256:{UNKNOWN}"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (climbing_log, "log_path"),
        (relative_mount, "container_path"),
        (nul_in_env, "value"),
        (negative_user, "run_as_user"),
        (unknown_capability, "FLY"),
        (missing_profile, "/no/such/profile.json"),
        (unknown_image, UNKNOWN),
    ],
)
async def test_a_containers_fields_are_named(
    cri: Client,
    images: Images,
    logs: Path,
    change: Callable[[pb.ContainerConfig], None],
    words: str,
) -> None:
    async with cri.pod(Pod(name="bad", logs=logs)) as running:
        container = Container(name="main", image=images[BUSYBOX], command=["true"])
        config = container.config(running.pod)
        change(config)
        with pytest.raises(aio.AioRpcError, match=words) as failed:
            await cri.create(running, container, config)
        assert code(failed.value) in {StatusCode.INVALID_ARGUMENT, StatusCode.NOT_FOUND}
        assert list(await cri.list()) == []
        # The same name is free at once.
        assert (await cri.exited(await cri.run(running, container))).exit_code == 0


async def test_a_container_starts_once(cri: Client, images: Images, logs: Path) -> None:
    async with cri.pod(Pod(name="once", logs=logs)) as running:
        main = Container(name="main", image=images[BUSYBOX], command=["sleep", "600"])
        container = await cri.run(running, main)
        with pytest.raises(aio.AioRpcError) as failed:
            await cri.start(container)
        assert code(failed.value) is StatusCode.FAILED_PRECONDITION
        await cri.stop(container)
        with pytest.raises(aio.AioRpcError) as failed:
            await cri.start(container)
        assert code(failed.value) is StatusCode.FAILED_PRECONDITION


async def test_a_flood_of_bad_calls_hurts_nobody(cri: Client, images: Images, logs: Path) -> None:
    async with cri.pod(Pod(name="flood", logs=logs)) as running:
        main = Container(name="main", image=images[BUSYBOX], command=["sleep", "600"])
        container = await cri.run(running, main)

        async def bad() -> None:
            for call in CALLS.values():
                with pytest.raises(aio.AioRpcError):
                    await call(cri, "../x")

        async with asyncio.TaskGroup() as group:
            for _ in range(50):
                group.create_task(bad())
        assert await cri.output(container, "hostname") == "flood"
