import dataclasses
import json
from pathlib import Path

import grpc.aio
import pytest
from grpc import StatusCode

from cri.api.runtime.v1 import api_pb2 as pb
from cri.services.node import Node
from runtime.cgroups import Driver
from tests.serving import CRUN, NODE, Clients, Parts, serving


async def test_version_fills_all_four_fields(clients: Clients) -> None:
    assert await clients.runtime.Version(pb.VersionRequest()) == pb.VersionResponse(
        version="0.1.0", runtime_name="ferry", runtime_version="1.2.3", runtime_api_version="v1"
    )


async def test_status_tells_both_conditions_with_reasons(clients: Clients, parts: Parts) -> None:
    before = await clients.runtime.Status(pb.StatusRequest())
    assert [one.status for one in before.status.conditions] == [True, True]
    await parts.network.teardown()
    answer = await clients.runtime.Status(pb.StatusRequest())
    assert list(answer.status.conditions) == [
        pb.RuntimeCondition(type="RuntimeReady", status=True, reason="RuntimeReady"),
        pb.RuntimeCondition(
            type="NetworkReady", status=False, reason="NotSetUp", message="torn down"
        ),
    ]
    assert not answer.info


async def test_the_default_handler_is_listed_twice_and_features_are_true(clients: Clients) -> None:
    answer = await clients.runtime.Status(pb.StatusRequest())
    features = {
        one.name: (one.features.recursive_read_only_mounts, one.features.user_namespaces)
        for one in answer.runtime_handlers
    }
    assert features == {"": (True, True), "crun": (True, True), "runc": (False, False)}
    assert len(answer.runtime_handlers) == 3
    assert answer.features.supplemental_groups_policy
    assert answer.features.user_namespaces_host_network
    assert answer.features.mount_options


async def test_verbose_status_has_json_documents(clients: Clients) -> None:
    answer = await clients.runtime.Status(pb.StatusRequest(verbose=True))
    assert json.loads(answer.info["config"]) == {"stateDir": "/run/ferry"}


def test_without_a_runtime_the_node_is_not_ready_and_says_why() -> None:
    status = dataclasses.replace(NODE, handlers={"kata": CRUN}, default_handler="crun").status()
    assert not status.ready
    assert status.reason == "NoRuntime"
    assert "(usable: kata)" in status.message


def test_a_feature_wants_the_node_and_the_handler() -> None:
    assert set(dataclasses.replace(NODE, handlers={}).named()) == set()
    assert list(NODE.named()) == ["", "crun", "runc"]


@pytest.mark.parametrize(
    ("driver", "number"), [(Driver.SYSTEMD, pb.SYSTEMD), (Driver.CGROUPFS, pb.CGROUPFS)]
)
async def test_the_kubelet_learns_the_cgroup_driver(
    driver: Driver, number: pb.CgroupDriver.ValueType, tmp_path: Path
) -> None:
    parts = Parts(node=dataclasses.replace(NODE, driver=driver))
    async with serving(parts, tmp_path) as clients:
        answer = await clients.runtime.RuntimeConfig(pb.RuntimeConfigRequest())
    assert answer.linux.cgroup_driver == number
    assert answer.HasField("linux")


async def test_a_pod_range_reaches_the_network(clients: Clients, parts: Parts) -> None:
    config = pb.RuntimeConfig(network_config=pb.NetworkConfig(pod_cidr="10.1.0.0/24"))
    await clients.runtime.UpdateRuntimeConfig(pb.UpdateRuntimeConfigRequest(runtime_config=config))
    await clients.runtime.UpdateRuntimeConfig(pb.UpdateRuntimeConfigRequest())
    assert [str(subnet) for subnet in parts.network.wires.subnets] == ["10.1.0.0/24"]


async def test_a_bad_pod_range_is_the_networks_to_refuse(clients: Clients) -> None:
    config = pb.RuntimeConfig(network_config=pb.NetworkConfig(pod_cidr="pods"))
    with pytest.raises(grpc.aio.AioRpcError, match="pods") as raised:
        await clients.runtime.UpdateRuntimeConfig(
            pb.UpdateRuntimeConfigRequest(runtime_config=config)
        )
    assert raised.value.code() is StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (dataclasses.replace(NODE, user_namespaces=False), (True, False)),
        (dataclasses.replace(NODE, recursive_readonly=False), (False, True)),
    ],
)
async def test_no_handler_has_what_the_node_lacks(
    node: Node, expected: tuple[bool, bool], tmp_path: Path
) -> None:
    async with serving(Parts(node=node), tmp_path) as clients:
        answer = await clients.runtime.Status(pb.StatusRequest())
    default = answer.runtime_handlers[0].features
    assert (default.recursive_read_only_mounts, default.user_namespaces) == expected
    assert answer.features.user_namespaces_host_network is expected[1]
