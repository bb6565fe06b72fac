import asyncio

import pytest

from runtime.together import together


async def test_all_run_to_their_end_and_the_first_error_is_raised() -> None:
    done: list[str] = []
    late = asyncio.Event()

    async def slow() -> None:
        await late.wait()
        done.append("slow")

    async def fails(text: str) -> None:
        late.set()
        raise ValueError(text)

    with pytest.raises(ValueError, match="one"):
        await together([slow, lambda: fails("one"), lambda: fails("two")])
    assert done == ["slow"]


async def test_nothing_to_do_is_fine() -> None:
    await together([])
