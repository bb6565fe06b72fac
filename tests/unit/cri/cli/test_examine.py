from pathlib import Path

import pytest

from cri.cli import examine
from cri.config.load import Layer, Loaded, build
from runtime.doctor import Grade
from store.errors import InvalidArgumentError

WHY = "cannot reach the daemon at /x: nothing is there\nDoes ferryd run?"


async def test_the_missing_daemon_comes_first_then_the_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load() -> Loaded:
        tools = {"prefix": str(tmp_path), "nft": str(tmp_path / "nft")}
        return build((Layer(origin="x", tables={"tools": tools}),))

    monkeypatch.setattr(examine, "load", load)
    first, *rest = await examine.without_daemon(WHY)
    assert (first.subject, first.grade) == ("daemon", Grade.BROKEN)
    assert first.text == "cannot reach the daemon at /x: nothing is there"
    assert "systemctl start ferryd" in first.mend
    found = {finding.subject: finding for finding in rest}
    assert found["nft"].grade is Grade.BROKEN
    assert "apt-get install nftables" in found["nft"].mend


async def test_a_broken_configuration_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def load() -> Loaded:
        raise InvalidArgumentError("/etc/ferry/config.toml: demon: no such option")

    monkeypatch.setattr(examine, "load", load)
    daemon, configuration = await examine.without_daemon(WHY)
    assert daemon.subject == "daemon"
    assert (configuration.grade, configuration.text) == (
        Grade.BROKEN,
        "/etc/ferry/config.toml: demon: no such option",
    )
