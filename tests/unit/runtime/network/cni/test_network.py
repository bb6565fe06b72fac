import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.network import AttachRequest, PortMapping
from runtime.network.cni import Verb
from store.errors import Error, UnavailableError
from tests.cni import cni_records
from tests.fakes.cni import MemoryCni, MemoryPlugins, configure
from tests.waiting import until

PORT = PortMapping(protocol="tcp", container_port=80, host_port=8080)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    configure(tmp_path / "net.d", "more")
    return tmp_path / "net.d"


@pytest.fixture
def plugins() -> MemoryPlugins:
    return MemoryPlugins("more")


@pytest.fixture
async def network(directory: Path, plugins: MemoryPlugins) -> MemoryCni:
    made = MemoryCni(directory, plugins=plugins)
    await made.recover(())
    return made


def pod(directory: Path, name: str = "a", *ports: PortMapping) -> AttachRequest:
    return AttachRequest(sandbox_id=name, netns=directory, ports=ports)


async def test_a_pod_is_connected_and_disconnected(
    network: MemoryCni, plugins: MemoryPlugins, directory: Path
) -> None:
    attachment = await network.attach(pod(directory, "a", PORT))
    assert attachment.addresses == (plugins.leases["a"],)
    assert network.holds("a")
    assert network.records.pods.get("cni", "a").addresses == attachment.addresses
    await network.detach("a")
    assert not network.holds("a")
    assert plugins.leases == {}
    assert plugins.verbs() == ["addresses ADD", "more ADD", "more DEL", "addresses DEL"]
    await network.detach("a")
    assert len(plugins.verbs()) == 4


async def test_without_a_configuration_the_status_is_the_error(
    network: MemoryCni, directory: Path
) -> None:
    (directory / "10-fake.conflist").unlink()
    await network.check()
    with pytest.raises(UnavailableError, match="cannot connect pods: NoConfiguration: no network"):
        await network.attach(pod(directory))
    configure(directory)
    await network.attach(pod(directory))


async def test_what_is_unknown_is_disconnected_once(
    network: MemoryCni, plugins: MemoryPlugins, directory: Path
) -> None:
    plugins.leases["stray"] = "10.99.0.9"
    await network.detach("stray", directory)
    await network.detach("stray", directory)
    assert plugins.leases == {}
    assert plugins.verbs() == ["more DEL", "addresses DEL"]
    assert plugins.calls[-1].target is not None
    assert plugins.calls[-1].target.netns == str(directory)


async def test_a_stranger_that_can_not_be_disconnected_is_no_error(
    network: MemoryCni, plugins: MemoryPlugins, caplog: pytest.LogCaptureFixture
) -> None:
    plugins.failures["more", Verb.DEL] = Error("broken")
    await network.detach("stray")
    assert "disconnect sandbox stray: plugin more DEL: broken" in caplog.text


async def test_nothing_is_known_and_nothing_configured(tmp_path: Path) -> None:
    network = MemoryCni(tmp_path / "none")
    await network.detach("stray")
    assert network.plugins.calls == []
    assert network.status().reason == "NoConfiguration"


async def test_a_pod_attached_again_is_detached_again(
    network: MemoryCni, plugins: MemoryPlugins, directory: Path
) -> None:
    for _ in range(2):
        await network.attach(pod(directory))
        await network.detach("a")
    assert plugins.verbs().count("addresses DEL") == 2


async def test_plugins_of_a_dead_daemon_are_ended_before_its_pods_are_touched(
    network: MemoryCni, plugins: MemoryPlugins, directory: Path
) -> None:
    await network.attach(pod(directory, "whole"))
    await network.attach(pod(directory, "cut"))
    network.records.pods.update("cni", "cut", lambda record: replace(record, result=""))
    again = MemoryCni(directory, network.records, plugins)
    plugins.calls.clear()
    plugins.ended.clear()
    await again.detach("cut")
    assert plugins.ended == [{"cut"}]
    await again.recover({"whole"})
    assert plugins.ended == [{"cut"}]
    assert plugins.leases.keys() == {"whole"}


