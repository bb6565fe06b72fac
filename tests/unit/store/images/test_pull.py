from store.content import Descriptor
from store.digest import sha256
from store.images import details, manifest
from store.images.pull import gc_labels
from tests.pulling import LINUX, Built


async def test_every_document_names_what_it_keeps() -> None:
    built = Built()
    documents = {sha256(data): data for data in (built.index, built.manifest, built.config)}

    async def read(descriptor: Descriptor) -> bytes:
        return documents[descriptor.digest]

    index = Descriptor(media_type=manifest.OCI_INDEX, digest=sha256(built.index), size=0)
    found = await details.find(index, LINUX, read)
    assert dict(gc_labels(found, "overlayfs")) == {
        sha256(built.index): {"containerd.io/gc.ref.content.m.0": sha256(built.manifest)},
        sha256(built.manifest): {
            "containerd.io/gc.ref.content.config": built.id,
            "containerd.io/gc.ref.content.l.0": sha256(built.blobs[0]),
            "containerd.io/gc.ref.content.l.1": sha256(built.blobs[1]),
        },
        built.id: {"containerd.io/gc.ref.snapshot.overlayfs": found.chain_id},
    }


async def test_an_image_without_layers_keeps_no_snapshot() -> None:
    built = Built(layers=[])
    documents = {sha256(data): data for data in (built.manifest, built.config)}

    async def read(descriptor: Descriptor) -> bytes:
        return documents[descriptor.digest]

    target = Descriptor(media_type=manifest.OCI_MANIFEST, digest=sha256(built.manifest), size=0)
    labels = dict(gc_labels(await details.find(target, LINUX, read), "overlayfs"))
    assert labels == {sha256(built.manifest): {"containerd.io/gc.ref.content.config": built.id}}
