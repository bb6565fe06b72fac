import asyncio
import os
import signal
from pathlib import Path

import pytest

from runtime.pidfd import Process
from runtime.process import default_environment, run, spawn, supervised
from store.errors import DeadlineExceededError, Error, FailedPreconditionError
from tests.listing import descriptors
from tests.waiting import PATIENCE, until


def shell(script: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", script)


async def test_run_keeps_streams_and_code_apart() -> None:
    result = await run(shell("echo out; echo err >&2; exit 3"))
    assert (result.code, result.stdout, result.stderr) == (3, b"out\n", b"err\n")


async def test_stdin_of_any_size_arrives_whole() -> None:
    data = os.urandom(1 << 20)
    result = await run(("/bin/cat",), stdin=data, limit=1 << 21)
    assert result.stdout == data


async def test_without_stdin_there_is_nothing_to_read() -> None:
    assert (await run(("/bin/cat",))).stdout == b""


async def test_output_is_cut_at_the_limit_and_the_writer_not_kept() -> None:
    result = await run(shell("head -c 3000000 /dev/zero; echo done >&2"), limit=10)
    assert result.stdout == b"\0" * 10
    assert result.stderr == b"done\n"


async def test_a_background_child_does_not_keep_the_caller() -> None:
    result = await run(shell("sleep 1000 & echo $!"))
    os.kill(int(result.stdout), signal.SIGKILL)


async def test_what_is_late_is_killed_with_its_name_in_the_error() -> None:
    with pytest.raises(DeadlineExceededError, match=r"/bin/sleep 1000: no end within 0\.05 s"):
        await run(("/bin/sleep", "1000"), timeout=0.05)


async def test_what_ignores_term_is_killed() -> None:
    with pytest.raises(DeadlineExceededError):
        await run(shell("trap '' TERM; while :; do sleep 0.01; done"), timeout=0.05)


@pytest.mark.parametrize("path", ["/nosuch/program", "/etc/passwd", "/etc/passwd/x"])
async def test_what_cannot_be_started_is_named(path: str) -> None:
    with pytest.raises(FailedPreconditionError, match=path):
        spawn((path,))


async def test_a_nul_in_a_word_is_an_error() -> None:
    with pytest.raises(Error, match="null"):
        spawn(("/bin/echo", "a\0b"))


async def test_the_environment_is_what_was_given() -> None:
    result = await run(("/usr/bin/env",), env={"A": "1"})
    assert result.stdout == b"A=1\n"
    assert set(default_environment()) == {"PATH"}


async def test_only_named_descriptors_are_inherited(tmp_path: Path) -> None:
    given, secret = tmp_path / "given", tmp_path / "secret"
    with given.open("w") as file, secret.open("w"):
        process = spawn(shell("ls -l /proc/self/fd >/proc/self/fd/9"), fds={9: file.fileno()})
        assert await process.wait() == 0
    listing = given.read_text()
    assert f"9 -> {given}" in listing
    assert "0 -> /dev/null" in listing
    assert str(secret) not in listing


async def test_numbers_may_be_exchanged() -> None:
    first, second = os.memfd_create("first"), os.memfd_create("second")
    pair = {first: second, second: first}
    script = f"echo to-second >&{first}; echo to-first >&{second}"
    process = spawn(("/bin/bash", "-c", script), fds=pair)
    assert await process.wait() == 0
    assert os.pread(first, 100, 0) == b"to-first\n"
    assert os.pread(second, 100, 0) == b"to-second\n"
    os.close(first)
    os.close(second)


async def test_ignored_signals_are_not_handed_on() -> None:
    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN
    result = await run(("/bin/cat", "/proc/self/status"))
    ignored = next(line for line in result.stdout.splitlines() if line.startswith(b"SigIgn"))
    mask = int(ignored.split()[1], 16)
    assert not mask & (1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1))


async def test_a_session_of_its_own_if_asked() -> None:
    for session in (False, True):
        process = spawn(("/bin/sleep", "1000"), session=session)
        assert (os.getsid(process.pid) == process.pid) is session
        process.send(signal.SIGKILL)
        await process.wait()


async def test_a_block_that_ends_well_waits_for_the_program() -> None:
    process = spawn(("/bin/sleep", "0.05"))
    async with supervised(process):
        assert process.running
    assert process.code == 0


async def test_no_program_outlives_its_block() -> None:
    process = spawn(("/bin/sleep", "1000"))
    with pytest.raises(RuntimeError, match="left"):
        async with supervised(process, grace=PATIENCE):
            raise RuntimeError("left")
    assert process.code == -signal.SIGTERM


async def test_not_even_when_the_block_is_cancelled_twice(tmp_path: Path) -> None:
    deaf = tmp_path / "deaf"
    process = spawn(shell(f"trap '' TERM; touch {deaf}; while :; do sleep 0.01; done"))
    held = asyncio.Event()

    async def hold() -> None:
        async with supervised(process, grace=1):
            held.set()
            await asyncio.sleep(1000)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(hold())
        await held.wait()  # a task that is cancelled before it begins holds nothing
        await until(deaf.exists)
        task.cancel()
        await asyncio.sleep(0.02)
        task.cancel()
    assert process.code == -signal.SIGKILL


async def test_nothing_is_left_open() -> None:
    await run(("/bin/true",))
    before = descriptors()
    for _ in range(5):
        await run(shell("echo x; exit 1"), stdin=b"y")
        with pytest.raises(FailedPreconditionError):
            await run(("/nosuch",), stdin=b"y")
    assert descriptors() <= before


async def test_what_hangs_in_the_kernel_keeps_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    process = spawn(("/bin/sleep", "1000"))
    with monkeypatch.context() as patch:
        patch.setattr(Process, "send", lambda *_: True)
        with pytest.raises(RuntimeError, match="left"):
            async with supervised(process, grace=0.01):
                raise RuntimeError("left")
    assert f"process {process.pid} outlives SIGKILL" in caplog.text
    process.send(signal.SIGKILL)
    await process.wait()
