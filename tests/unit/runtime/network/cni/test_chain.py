import json
from pathlib import Path

import pytest

from runtime.network import AttachRequest
from runtime.network.cni import Chosen, Configuration, Plugin, Verb
from runtime.network.cni.chain import Chain
from runtime.network.cni.ledger import CniLedger, CniPod, plain
from store.errors import Error, FailedPreconditionError
from tests.cni import cni_records
from tests.fakes.cni import MemoryPlugins


def chosen(*types: str, version: str = "1.0.0", **more: bool) -> Chosen:
    plugins = tuple(
        Plugin(type=name, document=json.dumps({"type": name}), capabilities=("bandwidth",))
        for name in types
    )
    configuration = Configuration(name="net", versions=(version,), plugins=plugins, **more)
    return Chosen(source="10.conflist", configuration=configuration, version=version)


def pod(path: Path, one: Chosen) -> CniPod:
    request = AttachRequest(
        sandbox_id="a",
        netns=path,
        pod_name="web",
        annotations={"kubernetes.io/egress-bandwidth": "1M"},
    )
    return CniLedger(cni_records()).reserve(request, one)


async def test_each_plugin_gets_the_result_of_the_one_before_it(tmp_path: Path) -> None:
    plugins = MemoryPlugins("one", "two")
    result = await Chain(plugins).add("a", pod(tmp_path, chosen("addresses", "one", "two")))
    assert result.addresses == ("10.99.0.3",)
    first, second, third = (json.loads(call.document) for call in plugins.calls)
    assert "prevResult" not in first
    assert second["prevResult"]["ips"] == [{"address": "10.99.0.3/28", "interface": 0}]
    assert third["prevResult"] == second["prevResult"] == json.loads(result.document)
    assert first["runtimeConfig"]["bandwidth"]["egressRate"] == 1_000_000
    assert {call.target.netns for call in plugins.calls if call.target} == {str(tmp_path)}
    assert plugins.calls[0].target is not None
    assert "K8S_POD_NAME=web" in plugins.calls[0].target.arguments


async def test_an_add_stops_at_the_first_failure(tmp_path: Path) -> None:
    plugins = MemoryPlugins("one", "two")
    plugins.failures["one", Verb.ADD] = Error("broken")
    with pytest.raises(Error, match="connect sandbox a: plugin one ADD: broken"):
        await Chain(plugins).add("a", pod(tmp_path, chosen("addresses", "one", "two")))
    assert plugins.verbs() == ["addresses ADD", "one ADD"]


@pytest.mark.parametrize(("version", "told"), [("0.3.1", False), ("0.4.0", True)])
async def test_del_is_in_reverse_with_the_result(
    tmp_path: Path, version: str, *, told: bool
) -> None:
    plugins = MemoryPlugins("one")
    one = pod(tmp_path, chosen("addresses", "one", version=version))
    ledger = CniLedger(cni_records())
    await Chain(plugins).delete("a", one)
    assert "prevResult" not in json.loads(plugins.calls[0].document)
    plugins.calls.clear()
    del ledger
    result = await Chain(plugins).add("a", one)
    plugins.calls.clear()
    done = CniPod(
        network=one.network,
        version=one.version,
        plugins=one.plugins,
        netns=one.netns,
        result=result.document,
    )
    await Chain(plugins).delete("a", done)
    assert plugins.verbs() == ["one DEL", "addresses DEL"]
    assert ("prevResult" in json.loads(plugins.calls[0].document)) is told


async def test_every_plugin_gets_its_del_and_the_first_failure_is_told(tmp_path: Path) -> None:
    plugins = MemoryPlugins("one", "two")
    one = pod(tmp_path, chosen("addresses", "one", "two"))
    await Chain(plugins).add("a", one)
    plugins.failures["two", Verb.DEL] = Error("first")
    plugins.failures["one", Verb.DEL] = Error("second")
    with pytest.raises(Error, match="disconnect sandbox a: plugin two DEL: first"):
        await Chain(plugins).delete("a", one)
    assert plugins.leases == {}


async def test_check_is_asked_of_all_unless_it_is_switched_off(tmp_path: Path) -> None:
    plugins = MemoryPlugins("one")
    await Chain(plugins).check("a", pod(tmp_path, chosen("addresses", "one")))
    assert plugins.verbs() == ["addresses CHECK", "one CHECK"]
    plugins.failures["one", Verb.CHECK] = Error("gone")
    with pytest.raises(Error, match="rely on the network of sandbox a: plugin one CHECK: gone"):
        await Chain(plugins).check("a", pod(tmp_path, chosen("one")))
    await Chain(plugins).check("a", pod(tmp_path, chosen("one", checks=False)))
    await Chain(plugins).check("a", pod(tmp_path, chosen("one", version="0.3.1")))


async def test_status_and_gc_came_with_1_1() -> None:
    plugins = MemoryPlugins()
    plugins.leases = {"a": "10.99.0.3", "b": "10.99.0.4"}
    chain = Chain(plugins)
    await chain.status(chosen("addresses"))
    await chain.collect(chosen("addresses"), ["a"])
    await chain.collect(chosen("addresses", version="1.1.0", collects=False), ["a"])
    assert plugins.verbs() == []
    await chain.status(chosen("addresses", version="1.1.0"))
    await chain.collect(chosen("addresses", version="1.1.0"), ["a"])
    assert plugins.verbs() == ["addresses STATUS", "addresses GC"]
    assert plugins.leases == {"a": "10.99.0.3"}


async def test_gc_goes_on_after_a_failure() -> None:
    plugins = MemoryPlugins("one")
    plugins.leases = {"b": "10.99.0.4"}
    plugins.failures["one", Verb.GC] = Error("broken")
    with pytest.raises(Error, match="free what no pod has: plugin one GC: broken"):
        await Chain(plugins).collect(chosen("one", "addresses", version="1.1.0"), [])
    assert plugins.leases == {}


async def test_the_newest_common_version_is_negotiated() -> None:
    plugins = MemoryPlugins("one", "mute")
    plugins.spoken["one"] = ("0.4.0", "1.0.0", "7.0.0")
    plugins.failures["mute", Verb.VERSION] = Error("what?")
    chain = Chain(plugins)
    configuration = Configuration(
        name="net",
        versions=("0.4.0", "1.0.0", "1.1.0"),
        plugins=(*chosen("addresses", "one", "mute").configuration.plugins,),
    )
    assert await chain.negotiate(configuration) == "1.0.0"
    assert len(plugins.calls) == 3
    with pytest.raises(FailedPreconditionError, match="plugin one speaks 0\\.4"):
        await chain.negotiate(chosen("one", version="1.1.0").configuration)


async def test_a_pod_of_which_nothing_is_known_has_a_del_all_the_same() -> None:
    plugins = MemoryPlugins()
    plugins.leases = {"a": "10.99.0.3"}
    await Chain(plugins).delete("a", plain(chosen("addresses")))
    assert plugins.leases == {}
