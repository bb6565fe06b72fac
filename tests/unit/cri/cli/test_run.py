import asyncio
import json
import os
import signal
from pathlib import Path

import pytest
import typer

from cri.cli import removal, run
from cri.cli.daemon import Daemon
from tests.serving import Parts

Output = pytest.CaptureFixture[str]
NAME = "example.org/a:1"


@pytest.fixture(autouse=True)
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal, "_LOGS", tmp_path / "logs")


async def test_a_pod_runs_on_and_is_named(daemon: Daemon, address: str, capsys: Output) -> None:
    await run.run(NAME, ["sh", "-c", "x"], name="one", env=["A=b"], address=address)
    (pod,), (container,) = await daemon.pods(), await daemon.containers()
    assert capsys.readouterr().out == f"pod {pod.id[:13]} container {container.id[:13]}\n"
    assert pod.metadata.name == "one"
    await run.run(NAME, address=address, json=True)
    ids = json.loads(capsys.readouterr().out)
    (made,) = [each for each in await daemon.pods() if each.id == ids["pod"]]
    assert made.metadata.name.startswith("ferry-")


async def test_with_rm_the_exit_code_is_the_programs(
    daemon: Daemon, address: str, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = parts.containers.start

    async def start_and_end(namespace: str, id_: str) -> None:
        await start(namespace, id_)
        await parts.containers.stop(namespace, id_, 0)

    monkeypatch.setattr(parts.containers, "start", start_and_end)
    with pytest.raises(typer.Exit) as ended:
        await run.run(NAME, rm=True, address=address)
    assert ended.value.exit_code == 137
    assert await daemon.pods() == []


async def test_a_signal_before_the_start_takes_all_of_it_back(
    daemon: Daemon, address: str, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()

    monkeypatch.setattr(parts.containers, "start", hang)
    with pytest.raises(typer.Exit) as ended:
        await run.run(NAME, address=address)
    assert ended.value.exit_code == 128 + signal.SIGTERM
    assert await daemon.pods() == []


async def test_a_cancelled_command_is_no_interrupt(
    daemon: Daemon, address: str, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    async def hang(*_: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(parts.containers, "start", hang)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(run.run(NAME, address=address))
        await begun.wait()
        task.cancel()
    assert task.cancelled()
    assert await daemon.pods() == []
