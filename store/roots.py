"""What containers need to be kept."""

from collections.abc import Iterator

from store import references
from store.metadata import Container, Records
from store.references import Root


class ContainerRoots:
    """The snapshots of containers, and what their labels refer to.

    Args:
        containers: all of them.
        snapshotter: whose snapshot it is if a container does not say.
    """

    def __init__(self, containers: Records[Container], snapshotter: str) -> None:
        self._containers = containers
        self._snapshotter = snapshotter

    def roots(self) -> Iterator[Root]:
        """Yield what every container keeps."""
        for namespace, id_, container in self._containers.walk():
            reason = f"container {id_}"
            if container.snapshot_key:
                snapshotter = container.snapshotter or self._snapshotter
                node = references.snapshot(namespace, snapshotter, container.snapshot_key)
                yield Root(node=node, reason=reason)
            for node in references.labelled(namespace, container.labels):
                yield Root(node=node, reason=reason)
