"""Every plugin fails at every verb, once: nothing is left, or it is owed and paid later."""

import asyncio
from pathlib import Path

import pytest

from runtime.network import AttachRequest, PortMapping
from runtime.network.cni import Verb
from store.errors import AlreadyExistsError, Error, UnavailableError
from tests.fakes.cni import MemoryCni, MemoryPlugins, configure
from tests.faulty import Faults, InjectedError
from tests.waiting import until

TYPES = ("addresses", "middle", "last")
PORT = PortMapping(protocol="tcp", container_port=80, host_port=8080)


@pytest.fixture
async def network(tmp_path: Path) -> MemoryCni:
    configure(tmp_path / "net.d", *TYPES[1:])
    made = MemoryCni(tmp_path / "net.d", plugins=MemoryPlugins(*TYPES))
    await made.recover(())
    return made


@pytest.fixture
def request_(tmp_path: Path) -> AttachRequest:
    return AttachRequest(sandbox_id="a", netns=tmp_path, ports=(PORT,))


def nothing_left(network: MemoryCni) -> bool:
    rest = list(network.records.pods.walk()), network.plugins.leases
    return rest == ([], {}) and repr(network).endswith("0 pods, 0 ports>, 0 DELs owed>")


@pytest.mark.parametrize("plugin", TYPES)
async def test_an_add_fails(network: MemoryCni, request_: AttachRequest, plugin: str) -> None:
    network.plugins.failures[plugin, Verb.ADD] = Error("broken")
    with pytest.raises(Error, match=f"cannot connect sandbox a: plugin {plugin} ADD: broken"):
        await network.attach(request_)
    assert nothing_left(network)
    assert network.plugins.verbs()[-3:] == ["last DEL", "middle DEL", "addresses DEL"]
    network.plugins.failures.clear()
    await network.attach(request_)


@pytest.mark.parametrize("plugin", TYPES)
async def test_the_undo_of_an_add_fails_too(
    network: MemoryCni, request_: AttachRequest, plugin: str
) -> None:
    network.plugins.failures["last", Verb.ADD] = Error("broken")
    network.plugins.failures[plugin, Verb.DEL] = Error("worse")
    with pytest.raises(Error, match="plugin last ADD: broken"):
        await network.attach(request_)
    # The record and the port stay until every plugin has had its DEL.
    assert network.holds("a")
    assert "1 DELs owed" in repr(network)
    with pytest.raises(AlreadyExistsError, match="8080"):
        await network.attach(AttachRequest(sandbox_id="b", netns=request_.netns, ports=(PORT,)))
    network.plugins.failures.clear()
    async with asyncio.TaskGroup() as group:
        upkeep = group.create_task(network.maintain(0.01))
        await until(lambda: not network.holds("a"))
        upkeep.cancel()
    assert nothing_left(network)


@pytest.mark.parametrize("plugin", TYPES)
async def test_a_del_fails(network: MemoryCni, request_: AttachRequest, plugin: str) -> None:
    await network.attach(request_)
    network.plugins.failures[plugin, Verb.DEL] = Error("broken")
    with pytest.raises(Error, match=f"cannot disconnect sandbox a: plugin {plugin} DEL: broken"):
        await network.detach("a")
    assert network.holds("a")
    network.plugins.failures.clear()
    await network.detach("a")
    assert nothing_left(network)


async def test_a_del_that_fails_is_owed_across_restarts(
    network: MemoryCni, request_: AttachRequest
) -> None:
    await network.attach(request_)
    network.plugins.failures["middle", Verb.DEL] = Error("broken")
    directory = request_.netns / "net.d"
    again = MemoryCni(directory, network.records, network.plugins)
    await again.recover(())
    assert again.status().ready
    assert again.holds("a")
    network.plugins.failures.clear()
    last = MemoryCni(directory, network.records, network.plugins)
    await last.recover(())
    assert nothing_left(last)


async def test_a_cancelled_add_is_undone(network: MemoryCni, request_: AttachRequest) -> None:
    network.plugins.hold.clear()
    async with asyncio.TaskGroup() as group:
        attach = group.create_task(network.attach(request_))
        await network.plugins.adding.wait()
        attach.cancel()
    assert attach.cancelled()
    assert nothing_left(network)


async def whole_life(network: MemoryCni, request: AttachRequest) -> None:
    await network.attach(request)
    await network.detach(request.sandbox_id)


@pytest.mark.parametrize("after", [False, True])
async def test_every_record_that_can_not_be_written(
    tmp_path: Path,
    after: bool,  # noqa: FBT001 - a parameter
) -> None:
    configure(tmp_path / "net.d", *TYPES[1:])
    steps = ("add", "update", "delete")
    for number, step in enumerate(steps, 1):
        one = MemoryCni(tmp_path / "net.d", plugins=MemoryPlugins(*TYPES))
        await one.recover(())
        faults = Faults(number, after)
        real = one.records.pods
        object.__setattr__(one.records, "pods", faults.around("pods", real, steps))
        request = AttachRequest(sandbox_id="a", netns=tmp_path, ports=(PORT,))
        with pytest.raises(InjectedError, match=f"pods.{step}"):
            await whole_life(one, request)
        if one.holds("a") and step == "add":
            again = MemoryCni(tmp_path / "net.d", one.records, one.plugins)
            await again.recover(())
            one = again
        await one.detach("a")
        assert one.plugins.leases == {}
        assert list(real.walk()) == []
        await whole_life(one, request)


async def test_a_network_that_is_not_ready_takes_no_pod(
    network: MemoryCni, request_: AttachRequest
) -> None:
    configure(request_.netns / "net.d", version="1.1.0")
    network.plugins.failures["addresses", Verb.STATUS] = UnavailableError("agent down")
    await network.check()
    network.plugins.calls.clear()
    with pytest.raises(
        UnavailableError, match=r"cannot connect pods: PluginNotReady: .*agent down"
    ):
        await network.attach(request_)
    assert network.plugins.verbs() == ["addresses STATUS"]
    assert nothing_left(network)
