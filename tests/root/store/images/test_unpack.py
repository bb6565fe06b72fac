"""The worker's life, and what a job in it can and cannot do."""

import asyncio
import os
import signal
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest

from store.errors import Error, InvalidArgumentError, ResourceExhaustedError, UnavailableError
from store.images.layers import Limits
from store.images.unpack import WorkerUnpacker
from tests import orphans
from tests.tars import archive, block, end, info, padded
from tests.unpacking import PLAIN, Bench, gone, workers

pytestmark = pytest.mark.root

DATA = archive([(info("a"), b"x" * 3_000_000), (info("b"), b"y")])


class Download:
    """A blob that grows when the test says so."""

    def __init__(self, bench: Bench, data: bytes) -> None:
        self._data = data
        self.blob = bench.blob(b"")
        self._state = (0, False)
        self._news = asyncio.Event()

    def grow(self, size: int, *, failure: Exception | None = None) -> None:
        with self.blob.open("ab") as file:
            file.write(self._data[file.tell() : size])
        self._state = size, size >= len(self._data)
        self._failure = failure
        self._news.set()

    async def follow(self) -> tuple[int, bool]:
        if not self._state[1]:
            await self._news.wait()
            self._news.clear()
            if self._failure is not None:
                raise self._failure
        return self._state


@dataclass(frozen=True)
class Facts:
    """What the kernel says of a process."""

    status: dict[str, str]
    mounts: list[str]
    root: tuple[int, int]
    files: dict[str, str]
    score: str

    @classmethod
    def of(cls, pid: int) -> Self:
        process = Path(f"/proc/{pid}")
        lines = (process / "status").read_text().splitlines()
        root = (process / "root").stat()
        return cls(
            status=dict(line.split(":\t", 1) for line in lines if ":\t" in line),
            mounts=(process / "mountinfo").read_text().splitlines(),
            root=(root.st_dev, root.st_ino),
            files={fd.name: fd.readlink().name for fd in (process / "fd").iterdir()},
            score=(process / "oom_score_adj").read_text(),
        )


class Running:
    """An unpack under way on a download that stands still in the middle."""

    def __init__(self, bench: Bench) -> None:
        self.download = Download(bench, DATA)
        self.target = bench.fresh()
        self.bench = bench
        self.advanced = asyncio.Event()

    async def unpack(self) -> None:
        await self.bench.unpacker.unpack(
            blob=self.download.blob,
            follow=self.download.follow,
            media_type=PLAIN,
            target=self.target,
            report=lambda _: self.advanced.set(),
        )

    async def failure(self) -> Error | None:
        """Return what unpacking raises."""
        try:
            await self.unpack()
        except Error as error:
            return error
        return None

    async def job(self) -> int:
        """Let it come to the middle; return the pid of its process."""
        self.download.grow(2_500_000)
        await self.advanced.wait()
        worker = worker_pid()
        (job,) = workers() - {worker}
        return job


def worker_pid() -> int:
    (pid,) = (
        pid
        for pid in workers()
        if b"unpack_worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
        and parent(pid) == os.getpid()
    )
    return pid


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


class TestGrowing:
    async def test_a_layer_is_unpacked_while_it_comes(self, bench: Bench) -> None:
        run = Running(bench)
        async with asyncio.TaskGroup() as group:
            group.create_task(run.unpack())
            await run.job()
            assert (run.target / "a").exists()
            assert not (run.target / "b").exists()
            run.download.grow(len(DATA))
        assert (run.target / "b").read_bytes() == b"y"

    async def test_the_blob_may_be_renamed_meanwhile(self, bench: Bench) -> None:
        run = Running(bench)
        async with asyncio.TaskGroup() as group:
            group.create_task(run.unpack())
            await run.job()
            blob = run.download.blob
            run.download.blob = blob.rename(blob.with_name("published"))
            run.download.grow(len(DATA))
        assert (run.target / "b").read_bytes() == b"y"

    async def test_what_ends_the_download_ends_the_unpack(self, bench: Bench) -> None:
        run = Running(bench)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(run.failure())
            await run.job()
            run.download.grow(2_600_000, failure=UnavailableError("the registry is gone"))
        assert str(task.result()).startswith("the registry is gone")
        assert workers() == {worker_pid()}


