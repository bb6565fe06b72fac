"""What a kubelet asks each second and once: lists, streams, status, and the node's own settings."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from grpc import StatusCode, aio

from cri.api.runtime.v1 import api_pb2 as pb
from e2e.client import Client, Container, Pod, code, connected
from e2e.conftest import HANDLERS, DaemonMaker
from e2e.images import BUSYBOX

pytestmark = pytest.mark.root

Images = Mapping[str, str]
EXITED = pb.ContainerStateValue(state=pb.ContainerState.Value("CONTAINER_EXITED"))
READY = pb.PodSandboxStateValue(state=pb.PodSandboxState.Value("SANDBOX_READY"))


async def test_filters_are_anded(cri: Client, images: Images, logs: Path) -> None:
    blue, red = Pod(name="b", logs=logs, labels={"c": "blue"}), Pod(name="r", logs=logs)
    async with cri.pod(blue, "crun") as first, cri.pod(red, "runc") as second:
        sleeper = Container(name="main", image=images[BUSYBOX], command=["sleep", "600"])
        running, ended = await cri.run(first, sleeper), await cri.run(second, sleeper)
        await cri.stop(ended)

        async def pods(**wanted: object) -> set[str]:
            filter_ = pb.PodSandboxFilter(**wanted)  # type: ignore[arg-type]  # a test's shorthand
            return {pod.id for pod in await cri.list_pods(filter_)}

        async def containers(**wanted: object) -> set[str]:
            filter_ = pb.ContainerFilter(**wanted)  # type: ignore[arg-type]  # a test's shorthand
            return {each.id for each in await cri.list(filter_)}

        assert await pods() == {first.id, second.id}
        assert await pods(label_selector={"c": "blue"}) == {first.id}
        assert await pods(label_selector={"c": "blue"}, id=second.id) == set()
        assert await pods(id=second.id[:13], state=READY) == {second.id}
        await cri.stop_pod(second.id)
        assert await pods(state=READY) == {first.id}

        assert await containers() == {running, ended}
        assert await containers(state=EXITED) == {ended}
        assert await containers(pod_sandbox_id=first.id) == {running}
        assert await containers(id=running[:13]) == {running}
        assert await containers(id=running, state=EXITED) == set()
        name = "io.kubernetes.pod.name"
        assert await containers(label_selector={name: "r"}) == {ended}


async def test_lists_agree_with_statuses(cri: Client, images: Images, logs: Path) -> None:
    async with cri.pod(Pod(name="agree", logs=logs)) as running:
        sleeper = Container(name="main", image=images[BUSYBOX], command=["sleep", "600"])
        container = await cri.run(running, sleeper)
        (pod,), status = await cri.list_pods(), await cri.pod_status(running.id)
        assert (pod.metadata, pod.state) == (status.metadata, status.state)
        assert (pod.created_at, pod.runtime_handler) == (status.created_at, status.runtime_handler)
        assert (pod.labels, pod.annotations) == (status.labels, status.annotations)
        (listed,), shown = await cri.list(), await cri.status(container)
        assert (listed.metadata, listed.state) == (shown.metadata, shown.state)
        assert (listed.created_at, listed.image_id) == (shown.created_at, shown.image_id)
        assert (listed.labels, listed.annotations) == (shown.labels, shown.annotations)
        assert listed.pod_sandbox_id == running.id


async def test_streams_have_what_lists_have(cri: Client, images: Images, logs: Path) -> None:
    names = [f"s{number}" for number in range(5)]
    async with cri.pod(Pod(name="streams", logs=logs)) as running:
        for name in names:
            await cri.create(running, Container(name=name, image=images[BUSYBOX]))
        containers = [
            each
            async for chunk in cri.runtime.StreamContainers(pb.StreamContainersRequest())
            for each in chunk.containers
        ]
        assert containers == list(await cri.list())
        pods = [
            each
            async for chunk in cri.runtime.StreamPodSandboxes(pb.StreamPodSandboxesRequest())
            for each in chunk.pod_sandboxes
        ]
        assert pods == list(await cri.list_pods())
        found = [
            each
            async for chunk in cri.images.StreamImages(pb.StreamImagesRequest())
            for each in chunk.images
        ]
        assert found == list(await cri.list_images())


async def test_empty_streams_end(cri: Client) -> None:
    chunks = [chunk async for chunk in cri.runtime.StreamContainers(pb.StreamContainersRequest())]
    assert chunks == []


async def test_version(cri: Client) -> None:
    version = await cri.runtime.Version(pb.VersionRequest(version="v1"))
    assert (version.version, version.runtime_api_version) == ("0.1.0", "v1")
    assert version.runtime_name
    assert version.runtime_version


async def test_status_has_conditions_handlers_and_features(cri: Client) -> None:
    status = await cri.runtime.Status(pb.StatusRequest(verbose=True))
    conditions = {each.type: each.status for each in status.status.conditions}
    assert conditions["RuntimeReady"] is True
    assert conditions["NetworkReady"] is True
    assert {"", *HANDLERS} <= {handler.name for handler in status.runtime_handlers}
    assert status.features.supplemental_groups_policy is True
    assert Path(json.loads(status.info["config"])["stateDir"]).is_absolute()
    for value in status.info.values():
        json.loads(value)


async def test_the_cgroup_driver_is_told(cri: Client) -> None:
    answer = await cri.runtime.RuntimeConfig(pb.RuntimeConfigRequest())
    assert answer.linux.cgroup_driver == pb.CgroupDriver.Value("CGROUPFS")


@pytest.mark.ferry
async def test_kubernetes_gives_the_pods_range(make_daemon: DaemonMaker, logs: Path) -> None:
    daemon = make_daemon()

    def request(cidr: str) -> pb.UpdateRuntimeConfigRequest:
        network = pb.NetworkConfig(pod_cidr=cidr)
        return pb.UpdateRuntimeConfigRequest(
            runtime_config=pb.RuntimeConfig(network_config=network)
        )

    async with connected(daemon.address) as client:
        await client.runtime.UpdateRuntimeConfig(request("10.123.4.0/24"))
        async with client.pod(Pod(name="range", logs=logs)) as running:
            address = (await client.pod_status(running.id)).network.ip
            assert address.startswith("10.123.4.")
        with pytest.raises(aio.AioRpcError, match=r"10\.123\.4\.0/99") as refused:
            await client.runtime.UpdateRuntimeConfig(request("10.123.4.0/99"))
        assert code(refused.value) is StatusCode.INVALID_ARGUMENT
    daemon.restart()
    async with (
        connected(daemon.address) as client,
        client.pod(Pod(name="kept", logs=logs)) as running,
    ):
        assert (await client.pod_status(running.id)).network.ip.startswith("10.123.4.")
