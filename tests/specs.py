"""Spec requests for tests: a pod's container with everything usual, changed by keyword."""

from dataclasses import replace
from pathlib import Path

from runtime.spec import (
    HostFacts,
    NamespaceMode,
    NamespaceModes,
    SandboxPaths,
    Security,
    SpecRequest,
)
from runtime.spec.capabilities import KNOWN
from store.images import ImageConfig

HOST = HostFacts(
    cgroup_version=2,
    oom_score_floor=0,
    capabilities=KNOWN,
    recursive_readonly=True,
    swap_accounting=True,
    hugepage_sizes=("2MB", "1GB"),
)

IMAGE = ImageConfig(
    entrypoint=("/bin/serve",),
    cmd=("--port", "80"),
    env=("PATH=/app:/bin", "MODE=image"),
    working_dir="/srv",
)

OWN_PID = NamespaceModes(pid=NamespaceMode.CONTAINER)

REQUEST = SpecRequest(
    container_id="c0ffee",
    container_name="web",
    image=IMAGE,
    hostname="pod-1",
    security=Security(
        namespaces=OWN_PID,
        masked_paths=("/proc/kcore", "/sys/firmware"),
        readonly_paths=("/proc/sys",),
    ),
    sandbox=SandboxPaths(
        net=Path("/run/ferry/s/net"),
        ipc=Path("/run/ferry/s/ipc"),
        uts=Path("/run/ferry/s/uts"),
        shm=Path("/run/ferry/s/shm"),
        resolv_conf=Path("/run/ferry/s/resolv.conf"),
        hostname=Path("/run/ferry/s/hostname"),
    ),
    cgroups_path="/kubepods/pod1/c0ffee",
    rootfs=Path("/run/ferry/c/rootfs"),
    host=HOST,
)


def with_security(security: Security) -> SpecRequest:
    """Return the usual request with another security context, but its own PID namespace."""
    return replace(REQUEST, security=replace(security, namespaces=OWN_PID))
