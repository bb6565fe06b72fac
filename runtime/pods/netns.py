"""Where pods' networks are, for whoever connects into them."""

from pathlib import Path

from runtime.pods import Sandboxes, SandboxState
from runtime.pods.layout import Layout
from runtime.spec import NamespaceMode
from store.errors import FailedPreconditionError


class PodNamespaces:
    """Finds the network namespaces of ready pods."""

    def __init__(self, sandboxes: Sandboxes, layout: Layout) -> None:
        self._sandboxes = sandboxes
        self._layout = layout

    def network(self, namespace: str, id_: str) -> Path | None:
        """Return the pin of a pod's network namespace; None for one on the node's network.

        Raises:
            NotFoundError: there is no such pod.
            FailedPreconditionError: it is not ready.
        """
        sandbox = self._sandboxes.get(namespace, id_)
        if sandbox.state is not SandboxState.READY:
            raise FailedPreconditionError(
                f"cannot connect to pod {sandbox.id}: it is {sandbox.state.value}"
            )
        if sandbox.config.security.namespaces.network is NamespaceMode.NODE:
            return None
        return self._layout.sandbox(namespace, sandbox.id).namespace("net")
