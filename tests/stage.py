"""What tests of containers stand on: a runtime, a monitor, and bundles, real or not."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from runtime.cgroups import Cgroups
from runtime.monitor import Monitor, Monitored, MonitorRequest
from runtime.oci import Handler, OciRuntime
from runtime.operations import Operations
from runtime.tasks import Task, TaskRequest, Tasks
from runtime.tasks.keeper import Parts
from runtime.tasks.processes import Processes
from runtime.tasks.service import TaskService
from store.metadata import Records
from store.metadata.records import MemoryRecords
from tests.bundles import Program, make_bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A node, real or not, with a directory of its own."""

    path: Path
    handler: Handler
    runtime: OciRuntime
    monitor: Monitor
    processes: Processes
    cgroups: Cgroups
    rootfs: Path

    def request(self, id_: str, args: tuple[str, ...]) -> MonitorRequest:
        """Make a bundle that runs `args`, and the monitor's request for it."""
        task = self.task(id_, Program(args=args))
        directory = self.path / "monitors" / id_
        directory.mkdir(parents=True)
        return MonitorRequest(
            namespace="test",
            container_id=id_,
            name=id_,
            bundle=task.bundle,
            directory=directory,
            handler=replace(self.handler, root=self.handler.root / "test"),
            log_path=task.log_path,
        )

    def task(self, id_: str, program: Program) -> TaskRequest:
        """Make a bundle and the request for a task of it."""
        cgroup = f"/ferry-test/{id_}"
        bundle = self.path / "bundles" / id_
        make_bundle(bundle, program, cgroup=cgroup, rootfs=self.rootfs)
        return TaskRequest(
            namespace="test",
            id=id_,
            name=id_,
            handler=self.handler.name,
            bundle=bundle,
            cgroup=cgroup,
            log_path=self.path / f"{id_}.log",
            terminal=program.terminal,
            stdin=program.stdin,
        )

    async def created(self, id_: str, args: tuple[str, ...]) -> tuple[MonitorRequest, Monitored]:
        """Create a container under the monitor."""
        request = self.request(id_, args)
        self.monitor.prepare(request)
        return request, await self.monitor.create(request)

    def parts(self) -> Parts:
        """What a task service needs."""
        return Parts(
            monitor=self.monitor,
            runtime=self.runtime,
            cgroups=self.cgroups,
            handlers={self.handler.name: self.handler},
            root=self.path / "tasks",
            operations=Operations(),
            processes=self.processes,
        )

    def service(self, records: Records[Task] | None = None) -> TaskService:
        """Return a task service over these parts; over fresh records if none are given."""
        return TaskService(MemoryRecords("task") if records is None else records, self.parts())

    def runtime_keeps(self, handler: Handler, id_: str) -> bool:
        """Tell whether the runtime has a state directory of the container."""
        return (handler.root / id_).exists()

    def members(self, id_: str) -> list[int]:
        """Return the processes in a container's cgroup."""
        return self.cgroups.pids(f"/ferry-test/{id_}")


def opener(stage: Stage) -> Callable[[], AbstractAsyncContextManager[TaskService]]:
    """Return what opens and recovers a task service, each time over the same records."""
    records: MemoryRecords[Task] = MemoryRecords("task")

    @asynccontextmanager
    async def opened() -> AsyncIterator[TaskService]:
        async with stage.service(records) as service:
            await service.recover()
            yield service

    return opened


async def create(tasks: Tasks, stage: Stage, args: tuple[str, ...], id_: str = "a") -> None:
    """Create a task that runs `args`."""
    await tasks.create(stage.task(id_, Program(args=args)))
