import pytest

from runtime.network.wires import BridgeConfig
from store.errors import InvalidArgumentError


@pytest.mark.parametrize("name", ["", "a" * 16, "a b", 'a"', "a/b", "..", "-a", "a\n"])
def test_a_bridge_has_an_interfaces_name(name: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"network\.bridge"):
        BridgeConfig(name=name)


def test_the_longest_name_is_taken() -> None:
    assert BridgeConfig(name="f" * 15).name == "f" * 15
