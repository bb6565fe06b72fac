import pytest

from runtime.network import PortMapping
from runtime.network.ports import PortTable, normalized
from store.errors import AlreadyExistsError


def mapping(port: int, host_ip: str = "", protocol: str = "tcp") -> PortMapping:
    return PortMapping(protocol=protocol, container_port=80, host_port=port, host_ip=host_ip)


def test_all_or_nothing() -> None:
    table = PortTable()
    table.reserve("a", (mapping(1),))
    with pytest.raises(AlreadyExistsError, match="host port 1/tcp on every address: sandbox a"):
        table.reserve("b", (mapping(2), mapping(3), mapping(1)))
    table.reserve("c", (mapping(2), mapping(3)))
    assert len(table) == 3


def test_one_address_and_all_of_them_conflict_both_ways() -> None:
    table = PortTable()
    table.reserve("a", (mapping(1, "10.0.0.1"),))
    table.reserve("b", (mapping(1, "10.0.0.2"), mapping(1, protocol="udp")))
    with pytest.raises(AlreadyExistsError, match="sandbox a"):
        table.reserve("c", (mapping(1),))
    table.release("a")
    table.release("b")
    table.reserve("c", (mapping(1),))
    with pytest.raises(AlreadyExistsError, match=r"on 10\.0\.0\.1: sandbox c"):
        table.reserve("d", (mapping(1, "10.0.0.1"),))


def test_a_pod_that_asks_twice_for_a_port_is_refused_and_holds_nothing() -> None:
    table = PortTable()
    with pytest.raises(AlreadyExistsError):
        table.reserve("a", (mapping(1), mapping(1)))
    assert len(table) == 0


def test_release_of_an_unknown_pod_is_nothing() -> None:
    table = PortTable()
    table.reserve("a", (mapping(1),))
    table.release("b")
    assert len(table) == 1


def test_spellings_become_one() -> None:
    given = (mapping(1, "0.0.0.0", "TCP"), mapping(2, "::"), mapping(3, "FD00:0::1", "Udp"))
    assert normalized(given) == (mapping(1), mapping(2), mapping(3, "fd00::1", "udp"))
