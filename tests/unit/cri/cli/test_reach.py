import socket
from pathlib import Path

import pytest

from cri.cli.client import connect
from cri.cli.reach import obstacle, plain_path
from cri.config import load
from cri.config.load import Layer, Loaded, build
from store.errors import InvalidArgumentError, UnavailableError


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("/run/x.sock", "/run/x.sock"),
        ("unix:/run/x.sock", "/run/x.sock"),
        ("unix:///run/x.sock", "/run/x.sock"),
        ("x.sock", f"{Path.cwd()}/x.sock"),
        ("unix:x.sock", f"{Path.cwd()}/x.sock"),
    ],
)
def test_addresses_may_be_written_as_for_crictl(address: str, path: str) -> None:
    assert plain_path(address) == path


def test_why_nobody_can_be_talked_to(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    assert obstacle(str(path)) == "nothing is there"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        assert obstacle(str(path)) == "nobody listens there"
        listening.listen(0)
        assert obstacle(str(path)) == ""
        assert obstacle(str(path)) == ""  # its queue is full by now
    assert obstacle("/" + "x" * 200) == "AF_UNIX path too long"


@pytest.mark.parametrize(
    ("configured", "hint"),
    [
        ("/run/other.sock", "Another socket; its configuration says /run/other.sock: --address"),
        ("SAME", "Another socket: --address SOCKET or FERRY_ADDRESS."),
        ("", "Another socket: --address SOCKET or FERRY_ADDRESS."),
    ],
)
async def test_a_daemon_that_is_not_there_is_said_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configured: str, hint: str
) -> None:
    path = tmp_path / "x.sock"

    def loaded() -> Loaded:
        if not configured:
            raise InvalidArgumentError("broken file")
        tables = {"daemon": {"address": configured.replace("SAME", str(path))}}
        return build((Layer(origin="x", tables=tables),))

    monkeypatch.setattr(load, "load", loaded)
    with pytest.raises(UnavailableError) as raised:
        async with connect(str(path)):
            pass
    first, second = str(raised.value).splitlines()
    assert first == f"cannot reach the daemon at {path}: nothing is there"
    assert second.startswith("Does ferryd run (systemctl status ferryd)? ")
    assert hint in second
