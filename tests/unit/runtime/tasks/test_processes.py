import errno
import os
import signal
from dataclasses import replace

import pytest

from runtime.pidfd import identify
from runtime.process import spawn
from runtime.tasks.processes import KernelProcesses, signal_group


async def test_a_signal_reaches_exactly_the_process_that_was_meant() -> None:
    processes = KernelProcesses()
    child = spawn(("/bin/sleep", "1000"))
    known = identify(child.pid)
    assert processes.send(known, 0)
    assert not processes.send(replace(known, started=known.started - 1), signal.SIGKILL)
    assert child.running
    assert processes.send(known, signal.SIGTERM)
    assert await child.wait() == -signal.SIGTERM
    assert not processes.send(known, 0)


def test_a_zombie_is_gone() -> None:
    pid = os.posix_spawn("/bin/sleep", ["sleep", "1000"], {})
    known = identify(pid)
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert not KernelProcesses().send(known, 0)
    os.waitpid(pid, 0)


async def test_who_may_not_be_signalled_is_there(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def forbidden(descriptor: int, number: int) -> None:
        del descriptor, number
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(signal, "pidfd_send_signal", forbidden)
    child = spawn(("/bin/sleep", "1000"))
    known = identify(child.pid)
    assert KernelProcesses().send(known, 0)
    assert not caplog.records
    assert KernelProcesses().send(known, signal.SIGKILL)
    assert f"cannot send signal 9 to process {child.pid}: " in caplog.text
    os.kill(child.pid, signal.SIGKILL)
    await child.wait()
    assert not KernelProcesses().send(known, 0)


async def test_where_says_state_and_place() -> None:
    processes = KernelProcesses()
    child = spawn(("/bin/sleep", "1000"))
    known = identify(child.pid)
    assert processes.where(known).startswith(f"process {child.pid} in state ")
    child.send(signal.SIGKILL)
    await child.wait()
    assert processes.where(known) == f"process {child.pid} in state gone at an unknown place"


async def test_a_group_is_signalled_but_nobody_who_has_left_it() -> None:
    children = [spawn(("/bin/sleep", "1000")) for _ in range(3)]
    pids = [child.pid for child in children]
    answers = iter(([*pids, 4_194_304], pids[:2]))
    signal_group(lambda: next(answers), signal.SIGTERM)
    assert await children[0].wait() == -signal.SIGTERM
    assert await children[1].wait() == -signal.SIGTERM
    assert children[2].running
    children[2].send(signal.SIGKILL)
    await children[2].wait()


async def test_who_lives_was_not_killed_for_memory() -> None:
    """The log may be closed to us; that is None."""
    child = spawn(("/bin/sleep", "1000"))
    assert not KernelProcesses().killed_for_memory(identify(child.pid), "/no/such/cgroup")
    child.send(signal.SIGKILL)
    await child.wait()


async def test_without_a_log_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed() -> list[str]:
        raise PermissionError

    monkeypatch.setattr("runtime.kernel.oom.records", closed)
    assert KernelProcesses().killed_for_memory(identify(os.getpid()), "/a") is None
