"""A daemon with tasks only, for tests that kill it: `mortal.py DIRECTORY RUNTIME`.

It makes and ends tasks without pause, and writes the id of each that it has started to stdout.
"""

import asyncio
import itertools
import signal
import sys
from pathlib import Path

from runtime.tasks import Task
from runtime.tasks.service import TaskService
from store.database import Database
from store.metadata.records import SqliteRecords
from tests import programs
from tests.bundles import Program
from tests.nodes import make_stage
from tests.stage import Stage


async def main(path: Path, runtime: str) -> None:
    stage = make_stage(path, runtime)
    with Database(path / "state.db") as database:
        records = SqliteRecords(database, "task", Task)
        async with stage.service(records) as tasks, asyncio.TaskGroup() as group:
            for worker in range(2):
                group.create_task(_work(tasks, stage, worker))


async def _work(tasks: TaskService, stage: Stage, worker: int) -> None:
    for number in itertools.count():
        id_ = f"w{worker}n{number}"
        await tasks.create(stage.task(id_, Program(args=programs.FOREVER)))
        await tasks.start("test", id_)
        sys.stdout.write(f"{id_}\n")
        sys.stdout.flush()
        if number % 2:
            await tasks.stop("test", id_, signal.SIGTERM, 0)
            await tasks.delete("test", id_)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
