import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from runtime import pidfd
from runtime.process import spawn
from store.errors import NotFoundError
from tests.listing import descriptors
from tests.waiting import until

SLEEP = ("/bin/sleep", "1000")


async def test_a_child_tells_its_exit_code_to_all_who_wait() -> None:
    process = spawn(("/bin/sh", "-c", "exit 7"))
    async with asyncio.TaskGroup() as group:
        waiters = [group.create_task(process.wait()) for _ in range(3)]
    assert [waiter.result() for waiter in waiters] == [7, 7, 7]
    assert process.code == 7
    assert not process.running
    assert await process.wait() == 7


async def test_death_by_signal_is_a_negative_code() -> None:
    process = spawn(SLEEP)
    assert process.send(signal.SIGKILL)
    assert await process.wait() == -signal.SIGKILL
    assert not process.send(signal.SIGTERM)


async def test_a_cancelled_wait_leaves_the_process_and_the_others_waiting() -> None:
    process = spawn(SLEEP)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await process.wait()
    assert process.running
    process.send(signal.SIGKILL)
    assert await process.wait() == -9


async def test_an_adopted_process_is_seen_to_end_without_a_code() -> None:
    script = (
        "import subprocess; p = subprocess.Popen(['sleep', '1000']); "
        "print(p.pid, flush=True); p.wait()"
    )
    with subprocess.Popen(  # noqa: ASYNC220 - a parent that is not us
        [sys.executable, "-c", script], stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        found = pidfd.adopt(pidfd.identify(int(parent.stdout.readline())))
        assert found is not None
        assert found.running
        found.send(signal.SIGKILL)
        assert await found.wait() is None


async def test_a_process_of_the_same_number_is_not_the_same() -> None:
    mine = pidfd.identify(os.getpid())
    other = replace(mine, started=mine.started + 1)
    assert pidfd.adopt(other) is None
    assert pidfd.open_pidfd(other) is None
    fd = pidfd.open_pidfd(mine)
    assert fd is not None
    assert not os.get_inheritable(fd)
    os.close(fd)


async def test_what_is_gone_cannot_be_identified() -> None:
    process = spawn(("/bin/true",))
    gone = pidfd.identify(process.pid)
    await process.wait()
    with pytest.raises(NotFoundError, match=str(gone.pid)):
        pidfd.identify(gone.pid)
    assert pidfd.adopt(gone) is None


async def test_a_closed_watch_lets_go_and_can_be_closed_again() -> None:
    before = descriptors()
    process = spawn(SLEEP)
    watch = pidfd.adopt(pidfd.identify(process.pid))
    assert watch is not None
    called: list[int] = []
    watch.when_ended(lambda: called.append(1))
    watch.close()
    watch.close()
    process.send(signal.SIGKILL)
    await process.wait()
    await asyncio.sleep(0)
    assert called == []
    assert descriptors() <= before


async def test_the_end_calls_back() -> None:
    process = spawn(("/bin/true",))
    called: list[int] = []
    process.when_ended(lambda: called.append(1))
    await until(lambda: called == [1])


async def test_repr_shows_the_state() -> None:
    process = spawn(("/bin/true",))
    assert repr(process) == f"<Process {process.pid} running>"
    await process.wait()
    assert repr(process) == f"<Process {process.pid} ended 0>"


@pytest.mark.parametrize(("code", "shell"), [(0, 0), (7, 7), (-9, 137), (-15, 143)])
def test_shells_count_signals_from_128(code: int, shell: int) -> None:
    assert pidfd.shell_code(code) == shell
