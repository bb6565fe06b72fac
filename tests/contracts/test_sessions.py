"""The contract of sessions, on fakes."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import programs
from tests.contracts.sessions import SessionsContract, World
from tests.fakes.sessions import FakeSessions


@dataclass(frozen=True, slots=True)
class FakeWorld:
    sessions: FakeSessions

    async def start(
        self, id_: str, argv: tuple[str, ...], *, terminal: bool = False, once: bool = False
    ) -> None:
        await self.sessions.start(id_, argv, terminal=terminal, once=once)

    async def stop(self, id_: str) -> None:
        self.sessions.stop(id_)

    def programs(self, _id: str) -> int:
        return self.sessions.running


class TestFakeSessions(SessionsContract):
    @pytest.fixture
    async def world(self, tmp_path: Path) -> AsyncIterator[World]:
        async with FakeSessions(tmp_path) as sessions:
            made = FakeWorld(sessions)
            await made.start("a", programs.FOREVER)
            yield made
