from pathlib import Path

import pytest

from runtime.network import AttachRequest, PortMapping
from runtime.network.ledger import Ledger
from runtime.network.wires import PodLink
from store.errors import AlreadyExistsError, ResourceExhaustedError
from tests.fakes.network import memory_records

PORT = PortMapping(protocol="tcp", container_port=80, host_port=8080)


def request(name: str, *ports: PortMapping) -> AttachRequest:
    return AttachRequest(sandbox_id=name, netns=Path("/x"), ports=ports)


def test_a_reservation_is_on_record_before_it_is_used() -> None:
    records = memory_records()
    pod = Ledger("br", records, ["10.0.0.0/24"]).reserve(request("a", PORT))
    assert records.pods.get("br", "a") == pod
    assert pod.addresses == ("10.0.0.2",)
    assert pod.ports == (PORT,)


def test_an_exhausted_family_gives_the_other_back() -> None:
    ledger = Ledger("br", memory_records(), ["10.0.0.0/24", "fd00::/126"])
    ledger.reserve(request("a"))
    ledger.reserve(request("b"))
    with pytest.raises(ResourceExhaustedError, match="fd00::/126"):
        ledger.reserve(request("c", PORT))
    assert "10.0.0.0/24: 2 used" in repr(ledger)
    assert "0 ports" in repr(ledger)


def test_a_late_release_does_not_take_what_is_someone_elses_now() -> None:
    ledger = Ledger("br", memory_records(), ["10.0.0.0/24"])
    pod = ledger.reserve(request("a", PORT))
    assert ledger.release("a", pod)
    again = ledger.reserve(request("a", PORT))
    assert not ledger.release("a", pod)
    assert ledger.find("a") == again


def test_bridges_share_records_without_meeting() -> None:
    records = memory_records()
    first, second = (Ledger(name, records, ["10.0.0.0/24"]) for name in ("a", "b"))
    first.reserve(request("x"))
    assert second.pods() == {}
    second.reserve(request("x"))
    second.clear()
    assert list(first.pods()) == ["x"]


def test_a_reserved_sandbox_is_refused() -> None:
    ledger = Ledger("br", memory_records(), ["10.0.0.0/24"])
    ledger.reserve(request("a"))
    with pytest.raises(AlreadyExistsError, match="sandbox a: it is connected"):
        ledger.reserve(request("a"))


def test_conflicting_records_do_not_stop_recovery(caplog: pytest.LogCaptureFixture) -> None:
    records = memory_records()
    for name in ("a", "b"):
        records.pods.add("br", name, PodLink(link=name, addresses=("10.0.0.9",), ports=(PORT,)))
    ledger = Ledger("br", records, ["10.0.0.0/24"])
    ledger.adopt()
    assert "8080/tcp" in caplog.text
    assert ledger.reserve(request("c")).addresses == ("10.0.0.10",)
