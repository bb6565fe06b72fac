"""OCI images, from files to a layout on disk: the same input gives the same digests."""

import gzip
import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import zstandard

from e2e.packages import Packages

Json = Mapping[str, object]

ARCHITECTURE: Final = {"x86_64": "amd64", "aarch64": "arm64"}.get(
    platform.machine(), platform.machine()
)
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

INDEX_TYPE: Final = "application/vnd.oci.image.index.v1+json"


def digest(data: bytes) -> str:
    """Return the name of `data`."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE: Final = "application/vnd.oci.image.config.v1+json"
LAYER_TYPES: Final = {
    "": "application/vnd.oci.image.layer.v1.tar",
    "gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
}
NAME_KEY: Final = "org.opencontainers.image.ref.name"
FORMAT_KEY: Final = "ferry.test/push-format"

Member = tuple[tarfile.TarInfo, bytes]


def _packing_order(member: Member) -> tuple[bool, str]:
    info, _ = member
    return info.islnk(), info.name


class Tree:
    """Files of a layer; the folders above each come by themselves."""

    def __init__(self) -> None:
        self._members: dict[str, Member] = {}

    def folder(self, path: str, mode: int = 0o755) -> None:
        """Add an empty folder."""
        self.add(path, tarfile.DIRTYPE, mode=mode)

    def file(self, path: str, content: bytes | str, mode: int = 0o644) -> tarfile.TarInfo:
        """Add a file that belongs to root; return its header, to change what it says."""
        data = content.encode() if isinstance(content, str) else content
        return self.add(path, tarfile.REGTYPE, mode=mode, data=data)

    def program(self, path: str, packages: Packages, name: str) -> None:
        """Add the program `name` and its libraries."""
        source = packages.program(name)
        self.file(path, source.read_bytes(), 0o755)
        self.libraries(packages, source)

    def libraries(self, packages: Packages, program: Path) -> None:
        """Add what `program` loads."""
        for place, library in packages.libraries(program).items():
            self.file(place, library.read_bytes(), 0o755)

    def hard_link(self, path: str, target: str) -> None:
        """Give the file `target` a second name."""
        self.add(path, tarfile.LNKTYPE, target=target)

    def symlink(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        self.add(path, tarfile.SYMTYPE, target=target)

    def add(
        self, path: str, kind: bytes, *, mode: int = 0o777, data: bytes = b"", target: str = ""
    ) -> tarfile.TarInfo:
        """Add an entry of any kind; return its header, to change what it says."""
        parent = str(Path(path).parent)
        if parent != "." and parent not in self._members:
            self.folder(parent)
        info = tarfile.TarInfo(path)
        info.type, info.mode, info.size, info.linkname = kind, mode, len(data), target
        self._members[path] = (info, data)
        return info

    def tar(self) -> bytes:
        """Pack the files: folders before their content, hard links after their targets."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for info, data in sorted(self._members.values(), key=_packing_order):
                archive.addfile(info, io.BytesIO(data))
        return packed.getvalue()


def compress(tar: bytes, compression: str) -> bytes:
    """Compress `tar`: "gzip", "zstd", or "" for not at all."""
    match compression:
        case "":
            return tar
        case "gzip":
            return gzip.compress(tar, compresslevel=4, mtime=0)
        case "zstd":
            return zstandard.ZstdCompressor(level=3).compress(tar)
        case _:
            raise ValueError(f"cannot compress: unknown compression {compression!r}")


@dataclass(frozen=True, slots=True)
class Layer:
    """A packed tree: the digest of its plain form, and its bytes as `compression` has them."""

    diff_id: str
    blob: bytes
    compression: str = "gzip"

    @classmethod
    def of(cls, tree: Tree, compression: str = "gzip") -> Self:
        """Pack `tree`."""
        return cls.of_tar(tree.tar(), compression)

    @classmethod
    def of_tar(cls, tar: bytes, compression: str = "gzip") -> Self:
        """Take a tree that is packed already."""
        return cls(digest(tar), compress(tar, compression), compression)

    @classmethod
    def of_file(cls, path: str, content: bytes | str, mode: int = 0o644) -> Self:
        """Pack a single file."""
        tree = Tree()
        tree.file(path, content, mode)
        return cls.of(tree)


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """Layers, what runs in them, and the references under which a registry knows them.

    `config` are more fields of the configuration's `config` object. The manifest stands behind an
    index with one platform, as images for many have it, unless `indexed` says otherwise; with
    `docker` a registry gets the image in Docker's schema 2.
    """

    references: Sequence[str]
    layers: Sequence[Layer]
    command: Sequence[str] = ("sh",)
    user: str = ""
    config: Json = field(default_factory=dict)
    indexed: bool = True
    docker: bool = False

    def configuration(self) -> Json:
        """Return the image configuration."""
        return {
            "created": "1970-01-01T00:00:00Z",
            "architecture": ARCHITECTURE,
            "os": "linux",
            "config": {
                "User": self.user,
                "Env": [f"PATH={PATH}"],
                "Cmd": list(self.command),
                **self.config,
            },
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in self.layers]},
        }


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes and what they are."""

    media_type: str
    data: bytes

    @property
    def descriptor(self) -> dict[str, object]:
        """What a document says to refer to them."""
        return {"mediaType": self.media_type, "digest": digest(self.data), "size": len(self.data)}


@dataclass(frozen=True, slots=True)
class Content:
    """Blobs by digest, and the images by reference."""

    blobs: dict[str, Blob] = field(default_factory=dict)
    tagged: dict[str, Blob] = field(default_factory=dict)
    docker: set[str] = field(default_factory=set)

    def add(self, image: Image) -> None:
        """Store `image` under each of its references."""
        layers = [
            self._store(Blob(LAYER_TYPES[layer.compression], layer.blob)) for layer in image.layers
        ]
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": self._document(CONFIG_TYPE, image.configuration()).descriptor,
            "layers": [layer.descriptor for layer in layers],
        }
        top = self._document(MANIFEST_TYPE, document)
        if image.indexed:
            platform_of = {"architecture": ARCHITECTURE, "os": "linux"}
            top = self._store(_index([{**top.descriptor, "platform": platform_of}]))
        self.tagged.update(dict.fromkeys(image.references, top))
        if image.docker:
            self.docker.update(image.references)

    def write(self, folder: Path) -> None:
        """Write an OCI image layout whose index names each image by its full reference."""
        blobs = folder / "blobs" / "sha256"
        blobs.mkdir(parents=True, exist_ok=True)
        for name, blob in self.blobs.items():
            (blobs / name.removeprefix("sha256:")).write_bytes(blob.data)
        named = [
            {**blob.descriptor, "annotations": self._annotations(reference)}
            for reference, blob in self.tagged.items()
        ]
        (folder / "index.json").write_bytes(_index(named).data)
        (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}\n')

    def _annotations(self, reference: str) -> Json:
        return {NAME_KEY: reference, FORMAT_KEY: "v2s2" if reference in self.docker else "oci"}

    def _document(self, media_type: str, document: Json) -> Blob:
        return self._store(Blob(media_type, json.dumps(document, indent=1).encode()))

    def _store(self, blob: Blob) -> Blob:
        return self.blobs.setdefault(digest(blob.data), blob)


def _index(manifests: Sequence[Json]) -> Blob:
    document = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests}
    return Blob(INDEX_TYPE, json.dumps(document, indent=1).encode())
