from store import references
from store.content import Descriptor
from store.digest import sha256
from store.images import Image
from store.images.roots import ImageRoots
from store.metadata.records import MemoryRecords
from store.references import Root

TARGET, OTHER = sha256(b"target"), sha256(b"other")


def test_images_keep_their_targets_and_what_labels_say() -> None:
    images = MemoryRecords[Image]("image")
    target = Descriptor(media_type="application/vnd.oci.image.index.v1+json", digest=TARGET, size=6)
    labels = {"containerd.io/gc.ref.content.x": OTHER}
    images.add("one", "a:1", Image(name="a:1", target=target))
    images.add("two", "b:1", Image(name="b:1", target=target, labels=labels))
    assert list(ImageRoots(images).roots()) == [
        Root(node=references.content("one", TARGET), reason="image a:1"),
        Root(node=references.content("two", TARGET), reason="image b:1"),
        Root(node=references.content("two", OTHER), reason="image b:1"),
    ]
