"""This node's real parts for tests of the kernel: a runtime, conmon, cgroups."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.cgroups.detect import detect
from runtime.cgroups.v1 import CgroupsV1
from runtime.cgroups.v2 import CgroupsV2
from runtime.monitor.conmon import Conmon
from runtime.oci import Handler
from runtime.oci.cli import OciCommandLine
from runtime.oci.launch import Launcher
from runtime.spec import Json, Resources
from runtime.spec.resources import update_document
from runtime.tasks.processes import KernelProcesses
from tests.bundles import TOOLS, make_rootfs, tool
from tests.specs import HOST
from tests.stage import Stage

ENV = {"PATH": f"{TOOLS}:{os.environ['PATH']}"}


def encode(resources: Resources) -> dict[str, Json]:
    """Encode limits for this node's cgroup version."""
    host = replace(HOST, cgroup_version=detect().version, swap_accounting=False)
    return update_document(resources, host)


def make_stage(path: Path, runtime: str) -> Stage:
    """Make a stage for one runtime, or the same again; skip with the reason."""
    binary, conmon = tool(runtime), tool("conmon")
    if binary is None or conmon is None:
        pytest.skip(f"no {runtime} or no conmon here")
    layout = detect()
    if runtime == "crun" and layout.crun_obstacle:
        pytest.skip(layout.crun_obstacle)
    scratch = path / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    oci = OciCommandLine(Launcher(scratch, ENV), encode, env=ENV)
    return Stage(
        path=path,
        handler=Handler(name=runtime, binary=binary, root=path / runtime),
        runtime=oci,
        monitor=Conmon(conmon, oci, env=ENV),
        processes=KernelProcesses(),
        cgroups=CgroupsV2(layout.root) if layout.version == 2 else CgroupsV1(layout.root),
        rootfs=make_rootfs(path / "rootfs"),  # as it is if another daemon made it
    )
