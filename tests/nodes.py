"""A node's real parts for tests of the kernel: a runtime, conmon, cgroups, records."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from runtime.cgroups import Cgroups
from runtime.cgroups.detect import detect
from runtime.cgroups.v1 import CgroupsV1
from runtime.cgroups.v2 import CgroupsV2
from runtime.monitor.conmon import Conmon
from runtime.oci import Handler
from runtime.oci.cli import OciCommandLine
from runtime.operations import Operations
from runtime.spec import Json, Resources
from runtime.spec.resources import update_document
from runtime.tasks import Task, TaskRequest
from runtime.tasks.keeper import Parts
from runtime.tasks.service import TaskService
from store.metadata import Records
from store.metadata.records import MemoryRecords
from tests.bundles import TOOLS, Program, make_bundle, make_rootfs, tool
from tests.specs import HOST

ENV = {"PATH": f"{TOOLS}:{os.environ['PATH']}"}


def encode(resources: Resources) -> dict[str, Json]:
    return update_document(resources, replace(HOST, cgroup_version=detect().version))


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One directory with all that a daemon would have."""

    path: Path
    handler: Handler
    cgroups: Cgroups
    runtime: OciCommandLine
    monitor: Conmon
    rootfs: Path

    def parts(self) -> Parts:
        return Parts(
            monitor=self.monitor,
            runtime=self.runtime,
            cgroups=self.cgroups,
            handlers={self.handler.name: self.handler},
            root=self.path / "tasks",
            operations=Operations(),
        )

    def service(self, records: Records[Task] | None = None) -> TaskService:
        return TaskService(MemoryRecords("task") if records is None else records, self.parts())

    def request(self, id_: str, args: tuple[str, ...]) -> TaskRequest:
        """Make a bundle that runs `args` and ask for a task of it."""
        return self.program(id_, Program(args=args))

    def program(self, id_: str, program: Program) -> TaskRequest:
        """Make a bundle and ask for a task of it."""
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


def make_node(path: Path, runtime: str) -> Node:
    """Make a node for one runtime, or skip with the reason."""
    binary, conmon = tool(runtime), tool("conmon")
    if binary is None or conmon is None:
        pytest.skip(f"no {runtime} or no conmon here")
    layout = detect()
    if runtime == "crun" and layout.crun_obstacle:
        pytest.skip(layout.crun_obstacle)
    scratch = path / "scratch"
    scratch.mkdir(parents=True)
    oci = OciCommandLine(scratch, encode, env=ENV)
    return Node(
        path=path,
        handler=Handler(name=runtime, binary=binary, root=path / runtime),
        cgroups=CgroupsV2(layout.root) if layout.version == 2 else CgroupsV1(layout.root),
        runtime=oci,
        monitor=Conmon(conmon, oci, env=ENV),
        rootfs=make_rootfs(path / "rootfs"),
    )
