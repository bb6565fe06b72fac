"""CRI's runtime service: what the kubelet runs pods with.

Each method checks its request, converts it, asks one Protocol of `runtime`, and converts the
answer. Errors are those of `store.errors`; the interceptor gives them their codes.
"""

from dataclasses import dataclass
from typing import Final

from cri.services.containers import ContainerCalls, container_records
from cri.services.events import EventCalls
from cri.services.later import LaterCalls
from cri.services.metrics import MetricCalls
from cri.services.node import Node, NodeCalls
from cri.services.sandboxes import SandboxCalls, sandbox_records
from cri.services.stats import StatsCalls
from cri.services.streaming import StreamingCalls
from cri.streaming import Urls
from runtime.network import Network
from runtime.pods import Containers, PodEvents, Sandboxes
from runtime.stats import Statistics

NAMESPACE: Final = "k8s.io"
"""The namespace of the model in which everything of CRI lives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backends:
    """What the service asks, and the facts of the node."""

    sandboxes: Sandboxes
    containers: Containers
    statistics: Statistics
    events: PodEvents
    network: Network
    node: Node
    urls: Urls


class RuntimeService(
    NodeCalls,
    SandboxCalls,
    ContainerCalls,
    StreamingCalls,
    StatsCalls,
    MetricCalls,
    EventCalls,
    LaterCalls,
):
    """All RPCs of `runtime.v1.RuntimeService`; register it with `registration.add_runtime`."""

    def __init__(self, backends: Backends) -> None:
        self._namespace = NAMESPACE
        self._sandboxes = backends.sandboxes
        self._containers = backends.containers
        self._statistics = backends.statistics
        self._events = backends.events
        self._network = backends.network
        self._node = backends.node
        self._urls = backends.urls
        self._sandbox_records = sandbox_records()
        self._container_records = container_records()