class TestDeath:
    async def test_cancelling_kills_the_job(self, bench: Bench) -> None:
        run = Running(bench)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(run.unpack())
            job = await run.job()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert job not in workers()
        assert (await bench.unpack(DATA)).inodes == 2

    async def test_a_killed_job_is_unavailable_and_the_next_works(self, bench: Bench) -> None:
        run = Running(bench)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(run.failure())
            os.kill(await run.job(), signal.SIGKILL)
        assert isinstance(task.result(), UnavailableError)
        assert "ended by SIGKILL" in str(task.result())
        assert (await bench.unpack(DATA)).inodes == 2

    async def test_a_killed_worker_takes_its_jobs_and_the_next_works(self, bench: Bench) -> None:
        run = Running(bench)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(run.failure())
            job = await run.job()
            os.kill(worker_pid(), signal.SIGKILL)
        assert isinstance(task.result(), UnavailableError)
        assert "the unpack worker is gone" in str(task.result())
        await gone(job)
        orphans.reap()  # its parent died, so it may have come to us
        assert (await bench.unpack(DATA)).inodes == 2

    async def test_too_much_processor_time_is_too_much(
        self, make_bench: Callable[[Limits], Bench]
    ) -> None:
        bench = make_bench(Limits(seconds=1))
        async with bench.unpacker:
            run = Running(bench)
            async with asyncio.TaskGroup() as group:
                task = group.create_task(run.failure())
                os.kill(await run.job(), signal.SIGXCPU)
        assert isinstance(task.result(), ResourceExhaustedError)
        assert "more than 1 s of processor time" in str(task.result())


class TestWorker:
    async def test_no_worker_runs_before_it_is_needed(self, bench: Bench) -> None:
        assert workers() == set()
        await bench.unpack(DATA)
        assert workers() == {worker_pid()}

    async def test_an_idle_worker_ends(self, bench: Bench) -> None:
        async with WorkerUnpacker(idle=0) as unpacker:
            bench.unpacker = unpacker
            await bench.unpack(DATA)
            await gone(worker_pid())
            assert (await bench.unpack(DATA)).inodes == 2

    async def test_layers_are_unpacked_at_the_same_time(self, bench: Bench) -> None:
        runs = [Running(bench), Running(bench)]
        async with asyncio.TaskGroup() as group:
            for run in runs:
                group.create_task(run.unpack())
                run.download.grow(2_500_000)
            for run in runs:
                await run.advanced.wait()
            assert len(workers()) == 3
            for run in runs:
                run.download.grow(len(DATA))

    async def test_another_media_type_is_refused(self, bench: Bench) -> None:
        with pytest.raises(InvalidArgumentError, match="media type 'text/html'"):
            await bench.unpack(b"<html>", media_type="text/html")


class TestCage:
    async def test_what_a_job_has(self, bench: Bench) -> None:
        run = Running(bench)
        async with asyncio.TaskGroup() as group:
            group.create_task(run.unpack())
            job = await run.job()
            facts = Facts.of(job)
            run.download.grow(len(DATA))
        kept = "000000008800001b"
        assert [facts.status[f"Cap{name}"] for name in ("Prm", "Eff", "Bnd")] == [kept] * 3
        assert [facts.status[f"Cap{name}"] for name in ("Inh", "Amb")] == ["0" * 16] * 2
        assert facts.status["NoNewPrivs"] == "1"
        assert len(facts.mounts) == 1
        assert facts.root == (run.target.stat().st_dev, run.target.stat().st_ino)
        assert sorted(facts.files) == ["0", "1", "2", "3", "4", "5"]
        assert {facts.files[fd] for fd in "012"} == {"null"}
        assert facts.files["4"] == run.download.blob.name
        # What is written just then.
        assert facts.files["5"] == "a"
        assert facts.score == "800\n"

    async def test_setuid_and_devices_are_made_with_what_is_left(self, bench: Bench) -> None:
        data = (
            block(b"null", flag=b"3", major=b"0000001\0", minor=b"0000003\0", mode=b"0000666\0")
            + block(b"su", mode=b"0006755\0", uid=b"0001750\0", size=1)
            + padded(b"#")
            + end()
        )
        layer = await bench.layer(data)
        null, su = (layer / "null").stat(), (layer / "su").stat()
        assert (stat.S_ISCHR(null.st_mode), null.st_rdev) == (True, os.makedev(1, 3))
        assert (stat.S_IMODE(su.st_mode), su.st_uid) == (0o6755, 1000)