async def test_recovery_undoes_what_was_cut_off_even_if_it_is_known(
    network: MemoryCni, plugins: MemoryPlugins, directory: Path
) -> None:
    for name in ("kept", "lost", "cut"):
        await network.attach(pod(directory, name))
    network.records.pods.update("cni", "cut", lambda record: replace(record, result=""))
    again = MemoryCni(directory, network.records, plugins)
    await again.recover({"kept", "cut"})
    assert plugins.leases.keys() == {"kept"}
    assert not again.holds("cut")


async def test_garbage_is_collected_once_for_each_configuration(
    directory: Path, plugins: MemoryPlugins
) -> None:
    configure(directory, "more", version="1.1.0")
    network = MemoryCni(directory, plugins=plugins)
    plugins.leases["stray"] = "10.99.0.9"
    await network.recover(())
    await network.check()
    assert plugins.leases == {}
    assert plugins.verbs().count("addresses GC") == 1
    await network.attach(pod(directory))
    configure(directory, version="1.1.0")
    plugins.hold.clear()
    plugins.adding.clear()
    async with asyncio.TaskGroup() as group:
        group.create_task(network.attach(pod(directory, "slow")))
        await plugins.adding.wait()
        await network.check()  # an ADD is under way
        assert plugins.verbs().count("addresses GC") == 1
        plugins.hold.set()
    await network.check()
    assert plugins.verbs().count("addresses GC") == 2
    assert plugins.leases.keys() == {"a", "slow"}
    last = json.loads(next(c.document for c in plugins.calls[::-1] if c.verb is Verb.GC))
    names = [each["containerID"] for each in last["cni.dev/valid-attachments"]]
    assert names == ["a", "slow"]


async def test_the_directory_is_followed(network: MemoryCni, directory: Path) -> None:
    async with asyncio.TaskGroup() as group:
        upkeep = group.create_task(network.maintain(60))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        (directory / "10-fake.conflist").unlink()
        await until(lambda: network.status().reason == "NoConfiguration")
        await asyncio.to_thread(directory.rmdir)
        configure(directory)
        await until(lambda: network.status().ready)
        upkeep.cancel()


async def test_pods_that_fail_a_check_are_in_the_status(
    network: MemoryCni, plugins: MemoryPlugins, directory: Path
) -> None:
    for name in ("a", "b"):
        await network.attach(pod(directory, name))
    again = MemoryCni(directory, network.records, plugins)
    await again.recover({"a", "b"})
    plugins.failures["more", Verb.CHECK] = Error("rules are gone")
    async with asyncio.TaskGroup() as group:
        upkeep = group.create_task(again.maintain(60))
        await until(lambda: again.status().message.endswith("CHECK: rules are gone; so 1 more"))
        upkeep.cancel()
    assert again.status().ready
    await again.detach("a")
    assert again.status().message == (
        "network podnet of 10-fake.conflist; cannot rely on the network of sandbox b: plugin more "
        "CHECK: rules are gone"
    )


async def test_a_pod_range_is_passed_on(directory: Path, plugins: MemoryPlugins) -> None:
    records = cni_records()
    network = MemoryCni(directory, records, plugins)
    await network.set_pod_cidr("10.98.0.0/29")
    await network.recover(())
    await network.set_pod_cidr("10.97.0.0/29")
    assert (await network.attach(pod(directory))).addresses == ("10.97.0.3",)


def test_it_says_what_it_is(tmp_path: Path) -> None:
    assert repr(MemoryCni(tmp_path)) == (
        f"<CniNetwork <Selection {tmp_path}: NotSetUp>, <CniLedger: 0 pods, 0 ports>, 0 DELs owed>"
    )


async def test_plugins_work_for_some_pods_at_a_time(
    network: MemoryCni, plugins: MemoryPlugins, directory: Path
) -> None:
    await network.attach(pod(directory, "old"))
    plugins.hold.clear()
    plugins.calls.clear()
    names = [f"pod{number}" for number in range(6)]
    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(network.attach(pod(directory, name)))
        await until(lambda: len(plugins.calls) == 4)
        # Those that wait keep nobody from being disconnected, and have nothing yet.
        await network.detach("old")
        assert plugins.verbs()[:4] == ["addresses ADD"] * 4
        assert len(list(network.records.pods.walk())) == 4
        plugins.hold.set()
    assert set(plugins.leases) == set(names)
