import asyncio

import pytest

from runtime.network.cni.gate import Gate


async def test_many_pass_together_and_keep_one_from_being_alone() -> None:
    gate = Gate()
    async with gate.shared(), gate.shared():
        assert not gate.idle
        with pytest.raises(RuntimeError, match="in use"):
            async with gate.alone():
                pass
    assert gate.idle


async def test_one_that_is_alone_keeps_the_others_waiting() -> None:
    gate = Gate()
    order: list[str] = []

    async def late() -> None:
        async with gate.shared():
            order.append("shared")

    async with asyncio.TaskGroup() as group, gate.alone():
        group.create_task(late())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        order.append("alone")
    assert order == ["alone", "shared"]
    assert gate.idle
