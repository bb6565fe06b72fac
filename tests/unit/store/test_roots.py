from store import references
from store.digest import sha256
from store.metadata import Container
from store.metadata.records import MemoryRecords
from store.references import Root
from store.roots import ContainerRoots

DIGEST = sha256(b"content")


def test_containers_keep_their_snapshots_and_what_labels_say() -> None:
    containers = MemoryRecords[Container]("container")
    containers.add("one", "bare", Container())
    containers.add("one", "default", Container(snapshot_key="a"))
    labels = {"containerd.io/gc.ref.content.x": DIGEST}
    containers.add("two", "full", Container(snapshot_key="b", snapshotter="native", labels=labels))
    assert list(ContainerRoots(containers, "overlayfs").roots()) == [
        Root(node=references.snapshot("one", "overlayfs", "a"), reason="container default"),
        Root(node=references.snapshot("two", "native", "b"), reason="container full"),
        Root(node=references.content("two", DIGEST), reason="container full"),
    ]
