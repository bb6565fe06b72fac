from dataclasses import replace
from pathlib import Path

import pytest

from runtime.network import AttachRequest, PortMapping
from runtime.network.cni import Chosen, Configuration, Plugin
from runtime.network.cni.ledger import CniLedger, CniPod, CniRecords
from runtime.network.cni.results import Result
from runtime.network.ledger import PodRange
from store.database import Database
from store.errors import AlreadyExistsError, FailedPreconditionError, InvalidArgumentError
from store.metadata.records import SqliteRecords
from tests.cni import cni_records

PLUGIN = Plugin(type="bridge", document='{"type": "bridge"}', capabilities=("ipRanges",))
CHOSEN = Chosen(
    source="10.conflist",
    configuration=Configuration(name="net", versions=("1.0.0",), plugins=(PLUGIN,)),
    version="1.0.0",
)
PORT = PortMapping(protocol="TCP", container_port=80, host_port=8080, host_ip="0.0.0.0")
POD = AttachRequest(sandbox_id="a", netns=Path("/run/ns"), ports=(PORT,))


def test_a_record_is_there_before_the_result() -> None:
    records = cni_records("10.1.0.0/24")
    ledger = CniLedger(records)
    pod = ledger.reserve(POD, CHOSEN)
    assert records.pods.get("cni", "a") == pod
    assert (pod.network, pod.version, pod.netns, pod.result) == ("net", "1.0.0", "/run/ns", "")
    assert pod.ports == (replace(PORT, protocol="tcp", host_ip=""),)
    assert '"ipRanges": [[{"subnet": "10.1.0.0/24"}]]' in pod.capabilities
    ledger.complete("a", Result(document="{}", addresses=("10.1.0.2",)))
    done = records.pods.get("cni", "a")
    assert (done.result, done.addresses) == ("{}", ("10.1.0.2",))
    ledger.release("a")
    ledger.release("a")
    assert ledger.pods() == {}
    assert repr(ledger) == "<CniLedger: 0 pods, 0 ports>"


def test_a_refused_reservation_takes_nothing() -> None:
    ledger = CniLedger(cni_records())
    ledger.reserve(POD, CHOSEN)
    with pytest.raises(AlreadyExistsError, match="sandbox a: it is connected"):
        ledger.reserve(POD, CHOSEN)
    with pytest.raises(AlreadyExistsError, match="8080/tcp on every address: sandbox a holds it"):
        ledger.reserve(replace(POD, sandbox_id="b"), CHOSEN)
    bad = {"kubernetes.io/ingress-bandwidth": "x"}
    with pytest.raises(InvalidArgumentError, match="ingress-bandwidth"):
        ledger.reserve(replace(POD, sandbox_id="b", ports=(), annotations=bad), CHOSEN)
    with pytest.raises(InvalidArgumentError, match="K8S_POD_UID"):
        ledger.reserve(replace(POD, sandbox_id="b", ports=(), pod_uid=";"), CHOSEN)
    assert ledger.pods().keys() == {"a"}


def test_ports_are_adopted(caplog: pytest.LogCaptureFixture) -> None:
    records = cni_records()
    pod = CniLedger(records).reserve(POD, CHOSEN)
    records.pods.put("cni", "twin", pod)
    again = CniLedger(records)
    again.adopt()
    assert "8080/tcp" in caplog.text
    with pytest.raises(AlreadyExistsError, match="8080"):
        again.reserve(replace(POD, sandbox_id="b"), CHOSEN)


def test_ranges_move_while_no_pod_depends_on_them() -> None:
    ledger = CniLedger(cni_records())
    ledger.move("10.1.0.0/24, fd00::/64", (PLUGIN,))
    assert ",".join(ledger.ranges) == "10.1.0.0/24,fd00::/64"
    ledger.reserve(POD, CHOSEN)
    ledger.move("10.1.0.0/24,fd00::/64", (PLUGIN,))
    with pytest.raises(FailedPreconditionError, match=r"pods hold addresses of 10\.1\.0\.0/24"):
        ledger.move("10.2.0.0/24", (PLUGIN,))
    ledger.move("10.2.0.0/24", (replace(PLUGIN, capabilities=()),))
    assert ",".join(ledger.ranges) == "10.2.0.0/24"
    with pytest.raises(InvalidArgumentError, match="pod_cidr"):
        ledger.move("x", ())


def test_a_record_survives_the_disk(tmp_path: Path) -> None:
    def opened(database: Database) -> CniRecords:
        return CniRecords(
            pods=SqliteRecords(database, "network.cni", CniPod),
            ranges=SqliteRecords(database, "network.ranges", PodRange),
        )

    with Database(tmp_path / "db") as database:
        pod = CniLedger(opened(database)).reserve(POD, CHOSEN)
    with Database(tmp_path / "db") as database:
        assert CniLedger(opened(database)).find("a") == pod
