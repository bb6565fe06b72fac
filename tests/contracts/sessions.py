"""What every implementation of `runtime.io.Sessions` must do."""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import pytest

from runtime.io import AttachRequest, ExecRequest, Session, Sessions, Size, Source, Wanted
from store import errors
from tests import programs
from tests.io import drained, until

ALL = Wanted(stdin=True, stdout=True, stderr=True)
TERMINAL = Wanted(stdin=True, stdout=True, terminal=True)


class World(Protocol):
    """Containers that tests may start, with input each, and what runs in them."""

    @property
    def sessions(self) -> Sessions:
        """What is tested."""
        ...

    async def start(
        self, id_: str, argv: tuple[str, ...], *, terminal: bool = False, once: bool = False
    ) -> None:
        """Run a container."""
        ...

    async def stop(self, id_: str) -> None:
        """End a container."""
        ...

    def programs(self, id_: str) -> int:
        """Count the programs that execs have left running in a container."""
        ...


class SessionsContract:
    """A subclass supplies the fixture `world`, in which container `a` runs without a terminal."""

    def exec(
        self, world: World, argv: tuple[str, ...], wanted: Wanted = ALL
    ) -> AbstractAsyncContextManager[Session]:
        request = ExecRequest(namespace="test", container_id="a", argv=argv, wanted=wanted)
        return world.sessions.exec(request)

    def attach(
        self, world: World, id_: str, wanted: Wanted = ALL
    ) -> AbstractAsyncContextManager[Session]:
        request = AttachRequest(namespace="test", container_id=id_, wanted=wanted)
        return world.sessions.attach(request)

    async def test_exec_keeps_streams_and_code_apart(self, world: World) -> None:
        async with self.exec(world, programs.SPEAK) as session:
            assert await session.wait() == 0
            assert await drained(session.stdout) == b"out\n"
            assert await drained(session.stderr) == b"err\n"

    @pytest.mark.parametrize(("argv", "code"), [(programs.FAIL, 5), (programs.DIE, 137)])
    async def test_exec_tells_the_exit_code(
        self, world: World, argv: tuple[str, ...], code: int
    ) -> None:
        async with self.exec(world, argv) as session:
            assert await session.wait() == code

    async def test_input_is_passed_on_and_so_is_its_end(self, world: World) -> None:
        async with self.exec(world, programs.CAT) as session:
            assert session.stdin is not None
            assert await session.stdin.write(b"question")
            assert await until(session.stdout, b"question")
            session.stdin.close()
            assert await drained(session.stdout) == b""
            assert await session.wait() == 0

    async def test_much_goes_through_in_both_directions(self, world: World) -> None:
        sent = bytes(range(256)) * 20_000
        async with self.exec(world, programs.CAT) as session, asyncio.TaskGroup() as group:
            assert session.stdin is not None
            writing = group.create_task(session.stdin.write(sent))
            received = b""
            while len(received) < len(sent):
                assert session.stdout is not None
                received += await session.stdout.read()
            assert await writing
            assert received == sent

    async def test_what_was_written_before_the_end_is_not_lost(self, world: World) -> None:
        async with self.exec(world, programs.FLOOD) as session:
            assert await session.wait() == 0
            assert len(await drained(session.stdout)) == programs.FLOOD_BYTES

    async def test_what_is_not_wanted_is_not_there(self, world: World) -> None:
        async with self.exec(world, programs.SPEAK, Wanted(stderr=True)) as session:
            assert (session.stdin, session.stdout) == (None, None)
            assert await session.wait() == 0
            assert await drained(session.stderr) == b"err\n"

    async def test_a_missing_program_is_named(self, world: World) -> None:
        with pytest.raises(errors.FailedPreconditionError, match="/nosuch"):
            async with self.exec(world, programs.MISSING):
                pass

    async def test_a_terminal_has_a_size(self, world: World) -> None:
        async with self.exec(world, programs.MEASURE, TERMINAL) as session:
            assert session.stderr is None
            assert session.stdin is not None
            session.resize(Size(width=80, height=24))
            session.resize(Size(width=132, height=43))
            assert await session.stdin.write(b"go\n")
            assert b"43 132\r\n" in await drained(session.stdout)
            assert await session.wait() == 4

    async def test_leaving_kills_what_was_started(self, world: World) -> None:
        async with self.exec(world, programs.HANG):
            assert world.programs("a") == 1
        assert world.programs("a") == 0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1), self.exec(world, programs.HANG) as session:
                await session.wait()
        assert world.programs("a") == 0

    async def test_leaving_kills_what_nobody_reads(self, world: World) -> None:
        async with self.exec(world, programs.SHOUT) as session:
            assert session.stdout is not None
            await session.stdout.read()
        assert world.programs("a") == 0

    async def test_a_program_nobody_listens_to_ends(self, world: World) -> None:
        async with self.exec(world, programs.SHOUT) as session, asyncio.timeout(10):
            assert session.stdout is not None
            await session.stdout.read()
            session.stdout.abandon()
            await session.wait()

    async def test_there_must_be_a_container_that_runs(self, world: World) -> None:
        unknown = ExecRequest(
            namespace="test", container_id="missing", argv=programs.SPEAK, wanted=ALL
        )
        with pytest.raises(errors.NotFoundError):
            async with world.sessions.exec(unknown):
                pass
        with pytest.raises(errors.NotFoundError):
            async with self.attach(world, "missing"):
                pass
        await world.stop("a")
        with pytest.raises(errors.FailedPreconditionError):
            async with self.exec(world, programs.SPEAK):
                pass
        with pytest.raises(errors.FailedPreconditionError):
            async with self.attach(world, "a"):
                pass

    async def test_all_clients_of_a_container_see_the_same(self, world: World) -> None:
        await world.start("b", programs.ANSWER)
        async with self.attach(world, "b") as first, self.attach(world, "b") as second:
            assert first.stdin is not None
            assert await first.stdin.write(b"x\n")
            for session in (first, second):
                assert await until(session.stdout, b"\n") == b"got x\n"
                assert await until(session.stderr, b"\n") == b"err x\n"
            assert second.stdin is not None
            assert await second.stdin.write(b"y\n")
            assert await until(first.stdout, b"\n") == b"got y\n"

    async def test_a_client_may_leave_and_come_back(self, world: World) -> None:
        await world.start("b", programs.ANSWER)
        for number in range(5):
            async with self.attach(world, "b") as session:
                assert session.stdin is not None
                assert await session.stdin.write(b"%d\n" % number)
                assert await until(session.stdout, b"\n") == b"got %d\n" % number
                session.stdin.close()

    async def test_input_that_ends_once_ends_with_its_first_client(self, world: World) -> None:
        await world.start("b", programs.ANSWER, once=True)
        async with self.attach(world, "b", Wanted(stdout=True)) as watching:
            async with self.attach(world, "b", Wanted(stdout=True)):
                pass  # wanted no input, so it ends none
            async with self.attach(world, "b") as session:
                assert session.stdin is not None
                assert await session.stdin.write(b"x\n")
                assert await until(watching.stdout, b"\n") == b"got x\n"
            async with asyncio.timeout(10):
                assert await watching.wait() == 0
                assert await drained(watching.stdout) == b""

    async def test_the_end_of_the_container_is_the_end_of_its_clients(self, world: World) -> None:
        await world.start("b", programs.ANSWER)
        async with self.attach(world, "b") as session, asyncio.timeout(10):
            await world.stop("b")
            assert await session.wait() == 0
            assert await drained(session.stdout) == b""

    async def test_attach_must_ask_for_a_terminal_as_there_is_one(self, world: World) -> None:
        await world.start("t", programs.ANSWER, terminal=True)
        with pytest.raises(errors.FailedPreconditionError, match="tty"):
            async with self.attach(world, "t", ALL):
                pass
        with pytest.raises(errors.FailedPreconditionError, match="tty"):
            async with self.attach(world, "a", TERMINAL):
                pass
        async with self.attach(world, "t", TERMINAL) as session:
            assert session.stderr is None

    async def test_a_client_that_does_not_read_holds_up_nobody(self, world: World) -> None:
        await world.start("b", programs.SHOUT)
        wanted = Wanted(stdout=True)
        async with (
            self.attach(world, "b", wanted) as stuck,
            self.attach(world, "b", wanted) as good,
        ):
            async with asyncio.timeout(60):
                await _read(good.stdout, 12 << 20)
            with pytest.raises(errors.ResourceExhaustedError, match="behind"):
                await stuck.wait()


async def _read(source: Source | None, count: int) -> None:
    assert source is not None
    while count > 0:
        piece = await source.read()
        assert piece
        count -= len(piece)
