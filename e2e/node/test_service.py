"""systemd restarts, kills, watches and reloads the daemon; pods go on."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from cri.api.runtime.v1 import api_pb2 as pb
from e2e.client import Client, Container, Pod, connected, log_lines
from e2e.node import installed
from e2e.node.installed import UNIT, main_pid, shown, started, systemctl
from e2e.processes import parent

pytestmark = pytest.mark.root

RUNNING = pb.ContainerState.Value("CONTAINER_RUNNING")
COUNT = "n=0; while :; do echo $n; n=$((n+1)); sleep 0.05; done"


@dataclass(frozen=True, slots=True)
class Counting:
    """A container that counts in its log, and one that ends when it is told to."""

    counter: str
    ending: str
    log: Path
    go: Path

    def numbers(self) -> list[str]:
        return [text for _, _, text in log_lines(self.log)]


@pytest.fixture
async def counting(cri: Client, image: str, handler: str, logs: Path) -> AsyncIterator[Counting]:
    go = logs / "shared" / "go"
    go.parent.mkdir(parents=True)
    wait = "until [ -e /shared/go ]; do sleep 0.05; done; exit 7"
    mount = pb.Mount(container_path="/shared", host_path=str(go.parent))
    async with connected(installed.ADDRESS) as client:
        running = await client.run_pod(Pod(name="counting", logs=logs), handler)
        counter = Container(name="counter", image=image, command=["sh", "-c", COUNT])
        ending = Container(name="ending", image=image, command=["sh", "-c", wait], mounts=[mount])
        yield Counting(
            await client.run(running, counter),
            await client.run(running, ending),
            running.pod.log_directory / "counter/0.log",
            go,
        )
    async with connected(installed.ADDRESS) as client:
        await client.stop_pod(running.id)
        await client.remove_pod(running.id)


def restart() -> None:
    systemctl("restart", UNIT)


def kill_all() -> None:
    """SIGKILL every process that systemd thinks the service has, as an administrator may."""
    former = main_pid()
    systemctl("kill", "--signal=KILL", UNIT)
    installed.until_another_runs(former)


def stop_and_start() -> None:
    systemctl("stop", UNIT)
    time.sleep(1)
    systemctl("start", UNIT)


@pytest.mark.parametrize("interrupt", [restart, kill_all, stop_and_start])
async def test_pods_outlive_the_daemon(counting: Counting, interrupt: Callable[[], None]) -> None:
    async with connected(installed.ADDRESS) as client:
        pid = await client.pid(counting.counter)
        before = await client.status(counting.counter)
    born = started(pid)
    former = main_pid()
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.to_thread(interrupt))
        await asyncio.sleep(0.5)
        counting.go.touch()  # one container ends while nobody watches
    assert main_pid() != former
    async with connected(installed.ADDRESS) as client:
        assert await client.pid(counting.counter) == pid
        assert started(pid) == born
        assert await client.status(counting.counter) == before
        assert await client.output(counting.counter, "echo", "still there") == "still there"
        ended = await client.exited(counting.ending, seconds=60)
        assert (ended.exit_code, ended.reason) == (7, "Error")
        seen = len(counting.numbers())
        async with asyncio.timeout(60):
            while len(counting.numbers()) < seen + 20:
                await asyncio.sleep(0.1)
    numbers = counting.numbers()
    assert numbers == [str(number) for number in range(len(numbers))]


async def test_the_watchdog_ends_a_daemon_that_hangs(counting: Counting) -> None:
    installed.set_watchdog(10)
    try:
        former = main_pid()
        await asyncio.sleep(15)
        assert main_pid() == former, "a daemon that is well was ended"
        async with connected(installed.ADDRESS) as client:
            pid = await client.pid(counting.counter)
        os.kill(former, signal.SIGSTOP)
        await asyncio.to_thread(installed.until_another_runs, former)
        assert "Watchdog timeout" in installed.journal()
        assert "Fatal Python error: Aborted" in installed.journal()  # and where each thread was
        async with connected(installed.ADDRESS) as client:
            assert await client.pid(counting.counter) == pid
            assert (await client.status(counting.counter)).state == RUNNING
    finally:
        installed.set_watchdog(installed.PATIENCE)


async def test_a_reload_is_whole_or_not_at_all(cri: Client) -> None:
    former = main_pid()
    folder = Path("/etc/ferry/conf.d")
    fine, bad = folder / "60-fine.toml", folder / "61-bad.toml"
    try:
        fine.write_text('[daemon]\nlog_level = "debug"\n')
        systemctl("reload", UNIT)
        await until_logged("reload: changed daemon.log_level")
        bad.write_text('[daemon]\nlog_levl = "info"\n')
        systemctl("reload", UNIT)
        await until_logged("61-bad.toml")
        await until_logged("the old configuration stays")
    finally:
        fine.unlink(missing_ok=True)
        bad.unlink(missing_ok=True)
        systemctl("reload", UNIT)
    assert main_pid() == former
    version = await cri.runtime.Version(pb.VersionRequest())
    assert version.runtime_name == "ferry"


async def until_logged(text: str) -> None:
    async with asyncio.timeout(30):
        while text not in await asyncio.to_thread(installed.journal):
            await asyncio.sleep(0.2)


async def test_monitors_live_beside_the_daemon(counting: Counting) -> None:
    async with connected(installed.ADDRESS) as client:
        pid = await client.pid(counting.counter)
    monitor = parent(pid)
    async with asyncio.timeout(60):  # they are moved behind the answers
        while installed.cgroup_of(monitor).name != "ferry-monitors.service":
            await asyncio.sleep(0.1)


async def test_what_systemd_is_told(cri: Client) -> None:
    await asyncio.to_thread(restart)
    assert shown("ActiveState") == "active"
    assert shown("StatusText") == f"serves on {installed.ADDRESS}"
    assert Path(f"/proc/{main_pid()}/oom_score_adj").read_text() == "-999\n"
