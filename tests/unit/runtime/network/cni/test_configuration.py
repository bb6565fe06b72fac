import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.network.cni import Configuration, Json, since
from runtime.network.cni.configuration import inlined, parse, parse_plugin, parse_plugin_file
from store.errors import InvalidArgumentError

BRIDGE: dict[str, Json] = {"type": "bridge", "bridge": "cni0", "deep": {"kept": [1.5, None, 2**70]}}


def listed(*plugins: Json, **more: Json) -> bytes:
    document: dict[str, Json] = {"cniVersion": "1.0.0", "name": "net", "plugins": list(plugins)}
    return json.dumps(document | more).encode()


def parsed(data: bytes) -> Configuration:
    found = parse(data)
    assert found is not None
    return found


def test_a_list_keeps_its_plugins_in_order_and_unchanged() -> None:
    found = parsed(listed(BRIDGE, {"type": "portmap", "capabilities": {"portMappings": True}}))
    assert (found.name, found.versions, found.checks, found.collects) == (
        "net",
        ("1.0.0",),
        True,
        True,
    )
    first, second = found.plugins
    assert (first.type, second.type) == ("bridge", "portmap")
    assert json.loads(first.document) == BRIDGE
    assert (first.capabilities, second.capabilities) == ((), ("portMappings",))


def test_a_single_configuration_is_a_list_of_one() -> None:
    data = json.dumps({"cniVersion": "0.3.1", "name": "old", **BRIDGE}).encode()
    found = parsed(data)
    assert [plugin.type for plugin in found.plugins] == ["bridge"]
    assert (found.name, found.versions) == ("old", ("0.3.1",))
    assert inlined(data)


def test_keys_that_only_a_runtime_may_set_are_left_out() -> None:
    plugin = parse_plugin({"type": "x", "cni.dev/valid-attachments": [], "args": {"cni": {}}})
    assert json.loads(plugin.document) == {"type": "x", "args": {"cni": {}}}


def test_capabilities_that_are_switched_off_are_not_wanted() -> None:
    plugin = parse_plugin({"type": "x", "capabilities": {"dns": False, "mac": True, "ips": None}})
    assert plugin.capabilities == ("mac",)


def test_loopback_needs_no_plugin() -> None:
    lone = json.dumps({"cniVersion": "0.2.0", "name": "lo", "type": "loopback"}).encode()
    assert parse(lone) is None
    found = parsed(listed(BRIDGE, {"type": "loopback"}))
    assert [plugin.type for plugin in found.plugins] == ["bridge"]


def test_the_versions_are_those_that_are_spoken_oldest_first() -> None:
    found = parsed(listed(BRIDGE, cniVersions=["9.0.0", "1.1.0", "0.3.1", "0.2.0"]))
    assert found.versions == ("0.3.1", "1.0.0", "1.1.0")
    assert since("1.1.0", "0.4.0")
    assert since("0.4.0", "0.4.0")
    assert not since("0.3.1", "0.4.0")


@pytest.mark.parametrize(("value", "wanted"), [(True, False), ("TRUE", False), ("false", True)])
def test_switches_may_be_strings(value: Json, *, wanted: bool) -> None:
    found = parsed(listed(BRIDGE, disableCheck=value, disableGC=value))
    assert (found.checks, found.collects) == (wanted, wanted)


def test_plugins_of_other_files_are_wanted_unless_a_list_says_no() -> None:
    assert not inlined(listed(BRIDGE))
    assert inlined(listed(BRIDGE, loadOnlyInlinedPlugins=True))
    bare = b'{"cniVersion": "1.0.0", "name": "net"}'
    assert parsed(bare).plugins == ()
    assert not inlined(bare)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"\xff", "no JSON"),
        (b'{"a": NaN}', "no JSON"),
        (b'{"a": 1e999}', "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "the configuration must be an object"),
        (listed(), "plugins must be a list with at least one"),
        (b'{"plugins": {}}', "plugins must be a list"),
        (listed(7), "a plugin must be an object"),
        (listed({}), "type is missing"),
        (listed({"type": 1}), "type can not be '1'"),
        (listed({"type": "../x"}), "type can not be '../x'"),
        (listed({"type": ".."}), "type can not be '..'"),
        (listed({"type": "x\0"}), "type can not be"),
        (listed({"type": "x", "capabilities": [1]}), "capabilities must be an object"),
        (listed(BRIDGE, name="a/b"), "name can not be 'a/b'"),
        (listed(BRIDGE, name=None), "name is missing"),
        (listed(BRIDGE, cniVersion="0.2.0"), "cniVersion is 0.2.0; 0.3.0 to 1.1.0"),
        (listed(BRIDGE, cniVersion=""), "cniVersion is missing"),
        (listed(BRIDGE, cniVersions="1.0.0"), "cniVersions must be a list"),
        (listed(BRIDGE, disableCheck=1), "disableCheck must be true or false"),
        (listed(BRIDGE, disableGC="maybe"), "disableGC must be true or false"),
    ],
)
def test_what_is_wrong_is_said(data: bytes, why: str) -> None:
    with pytest.raises(InvalidArgumentError, match=why.replace(".", r"\.")):
        parse(data)


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_garbage_is_refused_and_nothing_else(data: bytes) -> None:
    with pytest.raises(InvalidArgumentError):
        parse(data)
    with pytest.raises(InvalidArgumentError):
        parse_plugin_file(data)


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
values: st.SearchStrategy[Json] = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=4
)


@given(st.dictionaries(st.text().filter(lambda key: not key.startswith("cni.dev/")), values))
def test_unknown_keys_are_passed_on(more: dict[str, Json]) -> None:
    plugin = more | {"type": "x", "capabilities": {}}
    found = parse(listed(plugin))
    assert found is not None
    assert json.loads(found.plugins[0].document) == plugin
