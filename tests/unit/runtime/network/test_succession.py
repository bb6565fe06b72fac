import asyncio
from pathlib import Path

import pytest

from runtime.network import AttachRequest
from runtime.network.succession import Succession
from tests.fakes.cni import MemoryCni, configure
from tests.fakes.network import MemoryNetwork
from tests.waiting import until


@pytest.fixture
def former() -> MemoryNetwork:
    return MemoryNetwork()


@pytest.fixture
def current(tmp_path: Path) -> MemoryCni:
    configure(tmp_path / "net.d")
    return MemoryCni(tmp_path / "net.d")


def pod(tmp_path: Path, name: str) -> AttachRequest:
    (tmp_path / name).touch()
    return AttachRequest(sandbox_id=name, netns=tmp_path / name)


async def test_pods_leave_the_network_they_joined(
    former: MemoryNetwork, current: MemoryCni, tmp_path: Path
) -> None:
    await former.recover(())
    await former.attach(pod(tmp_path, "old"))
    again = MemoryNetwork(former.records, former.wires)
    network = Succession(current, again)
    await network.recover({"old"})
    assert network.status().reason == "CniReady"
    assert (await network.attach(pod(tmp_path, "new"))).addresses == ("10.99.0.3",)
    assert network.holds("old")
    assert network.holds("new")
    current.plugins.calls.clear()
    await network.detach("old")
    assert current.plugins.calls == []
    assert former.records.pods.find("ferry0", "old") is None
    await network.detach("new")
    assert current.plugins.verbs() == ["addresses DEL"]
    assert not network.holds("new")
    await network.close()


async def test_recovery_frees_what_either_has_too_much(
    former: MemoryNetwork, current: MemoryCni, tmp_path: Path
) -> None:
    await current.recover(())
    await current.attach(pod(tmp_path, "old"))
    again = MemoryCni(tmp_path / "net.d", current.records, current.plugins)
    network = Succession(former, again)
    await network.recover(())
    assert current.plugins.leases == {}
    assert network.status().reason == "BridgeReady"
    await network.set_pod_cidr("10.1.0.0/24")
    assert (await network.attach(pod(tmp_path, "new"))).addresses == ("10.1.0.2",)
    await network.detach("new")
    await network.close()


async def test_both_are_kept_up(former: MemoryNetwork, current: MemoryCni) -> None:
    network = Succession(current, former)
    await network.recover(())
    async with asyncio.TaskGroup() as group:
        upkeep = group.create_task(network.maintain(0.01))
        former.wires.subnets = ()  # as if somebody had removed the bridge
        await until(lambda: former.wires.subnets != ())
        upkeep.cancel()
    assert "after" in repr(network)
