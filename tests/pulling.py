"""A store of images over real content and snapshots, and a registry to pull from."""

import gzip
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from store.content.local import LocalContent
from store.database import Database
from store.digest import Digest, sha256
from store.images import Image, Unpacker, manifest
from store.images.connect import RegistryConnector
from store.images.pins import Pins
from store.images.platform import Platform
from store.images.pull import Stores
from store.images.registry import Retries
from store.images.store import Images, Setting
from store.images.transport import Patience
from store.metadata.records import SqliteRecords
from store.snapshots.overlay import OverlaySnapshotter
from tests.fakes.protection import NotedProtection
from tests.fakes.registry import FakeRegistry
from tests.fakes.unpacker import FakeUnpacker

NAMESPACE = "k8s.io"
LINUX = Platform(os="linux", architecture="amd64", variant="v1")
GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"


def tar(**files: str) -> bytes:
    """Pack files by name."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return packed.getvalue()


@dataclass
class Built:
    """An image as bytes; `layers` are uncompressed tar files, bottom first."""

    layers: Sequence[bytes] = (tar(a="a"), tar(b="b"))
    run: dict[str, object] = field(default_factory=dict)
    diff_ids: Sequence[str] | None = None

    def __post_init__(self) -> None:
        self.blobs = [gzip.compress(layer, mtime=0) for layer in self.layers]
        diff_ids = self.diff_ids or [sha256(layer) for layer in self.layers]
        rootfs = {"type": "layers", "diff_ids": diff_ids}
        config = {"os": "linux", "architecture": "amd64", "rootfs": rootfs, "config": self.run}
        self.config = json.dumps(config).encode()
        document = {
            "schemaVersion": 2,
            "mediaType": manifest.OCI_MANIFEST,
            "config": describe(self.config, manifest.OCI_CONFIG),
            "layers": [describe(blob, GZIP) for blob in self.blobs],
        }
        self.manifest = json.dumps(document).encode()
        entry = describe(self.manifest, manifest.OCI_MANIFEST)
        platform = {"os": "linux", "architecture": "amd64"}
        index = {"schemaVersion": 2, "manifests": [{**entry, "platform": platform}]}
        self.index = json.dumps(index).encode()

    @property
    def id(self) -> Digest:
        """The image id."""
        return sha256(self.config)

    @property
    def size(self) -> int:
        """What the image takes in a registry."""
        return len(self.config) + len(self.manifest) + sum(len(blob) for blob in self.blobs)

    def push(
        self, server: FakeRegistry, repository: str, tag: str, *, index: bool = True
    ) -> Digest:
        """Put it into a registry; return the digest that the tag leads to."""
        for blob in (self.config, *self.blobs):
            server.add_blob(blob)
        digest = server.add_manifest(repository, tag, manifest.OCI_MANIFEST, self.manifest)
        if index:
            digest = server.add_manifest(repository, tag, manifest.OCI_INDEX, self.index)
        return digest


def describe(data: bytes, media_type: str) -> dict[str, object]:
    """Return a descriptor."""
    return {"mediaType": media_type, "digest": sha256(data), "size": len(data)}


class Node:
    """Stores below a directory, and images over them; one `Images` at a time."""

    def __init__(self, root: Path, unpacker: Unpacker | None = None) -> None:
        self.root = root
        self.certs = root / "certs.d"
        self.fake_unpacker = FakeUnpacker()
        self.protection = NotedProtection()
        self.database = Database(root / "state.db")
        self.content = LocalContent(root / "content", self.database)
        self.snapshotter = OverlaySnapshotter(root / "snapshots", self.database)
        self.records = SqliteRecords(self.database, "image", Image)
        self.stores = Stores(
            content=self.content,
            snapshotter=self.snapshotter,
            unpacker=unpacker or self.fake_unpacker,
            protection=self.protection,
        )

    def images(
        self, *, pins: Sequence[str] = (), boot_id: str = "boot 1", downloads: int = 3
    ) -> Images:
        """Return images over the stores, to be entered."""
        connector = RegistryConnector(
            (self.certs,),
            patience=Patience(window=5, least=1),
            retries=Retries(attempts=2, mirror_attempts=1, first_wait=0.001, longest_wait=0.01),
        )
        setting = Setting(
            content_root=self.root / "content",
            platform=LINUX,
            boot_id=boot_id,
            pins=Pins(pins),
            namespaces=frozenset({NAMESPACE}),
            downloads=downloads,
        )
        return Images(self.stores, self.records, connector, setting)

    async def snapshots(self) -> dict[str, str]:
        """Return the kinds of all snapshots."""
        walk = self.snapshotter.walk(NAMESPACE)
        return {snapshot.key: snapshot.kind.value async for snapshot in walk}

    async def blobs(self) -> set[Digest]:
        """Return the digests of all blobs."""
        return {blob.digest async for blob in self.content.walk(NAMESPACE)}

    async def check_nothing_half_made(self) -> None:
        """Fail if an active snapshot, a lease or an unnamed write is left."""
        assert "active" not in (await self.snapshots()).values()
        assert self.protection.held == []

    def close(self) -> None:
        """Close the database."""
        self.database.close()
