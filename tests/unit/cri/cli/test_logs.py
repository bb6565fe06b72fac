import asyncio
from pathlib import Path

import pytest

from cri.api.runtime.v1 import api_pb2 as pb
from cri.cli import logs
from cri.cli.daemon import Daemon
from cri.cli.logfile import Entry, Reader
from cri.cli.requests import Wish, container_config, pod_config
from tests.serving import Parts


async def started(daemon: Daemon, directory: Path) -> str:
    wish = Wish(image="a", name="one")
    pod = pod_config(wish)
    pod.log_directory = str(directory)
    sandbox = await daemon.run_pod(pod, "")
    container = await daemon.create(sandbox, container_config(wish), pod)
    await daemon.start(container)
    return container


async def test_a_log_is_followed_until_its_container_ends(daemon: Daemon, tmp_path: Path) -> None:
    container, told = await started(daemon, tmp_path), asyncio.Event()
    entries: list[bytes] = []

    def write(entry: Entry) -> None:
        entries.append(entry.text)
        told.set()

    path = await logs.log_of(daemon, container)
    assert path == tmp_path / "main.log"
    with Reader(path) as reader:
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            following = group.create_task(logs.follow(daemon, container, reader, write))
            path.write_bytes(b"T stdout F one\n")
            await told.wait()
            with path.open("ab") as log:
                log.write(b"T stdout F two\n")
            await daemon.stop(container, 0)
    assert following.result() == 137
    assert entries == [b"one", b"two"]


async def test_a_removed_container_has_no_exit_code(
    daemon: Daemon, tmp_path: Path, parts: Parts
) -> None:
    container = await started(daemon, tmp_path)
    await parts.containers.remove("k8s.io", container)
    with Reader(tmp_path / "main.log") as reader:
        assert await logs.follow(daemon, container, reader, lambda _: None) is None


@pytest.mark.parametrize("as_json", [False, True])
def test_an_entry_is_printed_at_once(
    as_json: bool,  # noqa: FBT001 - a case
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.writer(as_json=as_json)(Entry("T", "stdout", partial=False, text=b"hi"))
    expected = '{"time": "T", "stream": "stdout", "partial": false, "text": "hi"}\n'
    assert capsys.readouterr().out == (expected if as_json else "hi\n")


def test_the_number_of_exited_is_cris() -> None:
    assert pb.CONTAINER_EXITED == logs._EXITED
