import json
import re

import pytest
import typer

from cri.cli import examine, node
from cri.version import VERSION
from runtime import blocking
from runtime.doctor import Finding, Grade
from tests.serving import Parts

Output = pytest.CaptureFixture[str]
FINE = Finding(subject="crun", grade=Grade.OK, text="1.28")
LESS = Finding(subject="criu", grade=Grade.LIMITED, text="missing", mend="install it\nor not")
BROKEN = Finding(subject="nft", grade=Grade.BROKEN, text="missing", mend="install it")


async def test_operations_are_listed_with_stage_and_age(
    address: str, parts: Parts, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocking, "stuck", lambda: ["unmount /x\x1b for 9 s"])
    with parts.operations.begin("PullImage", "example.org/a") as operation:
        operation.stage("resolve", "example.org/a:1")
        await node.ops(address=address)
        table = capsys.readouterr().out
        await node.ops(address=address, json=True)
    head, row, stuck = table.splitlines()
    assert head.split() == ["NUMBER", "OPERATION", "AGE", "SUBJECT", "WHERE"]
    stage = r"stage resolve for \d\.\d s: example.org/a:1"
    assert re.fullmatch(rf"1 +PullImage +\d\.\ds +example.org/a +{stage}", row)
    assert stuck == "hangs in the kernel, nobody waits for it any more: unmount /x? for 9 s"
    found = json.loads(capsys.readouterr().out)
    assert [each["kind"] for each in found["operations"]] == ["PullImage"]
    assert found["operations"][0]["stages"][0]["subject"] == "example.org/a:1"


async def test_findings_are_printed_with_their_cures(
    address: str, parts: Parts, capsys: Output
) -> None:
    parts.findings += [FINE, LESS]
    await node.doctor(address=address)
    assert capsys.readouterr().out.splitlines() == [
        "ok       crun: 1.28",
        "LIMITED  criu: missing",
        "         -> install it",
        "         -> or not",
    ]
    parts.findings.append(BROKEN)
    with pytest.raises(typer.Exit) as ended:
        await node.doctor(address=address, json=True)
    assert ended.value.exit_code == 1
    assert json.loads(capsys.readouterr().out)[2] == {
        "subject": "nft",
        "grade": "broken",
        "text": "missing",
        "mend": "install it",
    }


async def test_without_a_daemon_the_node_is_looked_at_from_here(
    capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def found(why: str) -> list[Finding]:
        return [Finding(subject="daemon", grade=Grade.BROKEN, text=why.splitlines()[0])]

    monkeypatch.setattr(examine, "without_daemon", found)
    with pytest.raises(typer.Exit):
        await node.doctor(address="/no/socket")
    assert capsys.readouterr().out == (
        "BROKEN   daemon: cannot reach the daemon at /no/socket: nothing is there\n"
    )


async def test_versions(address: str, capsys: Output) -> None:
    await node.version(address=address)
    assert capsys.readouterr().out == f"ferry {VERSION}\nferryd 1.2.3\n"
    await node.version(address=address, json=True)
    assert json.loads(capsys.readouterr().out) == {"ferry": VERSION, "ferryd": "1.2.3"}
    await node.version(address="/no/socket")
    assert capsys.readouterr().out == (
        f"ferry {VERSION}\nferryd does not answer at /no/socket: nothing is there\n"
    )
    await node.version(address="/no/socket", json=True)
    assert json.loads(capsys.readouterr().out) == {"ferry": VERSION, "ferryd": None}
