"""Resource limits: CRI's LinuxContainerResources and ferry's Resources."""

from cri.api.runtime.v1 import api_pb2 as pb
from runtime.spec import HugepageLimit, Resources


def resources_from(message: pb.LinuxContainerResources) -> Resources:
    """Return the limits of a request; 0 and empty stay "not set"."""
    return Resources(
        cpu_period=message.cpu_period,
        cpu_quota=message.cpu_quota,
        cpu_shares=message.cpu_shares,
        memory_limit=message.memory_limit_in_bytes,
        memory_swap_limit=message.memory_swap_limit_in_bytes,
        oom_score_adj=message.oom_score_adj,
        cpuset_cpus=message.cpuset_cpus,
        cpuset_mems=message.cpuset_mems,
        hugepages=tuple(
            HugepageLimit(page_size=limit.page_size, limit=limit.limit)
            for limit in message.hugepage_limits
        ),
        unified=dict(message.unified),
    )


def resources_to(resources: Resources) -> pb.LinuxContainerResources:
    """Return the limits as a status reports them."""
    return pb.LinuxContainerResources(
        cpu_period=resources.cpu_period,
        cpu_quota=resources.cpu_quota,
        cpu_shares=resources.cpu_shares,
        memory_limit_in_bytes=resources.memory_limit,
        memory_swap_limit_in_bytes=resources.memory_swap_limit,
        oom_score_adj=resources.oom_score_adj,
        cpuset_cpus=resources.cpuset_cpus,
        cpuset_mems=resources.cpuset_mems,
        hugepage_limits=[
            pb.HugepageLimit(page_size=page.page_size, limit=page.limit)
            for page in resources.hugepages
        ],
        unified=resources.unified,
    )
