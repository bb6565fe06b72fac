from pathlib import Path

import pytest

from cri.cli import removal
from cri.cli.daemon import Daemon
from cri.cli.removal import RUN_LABEL, log_directory, remove, remove_by_uid
from cri.cli.requests import Wish, pod_config
from tests.serving import Parts


@pytest.fixture(autouse=True)
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(removal, "_LOGS", tmp_path / "logs")
    return tmp_path / "logs"


async def run(daemon: Daemon, name: str, *, ours: bool = True) -> str:
    config = pod_config(Wish(image="a", name=name))
    make(config.log_directory)
    if not ours:
        del config.labels[RUN_LABEL]
    return await daemon.run_pod(config, "")


def make(directory: str) -> None:
    Path(directory).mkdir(parents=True)


def names(directory: Path) -> list[str]:
    return [each.name for each in directory.iterdir()]


async def test_a_pod_is_stopped_removed_and_its_logs_go_if_they_are_ours(
    daemon: Daemon, parts: Parts, logs: Path
) -> None:
    await run(daemon, "one")
    kept = await run(daemon, "two", ours=False)
    for pod in await daemon.pods():
        await remove(daemon, pod)
        if pod.id == kept:
            assert names(logs) == [log_directory(pod.metadata).name]
    assert [call[0] for call in parts.sandboxes.calls[2:]] == ["stop", "remove"] * 2


async def test_logs_that_are_gone_are_no_error(daemon: Daemon, logs: Path) -> None:
    await run(daemon, "one")
    (pod,) = await daemon.pods()
    log_directory(pod.metadata).rmdir()
    await remove(daemon, pod)
    assert names(logs) == []


async def test_all_pods_of_a_uid_are_removed_and_no_other(daemon: Daemon) -> None:
    await run(daemon, "one")
    (pod,) = await daemon.pods()
    other = await run(daemon, "two")
    await remove_by_uid(daemon, pod.metadata.uid)
    assert [each.id for each in await daemon.pods()] == [other]
