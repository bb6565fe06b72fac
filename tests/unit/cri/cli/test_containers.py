import json
from pathlib import Path

import pytest
import typer

from cri.api.runtime.v1 import api_pb2 as pb
from cri.cli import containers
from cri.cli.daemon import Daemon
from cri.cli.requests import Wish, container_config, pod_config
from store.errors import FailedPreconditionError, NotFoundError

Output = pytest.CaptureFixture[str]


class Logs:
    """The directory that the kubelet makes for a pod's logs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()

    def write(self, data: bytes) -> None:
        (self.path / "main.log").write_bytes(data)


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path / "logs")


async def run(daemon: Daemon, pod: str, logs: Logs | None = None, *, start: bool = True) -> str:
    wish = Wish(image="example.org/a:1", name=pod)
    config, container = pod_config(wish), container_config(wish)
    config.log_directory = str(logs.path) if logs else ""
    if logs is None:
        container.log_path = ""
    sandbox = await daemon.run_pod(config, "")
    id_ = await daemon.create(sandbox, container, config)
    if start:
        await daemon.start(id_)
    return id_


async def test_containers_are_listed(daemon: Daemon, address: str, capsys: Output) -> None:
    first, second = await run(daemon, "one"), await run(daemon, "two", start=False)
    await containers.ps(address=address)
    head, row = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert head == ["CONTAINER", "NAME", "STATE", "AGE", "IMAGE", "POD"]
    assert row[:3] == [first[:13], "main", "running"]
    assert row[-1] == "default/one"
    await containers.ps(all_=True, address=address)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [(each[0], each[2]) for each in rows] == [
        (first[:13], "running"),
        (second[:13], "created"),
    ]
    await containers.ps(address=address, json=True)
    assert [each["id"] for each in json.loads(capsys.readouterr().out)] == [first]


async def test_what_people_call_a_container(daemon: Daemon, address: str) -> None:
    del address
    first, second = await run(daemon, "one"), await run(daemon, "two", start=False)
    for wanted in (second, second[:20], "two/main", "default/two/main"):
        assert await containers.find(daemon, wanted) == second
    assert await containers.find(daemon, "main") == first  # the one that runs
    with pytest.raises(
        NotFoundError, match=r"`ferry ps --all` lists them; did you mean two/main\?"
    ):
        await containers.find(daemon, "two/mian")


async def test_logs_are_printed_to_where_they_came_from(
    daemon: Daemon, address: str, capsysbinary: pytest.CaptureFixture[bytes], logs: Logs
) -> None:
    await run(daemon, "one", logs)
    lines = b"T1 stdout F out\xff\nT2 stderr F err\nT3 stdout P half \nT4 stdout F line\n"
    logs.write(lines)
    await containers.logs("main", address=address)
    assert capsysbinary.readouterr() == (b"out\xff\nhalf line\n", b"err\n")
    await containers.logs("main", tail=1, timestamps=True, address=address)
    assert capsysbinary.readouterr() == (b"T3 half T4 line\n", b"")
    await containers.logs("main", tail=2, address=address, json=True)
    printed = [json.loads(line) for line in capsysbinary.readouterr().out.splitlines()]
    assert printed[0] == {"time": "T2", "stream": "stderr", "partial": False, "text": "err"}
    assert [each["partial"] for each in printed] == [False, True, False]


async def test_a_followed_log_ends_with_its_container(
    daemon: Daemon, address: str, capsys: Output, logs: Logs
) -> None:
    id_ = await run(daemon, "one", logs)
    logs.write(b"T stdout F last words\n")
    await daemon.stop(id_, 0)
    await containers.logs("main", follow=True, address=address)
    assert capsys.readouterr().out == "last words\n"


async def test_a_container_without_a_log_says_so(daemon: Daemon, address: str) -> None:
    await run(daemon, "one")
    with pytest.raises(FailedPreconditionError, match="it was made without one"):
        await containers.logs("main", address=address)


async def test_a_program_ends_the_command_as_it_ended(
    daemon: Daemon, address: str, capsys: Output
) -> None:
    await run(daemon, "one")
    for argv, code in ((["echo", "a"], 0), (["false", "b"], 3)):
        with pytest.raises(typer.Exit) as ended:
            await containers.exec_("main", argv, address=address)
        assert ended.value.exit_code == code
        assert capsys.readouterr().out == " ".join(argv)
    with pytest.raises(typer.Exit):
        await containers.exec_("main", ["false"], address=address, json=True)
    assert json.loads(capsys.readouterr().out) == {"stdout": "false", "stderr": "", "exit_code": 3}


def test_the_names_of_states_are_in_cris_order() -> None:
    states = [f"CONTAINER_{name.upper()}" for name in containers._STATES]
    assert states == list(pb.ContainerState.keys())
    assert pb.CONTAINER_RUNNING == containers._RUNNING
