import json
import re
from pathlib import Path

import pytest

from cri.cli import pods, removal
from cri.cli.daemon import Daemon
from cri.cli.removal import RUN_LABEL, log_directory
from cri.cli.requests import Wish, container_config, pod_config
from store.errors import InvalidArgumentError, NotFoundError
from tests.serving import Parts

Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(removal, "_LOGS", tmp_path / "logs")
    return tmp_path / "logs"


def make(directory: str) -> None:
    Path(directory).mkdir(parents=True)


def names(directory: Path) -> list[str]:
    return [each.name for each in directory.iterdir()]


async def run(daemon: Daemon, name: str, *, ours: bool = True) -> str:
    config = pod_config(Wish(image="a", name=name))
    make(config.log_directory)
    if not ours:
        del config.labels[RUN_LABEL]
    return await daemon.run_pod(config, "")


async def test_pods_are_listed(daemon: Daemon, address: str, capsys: Output, parts: Parts) -> None:
    first, second = await run(daemon, "one"), await run(daemon, "two")
    await parts.sandboxes.stop("k8s.io", second)
    await pods.pods(address=address)
    head, *rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert head == ["POD", "NAMESPACE", "NAME", "ATTEMPT", "STATE", "AGE", "HANDLER", "IP"]
    assert [row[:4] for row in rows] == [
        [first[:13], "default", "one", "0"],
        [second[:13], "default", "two", "0"],
    ]
    assert (rows[0][4], rows[0][6:]) == ("ready", ["crun", "10.88.0.2"])
    assert (rows[1][4:6], rows[1][7:]) == (["not", "ready"], ["crun"])
    await pods.pods(address=address, json=True)
    listed = json.loads(capsys.readouterr().out)
    assert [(each["state"], each["addresses"]) for each in listed] == [
        ("SANDBOX_READY", ["10.88.0.2"]),
        ("SANDBOX_NOTREADY", []),
    ]


async def test_pods_are_removed_with_the_logs_that_are_ours(
    daemon: Daemon, address: str, capsys: Output, logs: Path
) -> None:
    first, second = await run(daemon, "one"), await run(daemon, "two", ours=False)
    kept = {each.metadata.name: log_directory(each.metadata) for each in await daemon.pods()}
    await pods.rm(["one", second, "default/one"], address=address, json=True)
    assert json.loads(capsys.readouterr().out) == {"removed": [first, second, first]}
    assert await daemon.pods() == []
    assert names(logs) == [kept["two"].name]


async def test_nothing_is_removed_unless_all_are_found(daemon: Daemon, address: str) -> None:
    await run(daemon, "one")
    with pytest.raises(NotFoundError, match="cannot find pod 'tow': `ferry pods` lists them"):
        await pods.rm(["one", "tow"], address=address)
    await run(daemon, "one")
    with pytest.raises(InvalidArgumentError, match="default/one  attempt 0, ready"):
        await pods.rm(["one"], address=address)
    assert len(await daemon.pods()) == 2


async def test_the_id_of_a_container_is_said_to_be_one(daemon: Daemon, address: str) -> None:
    wish = Wish(image="a", name="one")
    pod = await run(daemon, "one")
    container = await daemon.create(pod, container_config(wish), pod_config(wish))
    with pytest.raises(NotFoundError) as raised:
        await pods.rm([container], address=address)
    assert str(raised.value).endswith(f"; {container[:13]} is a container of default/one")
    assert await daemon.addresses("gone") == []


@pytest.mark.parametrize(
    ("text", "pair"), [("80", (80, 80)), ("8080:80", (8080, 80)), ("0:65535", (0, 65535))]
)
def test_ports_are_here_and_there(text: str, pair: tuple[int, int]) -> None:
    assert pods._ports(text) == pair


@pytest.mark.parametrize("text", ["", "0", "a", "80:", "1:2:3", "65536", "-1", "80:0", "٣"])
def test_what_is_no_port_is_named(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match=re.escape(repr(text))):
        pods._ports(text)
