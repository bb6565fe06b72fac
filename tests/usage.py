"""A pod, its container, and what they use, for tests of what is told of them."""

from runtime.cgroups import Counters, Pressure, Stall
from runtime.pods import (
    ContainerConfig,
    ContainerMetadata,
    ContainerState,
    ContainerStatus,
    ImageRequest,
    PodContainer,
    Sandbox,
    SandboxConfig,
    SandboxMetadata,
    SandboxState,
)
from runtime.spec import ProcessUser, Resources
from runtime.stats import ContainerStats, LayerUsage, Sample

COUNTERS = Counters(
    timestamp=77,
    cpu_usage=10,
    cpu_pressure=Pressure(some=Stall(total=5, avg10=1.5, avg60=2, avg300=3), full=None),
    memory_usage=500,
    memory_working_set=400,
    memory_rss=300,
    memory_limit=1000,
    swap_usage=10,
    swap_limit=100,
    page_faults=7,
    major_page_faults=1,
    io_pressure=Pressure(full=Stall(total=6, avg10=0, avg60=0, avg300=0)),
    pids=3,
)
STATUS = ContainerStatus(
    id="c1",
    container=PodContainer(
        sandbox_id="s1",
        config=ContainerConfig(
            metadata=ContainerMetadata(name="main", attempt=2),
            image=ImageRequest(image="i"),
            labels={"l": "1"},
            annotations={"a": "2"},
        ),
        image_id="i",
        image_ref="r",
        image_name="n",
        log_path="",
        stop_signal="",
        user=ProcessUser(),
        resources=Resources(),
    ),
    state=ContainerState.RUNNING,
    created_at=1,
)
SANDBOX = Sandbox(
    namespace="k8s.io",
    id="s1",
    config=SandboxConfig(
        metadata=SandboxMetadata(name="web", uid="u", namespace="ns", attempt=1),
        labels={"app": "web"},
        annotations={"n": "v"},
    ),
    handler="crun",
    state=SandboxState.READY,
    created_at=1,
)
CONTAINER = ContainerStats(
    status=STATUS,
    sample=Sample(counters=COUNTERS, nano_cores=5),
    layer=LayerUsage(timestamp=66, bytes=4096, inodes=2),
)
