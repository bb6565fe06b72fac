"""Manifests, indexes and configs: bytes in, checked values out.

OCI image specification (manifest.md, image-index.md, config.md) and Docker's schema 2. One
document has one meaning: something with both `manifests` and `layers`, or whose content is not
what its media type says, is refused (GHSA-5j5w-g665-5m35), and so is every layer that cannot be
applied, before anything is fetched.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

import msgspec

from store import digest as digests
from store.content import Descriptor
from store.digest import Digest
from store.errors import (
    InvalidArgumentError,
    NotFoundError,
    UnimplementedError,
)
from store.images import ImageConfig, documents
from store.images.documents import malformed
from store.images.platform import Platform

OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
DOCKER_INDEX: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"

INDEXES: Final = frozenset({OCI_INDEX, DOCKER_INDEX})
MANIFESTS: Final = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
CONFIGS: Final = frozenset({OCI_CONFIG, DOCKER_CONFIG})
LAYERS: Final = frozenset(
    {
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.oci.image.layer.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
    }
)
SCHEMA_1: Final = "application/vnd.docker.distribution.manifest.v1+"
LAYERS_LIMIT: Final = 500
"""An overlay mount takes at most this many lower directories (fs/overlayfs, OVL_MAX_STACK)."""

RESERVED_LABELS: Final = ("containerd.io/", "io.cri-containerd", "io.ferry")
"""Prefixes by which runtimes mark their own things; content must not set them (hostile.md A12)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One platform's image."""

    config: Descriptor
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """One image for several platforms; an entry may be an index again."""

    entries: tuple[tuple[Platform | None, Descriptor], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What an image's config says about running it and about its layers, bottom first."""

    platform: Platform
    diff_ids: tuple[Digest, ...]
    run: ImageConfig


class _Platform(msgspec.Struct, rename={"os_version": "os.version"}):
    os: str = ""
    architecture: str = ""
    variant: str = ""
    os_version: str = ""


class _Descriptor(msgspec.Struct, rename="camel"):
    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] | None = None
    platform: _Platform | None = None


class _Document(msgspec.Struct, rename="camel"):
    schema_version: int
    media_type: str = ""
    config: _Descriptor | None = None
    layers: list[_Descriptor] | None = None
    manifests: list[_Descriptor] | None = None


class _Run(msgspec.Struct, rename="pascal"):
    user: str | None = None
    env: list[str] | None = None
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    volumes: dict[str, object] | None = None
    working_dir: str | None = None
    labels: dict[str, str] | None = None
    stop_signal: str | None = None


class _RootFS(msgspec.Struct):
    type: str
    diff_ids: list[str] | None = None


class _Config(msgspec.Struct):
    rootfs: _RootFS
    os: str = ""
    architecture: str = ""
    variant: str = ""
    config: _Run | None = None


def parse(data: bytes, media_type: str) -> Manifest | Index:
    """Return what the document says, read as the `media_type` it was announced with.

    Raises:
        DataLossError: it is malformed, ambiguous, or of another type.
        InvalidArgumentError: it is no image, or an image made of something else than layers.
        UnimplementedError: a schema 1 manifest, or a layer that registries do not distribute.
    """
    check_media_type(media_type)
    what = "image index" if media_type in INDEXES else "image manifest"
    document = documents.decode(data, _Document, what)
    _check_kind(document, data, media_type, what)
    if media_type in INDEXES:
        return Index(entries=tuple(_entry(d, what) for d in document.manifests or ()))
    return _manifest(document, what)


def check_media_type(media_type: str) -> None:
    """Refuse what is neither a manifest nor an index, with the reason."""
    if media_type.startswith(SCHEMA_1):
        raise UnimplementedError(
            "cannot read image manifest: Docker schema 1 is not supported; push the image again"
        )
    if media_type not in INDEXES | MANIFESTS:
        raise malformed("image manifest", f"{media_type[:100]!r} is not a manifest's media type")


def parse_config(data: bytes, manifest: Manifest) -> Config:
    """Return the config of `manifest`, without labels that are reserved to runtimes.

    Raises:
        DataLossError: it is malformed, or does not list one diff id for each layer.
    """
    what = "image config"
    config = documents.decode(data, _Config, what)
    if config.rootfs.type != "layers":
        raise malformed(what, f"rootfs.type is {config.rootfs.type[:100]!r}, not 'layers'")
    diff_ids = tuple(_digest(text, what) for text in config.rootfs.diff_ids or ())
    if len(diff_ids) != len(manifest.layers):
        raise malformed(
            what, f"it has {len(diff_ids)} diff_ids, its manifest {len(manifest.layers)} layers"
        )
    platform = Platform(os=config.os, architecture=config.architecture, variant=config.variant)
    return Config(platform=platform, diff_ids=diff_ids, run=_run(config.config or _Run(), what))


