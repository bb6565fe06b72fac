"""Containers without a kernel: one node, and a runtime, a monitor and signals that share it.

The contract suites hold them to what crun, runc and conmon do. A test may set the node's `refuse`
to make verbs fail, `hang` to make them wait, and `immortal` to make processes survive SIGKILL.
"""

import asyncio
import itertools
import json
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from runtime.monitor import Exit, Monitored, MonitorRequest, logfile
from runtime.oci import ExecOutput, Handler
from runtime.pidfd import ProcessId
from runtime.spec import Resources
from runtime.tasks import Task
from store import errors
from store.metadata.records import MemoryRecords
from tests import programs
from tests.fakes.cgroups import MemoryCgroups
from tests.stage import Stage

_NUMBERS = itertools.count(10_000_000)  # above any pid of Linux


def _process() -> ProcessId:
    return ProcessId(pid=next(_NUMBERS), started=1)


@dataclass(slots=True)
class FakeContainer:
    args: tuple[str, ...]
    handler: Handler
    id: str
    cgroup: str = ""
    state: str = "created"
    first: ProcessId = field(default_factory=_process)
    monitor: ProcessId = field(default_factory=_process)
    extra: set[ProcessId] = field(default_factory=set)
    monitored: bool = True
    exit: Exit | None = None
    oom: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    resources: Resources = field(default_factory=Resources)

    def end(self, code: int) -> None:
        if not self.ended.is_set():
            self.state = "stopped"
            if self.monitored:
                self.exit = Exit(code=code, at=time.time_ns(), oom=self.oom)
            self.monitored = False
            self.extra.clear()
            self.ended.set()


class FakeNode:
    """What runs on the node, by the runtime's root and the container's id."""

    def __init__(self) -> None:
        self.containers: dict[tuple[Path, str], FakeContainer] = {}
        self.requests: dict[Path, FakeContainer] = {}
        self.calls: list[str] = []
        self.cgroups = MemoryCgroups()
        self.refuse: dict[str, Exception] = {}
        self.hang: dict[str, asyncio.Event] = {}
        self.immortal = False
        # Whom, or in which cgroup, the kernel's log has killed for memory.
        self.log: set[ProcessId | str] | None = None

    async def call(self, verb: str) -> None:
        """Note a call, and fail or wait as the test wants."""
        self.calls.append(verb)
        if verb in self.hang:
            await self.hang[verb].wait()
        if verb in self.refuse:
            raise self.refuse[verb]

    def find(self, handler: Handler, id_: str) -> FakeContainer | None:
        return self.containers.get((handler.root, id_))

    def by(self, test: Callable[[FakeContainer], bool]) -> FakeContainer | None:
        return next((found for found in self.requests.values() if test(found)), None)


class FakeRuntime:
    """Implements `OciRuntime`."""

    def __init__(self, node: FakeNode) -> None:
        self.node = node

    async def start(self, handler: Handler, container_id: str) -> None:
        await self.node.call("start")
        container = self._known("start", handler, container_id)
        if container.state != "created":
            raise _refused("start", container_id, f"it is {container.state}")
        container.state = "running"
        if container.args == programs.QUICK:
            container.end(7)

    def started(self, handler: Handler, container_id: str) -> bool:
        container = self.node.find(handler, container_id)
        return container is not None and container.state != "created"

    async def delete(self, handler: Handler, container_id: str, *, force: bool = False) -> None:
        await self.node.call("delete")
        container = self.node.find(handler, container_id)
        if container is None:
            return
        if container.state == "running" and not force:
            raise _refused("delete", container_id, "it is running")
        container.end(137)
        self.node.cgroups.members.pop(container.cgroup, None)
        del self.node.containers[handler.root, container_id]

    async def update(self, handler: Handler, container_id: str, resources: Resources) -> None:
        await self.node.call("update")
        container = self._known("update", handler, container_id)
        container.resources = resources
        files = self.node.cgroups.files.setdefault(container.cgroup, {})
        if resources.memory_limit:
            files["memory.max"] = f"{resources.memory_limit}\n"
        if resources.cpu_shares:
            files["cpu.weight"] = f"{resources.cpu_shares}\n"

    async def exec(
        self,
        handler: Handler,
        container_id: str,
        argv: tuple[str, ...],
        *,
        timeout: float,
        limit: int,
    ) -> ExecOutput:
        await self.node.call("exec")
        container = self._known("exec in", handler, container_id)
        if container.state != "running":
            raise _refused("exec in", container_id, f"it is {container.state}")
        if argv == programs.HANG:
            await _hang(container, timeout)
        outcomes = {
            programs.SPEAK: (b"out\n", b"err\n", 0),
            programs.FAIL: (b"", b"", 5),
            programs.DIE: (b"", b"", 137),
            programs.FLOOD: ((b"0123456789\n" * 10_000)[: programs.FLOOD_BYTES], b"", 0),
        }
        if argv not in outcomes:
            raise _refused("exec in", container_id, f"executable file {argv[0]!r} not found")
        stdout, stderr, code = outcomes[argv]
        return ExecOutput(stdout=stdout[:limit], stderr=stderr[:limit], exit_code=code)

    def _known(self, verb: str, handler: Handler, container_id: str) -> FakeContainer:
        container = self.node.find(handler, container_id)
        if container is None:
            raise _refused(verb, container_id, "it does not exist")
        return container


