"""Counters of real pods on a real bridge."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runtime.network.wires import BridgeConfig
from runtime.stats import interfaces
from tests.listing import descriptors
from tests.wired import Node, links, listening, node, reach

pytestmark = pytest.mark.root

CONFIG = BridgeConfig(name="ferry-stats", subnets=("10.213.0.0/24",))


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Node]:
    async with node(tmp_path / "pods", CONFIG) as made:
        yield made


async def test_what_pods_send_each_other_is_counted(here: Node) -> None:
    await here.attach("a")
    (address,) = (await here.attach("b")).addresses
    pins = {name: here.netns(name) for name in ("a", "b")}
    before = interfaces.read(pins)
    with listening(pins["b"], 8080) as server:
        reach(pins["a"], server, address, 8080)
    after = interfaces.read(pins)
    for name in ("a", "b"):
        assert [one.name for one in after[name].interfaces] == ["eth0"]
        assert after[name].timestamp > before[name].timestamp
    (sender,), (receiver,) = after["a"].interfaces, after["b"].interfaces
    assert sender.tx_bytes > before["a"].interfaces[0].tx_bytes
    assert receiver.rx_bytes > before["b"].interfaces[0].rx_bytes
    assert receiver.rx_packets >= 3
    assert (sender.tx_errors, receiver.rx_errors) == (0, 0)


async def test_a_reading_leaves_this_process_where_it_was(here: Node) -> None:
    await here.attach("a")
    before, opened = links(), descriptors()
    interfaces.read({"a": here.netns("a")})
    assert links() == before
    assert descriptors() <= opened


async def test_a_pin_that_is_no_namespace_any_more_is_left_out(here: Node, tmp_path: Path) -> None:
    await here.attach("a")
    (tmp_path / "file").touch()
    pins = {"gone": tmp_path / "gone", "file": tmp_path / "file", "a": here.netns("a")}
    assert interfaces.read(pins).keys() == {"a"}
