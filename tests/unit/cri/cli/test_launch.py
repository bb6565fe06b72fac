import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cri.api.runtime.v1 import api_pb2 as pb
from cri.cli import launch as launching
from cri.cli import removal
from cri.cli.daemon import Daemon
from cri.cli.interrupts import Interrupts
from cri.cli.launch import attend, launch
from cri.cli.requests import Wish
from runtime.pods import Filter
from store.errors import Error, InvalidArgumentError, NotFoundError, UnavailableError
from tests.fakes.images import image as some_image
from tests.serving import Parts

NAME = "example.org/a:1"
WISH = Wish(image=NAME, name="one", command=("sh",))


@pytest.fixture(autouse=True)
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(removal, "_LOGS", tmp_path / "logs")
    return tmp_path / "logs"


@pytest.fixture
async def interrupts() -> AsyncIterator[Interrupts]:
    with Interrupts() as hearing:
        yield hearing


async def test_a_missing_image_is_pulled_and_known_by_its_id(daemon: Daemon, parts: Parts) -> None:
    launched = await launch(daemon, WISH, "runc")
    assert await daemon.image(NAME) is not None
    (container,) = parts.containers.list("k8s.io", Filter())
    assert (container.id, container.container.sandbox_id) == (launched.container, launched.pod)
    assert container.container.config.image.image == str(some_image(1).id)


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(data)


def names(directory: Path) -> list[str]:
    return [each.name for each in directory.iterdir()]


@pytest.mark.parametrize("step", ["run_pod", "create", "start"])
async def test_a_step_that_fails_leaves_nothing_and_is_the_error(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    async def fail(*_: object) -> None:
        raise UnavailableError(f"cannot {step}")

    monkeypatch.setattr(Daemon, step, fail)
    with pytest.raises(UnavailableError, match=f"cannot {step}"):
        await launch(daemon, WISH, "")
    assert await daemon.pods() == []


async def test_a_pod_whose_answer_was_lost_is_removed(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Daemon.run_pod

    async def lose(self: Daemon, config: pb.PodSandboxConfig, handler: str) -> str:
        await original(self, config, handler)
        raise UnavailableError("Socket closed")

    monkeypatch.setattr(Daemon, "run_pod", lose)
    with pytest.raises(UnavailableError, match="Socket closed"):
        await launch(daemon, WISH, "")
    assert await daemon.pods() == []


async def test_a_failed_cleanup_is_said_and_does_not_hide_the_error(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fail(*_: object) -> None:
        raise Error("cannot remove it: busy")

    monkeypatch.setattr(launching, "remove_by_uid", fail)
    with pytest.raises(InvalidArgumentError, match="no handler"):
        await launch(daemon, WISH, "nothing")
    assert capsys.readouterr().err == (
        "ferry: cannot remove it: busy\nThe pod is left: `ferry pods` lists it.\n"
    )


async def test_output_and_exit_code_come_and_the_pod_goes(
    daemon: Daemon, interrupts: Interrupts, logs: Path
) -> None:
    launched = await launch(daemon, WISH, "")
    assert str(launched.log) == (await daemon.container(launched.container)).log_path
    write(launched.log, b"T stdout F hi\n")
    await daemon.stop(launched.container, 0)
    texts: list[bytes] = []
    code = await attend(daemon, launched, interrupts, lambda entry: texts.append(entry.text))
    assert (code, texts) == (137, [b"hi"])
    assert await daemon.pods() == []
    assert names(logs) == []


async def test_the_first_signal_asks_and_the_second_ends(
    daemon: Daemon, interrupts: Interrupts, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, graces = Daemon.stop, []

    async def patient(self: Daemon, container: str, grace: int) -> None:
        graces.append(grace)
        if grace:
            interrupts.hear(signal.SIGTERM)
        else:
            await stop(self, container, grace)

    monkeypatch.setattr(Daemon, "stop", patient)
    launched = await launch(daemon, WISH, "")
    interrupts.hear(signal.SIGINT)
    async with asyncio.timeout(10):
        assert await attend(daemon, launched, interrupts, lambda _: None) == 137
    assert graces == [30, 0]
    assert await daemon.pods() == []
    assert parts.sandboxes.calls[-1] == ("remove", launched.pod)


async def test_a_stop_that_fails_is_said_and_the_output_goes_on(
    daemon: Daemon,
    interrupts: Interrupts,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stop = Daemon.stop

    async def fail(self: Daemon, container: str, grace: int) -> None:
        await stop(self, container, grace)
        raise UnavailableError("cannot stop it")

    monkeypatch.setattr(Daemon, "stop", fail)
    launched = await launch(daemon, WISH, "")
    interrupts.hear(signal.SIGINT)
    async with asyncio.timeout(10):
        assert await attend(daemon, launched, interrupts, lambda _: None) == 137
    assert capsys.readouterr().err == "ferry: cannot stop it\n"


async def test_a_container_that_somebody_removed_has_no_exit_code(
    daemon: Daemon, interrupts: Interrupts
) -> None:
    launched = await launch(daemon, WISH, "")
    await daemon.remove_pod(launched.pod)
    with pytest.raises(NotFoundError, match="somebody else removed it"):
        await attend(daemon, launched, interrupts, lambda _: None)