async def _hang(container: FakeContainer, timeout: float) -> None:
    process = _process()
    container.extra.add(process)
    try:
        async with asyncio.timeout(timeout or None):
            await container.ended.wait()
    except TimeoutError as error:
        raise errors.DeadlineExceededError(f"cannot exec in {container.id}: hung") from error
    finally:
        container.extra.discard(process)


class FakeMonitor:
    """Implements `Monitor`."""

    def __init__(self, node: FakeNode) -> None:
        self.node = node

    def prepare(self, request: MonitorRequest) -> None:
        if request.log_path is not None:
            logfile.prepare(request.log_path)

    async def create(self, request: MonitorRequest) -> Monitored:
        await self.node.call("create")
        config = json.loads((request.bundle / "config.json").read_text())
        args = tuple(config["process"]["args"])
        if args == programs.MISSING:
            raise _refused("create", request.container_id, f"{args[0]!r} not found")
        cgroup = str(config.get("linux", {}).get("cgroupsPath", ""))
        self.node.cgroups.members.setdefault(cgroup, [])
        container = FakeContainer(args, request.handler, request.container_id, cgroup)
        self.node.containers[request.handler.root, request.container_id] = container
        self.node.requests[request.directory] = container
        return Monitored(process=container.first, monitor=container.monitor)

    async def find(self, request: MonitorRequest) -> Monitored | None:
        await self.node.call("find")
        container = self.node.requests.get(request.directory)
        if container is None or container.ended.is_set():
            return None
        return Monitored(process=container.first, monitor=container.monitor)

    async def wait(self, request: MonitorRequest, monitored: Monitored) -> Exit | None:
        container = self.node.requests.get(request.directory)
        if container is None or container.first != monitored.process:
            return None
        await container.ended.wait()
        return container.exit

    async def reopen_log(self, request: MonitorRequest) -> None:
        await self.node.call("reopen_log")
        container = self.node.requests[request.directory]
        if not container.monitored:
            raise errors.UnavailableError("cannot reopen log: the monitor is gone")
        if request.log_path is not None:
            fresh = request.log_path.with_name("fresh")
            fresh.touch(mode=0o640)
            fresh.rename(request.log_path)


class FakeProcesses:
    """Implements `Processes`; signals do to programs what they would do as PID 1."""

    def __init__(self, node: FakeNode) -> None:
        self.node = node
        self.sent: list[tuple[ProcessId, int]] = []

    def send(self, process: ProcessId, number: int) -> bool:
        container = self.node.by(lambda found: process in (found.first, found.monitor))
        if container is None:
            return False
        self.sent.append((process, number))
        if process == container.monitor:
            return self._to_monitor(container, number)
        if container.ended.is_set():
            return False
        if number == signal.SIGKILL and not self.node.immortal:
            container.end(137)
        elif number == signal.SIGTERM and container.args == programs.LOYAL:
            container.end(3)
        return True

    def where(self, process: ProcessId) -> str:
        return f"process {process.pid} in state D at nfs_wait"

    def killed_for_memory(self, process: ProcessId, cgroup: str) -> bool | None:
        return None if self.node.log is None else bool({process, cgroup} & self.node.log)

    def _to_monitor(self, container: FakeContainer, number: int) -> bool:
        alive = container.monitored
        if number == signal.SIGKILL:
            container.monitored = False
        return alive


def _refused(verb: str, id_: str, why: str) -> errors.FailedPreconditionError:
    return errors.FailedPreconditionError(f"cannot {verb} container {id_}: {why}")


def fake_stage(path: Path, node: FakeNode) -> Stage:
    """Return the stage on which contract suites run against these fakes."""
    return Stage(
        path=path,
        handler=Handler(name="fake", binary=Path("/fake"), root=path / "fake"),
        runtime=FakeRuntime(node),
        monitor=FakeMonitor(node),
        processes=FakeProcesses(node),
        cgroups=node.cgroups,
        rootfs=path / "rootfs",
    )


class FullRecords(MemoryRecords[Task]):
    """Records on a disk that may be full; deleting always works."""

    full = False

    def put(self, namespace: str, id_: str, record: Task) -> None:
        if self.full:
            raise errors.ResourceExhaustedError("cannot write: no space left on device")
        super().put(namespace, id_, record)