def chain_ids(diff_ids: tuple[Digest, ...]) -> tuple[Digest, ...]:
    """Return the key of each layer's snapshot, bottom first (config.md#layer-chainid)."""
    chain: list[Digest] = []
    for diff_id in diff_ids:
        below = chain[-1] if chain else ""
        text = f"{below} {diff_id}".encode()
        chain.append(Digest("sha256:" + hashlib.sha256(text).hexdigest()) if below else diff_id)
    return tuple(chain)


def check_platform(config: Config, wanted: Platform) -> None:
    """Refuse an image of another operating system.

    Another processor is not refused: emulators (binfmt_misc) run such images.
    """
    if config.platform.os not in {"", wanted.os}:
        raise NotFoundError(
            f"cannot use the image here: it is for {config.platform}, this node is {wanted}"
        )


def _check_kind(document: _Document, data: bytes, media_type: str, what: str) -> None:
    if document.schema_version != 2:
        raise malformed(what, f"schemaVersion is {document.schema_version}, not 2")
    if document.media_type and document.media_type != media_type:
        said = document.media_type[:100]
        raise malformed(what, f"it calls itself {said!r}, but was announced as {media_type!r}")
    # Other readers ignore case: what they would take for a field must not hide here.
    fields = {name.lower() for name in msgspec.json.decode(data, type=dict[str, msgspec.Raw])}
    if "manifests" in fields and fields & {"layers", "config", "fslayers"}:
        raise malformed(what, "it is both an index and a manifest")
    if media_type in INDEXES and document.manifests is None:
        raise malformed(what, "manifests is missing")
    if media_type in MANIFESTS and (document.config is None or document.layers is None):
        raise malformed(what, "config or layers is missing")


def _manifest(document: _Document, what: str) -> Manifest:
    config = _descriptor(document.config or _Descriptor("", "", 0), what)
    layers = tuple(_descriptor(layer, what) for layer in document.layers or ())
    if config.media_type not in CONFIGS:
        raise InvalidArgumentError(
            f"cannot use this as an image: its config is {config.media_type[:100]!r}"
        )
    if len(layers) > LAYERS_LIMIT:
        raise malformed(what, f"{len(layers)} layers are more than {LAYERS_LIMIT}")
    for layer in layers:
        _check_layer(layer)
    return Manifest(config=config, layers=layers)


def _check_layer(layer: Descriptor) -> None:
    kind = layer.media_type
    if kind in LAYERS:
        return
    if "foreign" in kind or "nondistributable" in kind:
        raise UnimplementedError(
            f"cannot use layer {layer.digest}: it is foreign ({kind}), registries do not have it"
        )
    raise InvalidArgumentError(f"cannot use layer {layer.digest}: unknown type {kind[:100]!r}")


def _entry(raw: _Descriptor, what: str) -> tuple[Platform | None, Descriptor]:
    said = raw.platform
    if said is None:
        return None, _descriptor(raw, what)
    platform = Platform(
        os=said.os,
        architecture=said.architecture,
        variant=said.variant,
        os_version=said.os_version,
    )
    return platform, _descriptor(raw, what)


def _descriptor(raw: _Descriptor, what: str) -> Descriptor:
    if raw.size < 0:
        raise malformed(what, f"{raw.digest[:100]!r} has size {raw.size}")
    return Descriptor(
        media_type=raw.media_type,
        digest=_digest(raw.digest, what),
        size=raw.size,
        annotations=raw.annotations or {},
    )


def _digest(text: str, what: str) -> Digest:
    try:
        return digests.parse(text)
    except InvalidArgumentError as error:
        raise malformed(what, str(error)) from error


def _run(run: _Run, what: str) -> ImageConfig:
    labels = {
        key: value
        for key, value in (run.labels or {}).items()
        if not key.startswith(RESERVED_LABELS)
    }
    result = ImageConfig(
        entrypoint=tuple(run.entrypoint or ()),
        cmd=tuple(run.cmd or ()),
        env=tuple(run.env or ()),
        working_dir=run.working_dir or "",
        user=run.user or "",
        volumes=tuple(sorted(run.volumes or ())),
        stop_signal=run.stop_signal or "",
        labels=labels,
    )
    _refuse_nul(result, what)
    return result


def _refuse_nul(run: ImageConfig, what: str) -> None:
    """Refuse text that no program argument, variable or path can hold."""
    fields = {
        "Entrypoint": run.entrypoint,
        "Cmd": run.cmd,
        "Env": run.env,
        "WorkingDir": (run.working_dir,),
        "User": (run.user,),
        "Volumes": run.volumes,
        "StopSignal": (run.stop_signal,),
    }
    for name, values in fields.items():
        if any("\0" in value for value in values):
            raise malformed(what, f"config.{name} has a NUL character")
