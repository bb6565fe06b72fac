"""CRI's runtime service: what the kubelet runs pods with.

Each method checks its request, converts it, asks one Protocol of `runtime`, and converts the
answer. Errors are those of `store.errors`; the interceptor gives them their codes.
"""

from typing import Final

from cri.services.containers import ContainerCalls, container_records
from cri.services.later import LaterCalls
from cri.services.node import Node, NodeCalls
from cri.services.sandboxes import SandboxCalls, sandbox_records
from runtime.network import Network
from runtime.pods import Containers, Sandboxes

NAMESPACE: Final = "k8s.io"
"""The namespace of the model in which everything of CRI lives."""


class RuntimeService(NodeCalls, SandboxCalls, ContainerCalls, LaterCalls):
    """All RPCs of `runtime.v1.RuntimeService`; register it with `registration.add_runtime`."""

    def __init__(
        self, sandboxes: Sandboxes, containers: Containers, network: Network, node: Node
    ) -> None:
        self._namespace = NAMESPACE
        self._sandboxes = sandboxes
        self._containers = containers
        self._network = network
        self._node = node
        self._sandbox_records = sandbox_records()
        self._container_records = container_records()
