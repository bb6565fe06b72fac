import asyncio
import os
import signal

import pytest

from cri.cli.interrupts import SIGNALS, Interrupts


async def test_work_without_a_signal_gives_its_result() -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    with Interrupts() as interrupts:
        assert await interrupts.during(work()) == 7
    assert interrupts.first is None


async def test_an_error_stays_what_it_is() -> None:
    async def work() -> None:
        raise ValueError("mine")

    with Interrupts() as interrupts, pytest.raises(ValueError, match="mine"):
        await interrupts.during(work())


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_signal_cancels_and_cleanup_is_awaited(number: signal.Signals) -> None:
    begun, cleaned = asyncio.Event(), []

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    async def kill() -> None:
        await begun.wait()
        os.kill(os.getpid(), number)

    with Interrupts() as interrupts:
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            group.create_task(kill())
            with pytest.raises(asyncio.CancelledError):
                await interrupts.during(work())
    assert cleaned == [True]
    assert (interrupts.first, interrupts.exit_code) == (number, 128 + number)
    assert signal.getsignal(number) in {signal.SIG_DFL, signal.default_int_handler}


async def test_each_signal_is_answered_while_the_work_goes_on() -> None:
    counts: list[int] = []
    done = asyncio.Event()

    async def work() -> str:
        await done.wait()
        return "ended"

    async def react(count: int) -> None:
        counts.append(count)
        if count == 1:
            interrupts.hear(signal.SIGTERM)
            await asyncio.sleep(0)
        else:
            done.set()

    with Interrupts() as interrupts:
        interrupts.hear(signal.SIGINT)
        async with asyncio.timeout(5):
            assert await interrupts.during(work(), react) == "ended"
    assert counts == [1, 2]
    assert interrupts.exit_code == 130
