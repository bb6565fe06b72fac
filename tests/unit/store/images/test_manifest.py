import hashlib
import json

import pytest

from store.content import Descriptor
from store.digest import Digest, sha256
from store.errors import (
    DataLossError,
    Error,
    InvalidArgumentError,
    NotFoundError,
    UnimplementedError,
)
from store.images import manifest as manifests
from store.images.manifest import Index, Manifest
from store.images.platform import Platform

A, B, C = (f"sha256:{letter * 64}" for letter in "abc")
GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
LINUX = Platform(os="linux", architecture="amd64")


def manifest(**changes: object) -> bytes:
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": manifests.OCI_MANIFEST,
        "config": {"mediaType": manifests.OCI_CONFIG, "digest": A, "size": 10},
        "layers": [{"mediaType": GZIP, "digest": B, "size": 20, "annotations": {"k": "v"}}],
    }
    return _encode(document | changes)


def index(**changes: object) -> bytes:
    document: dict[str, object] = {
        "schemaVersion": 2,
        "manifests": [
            {
                "mediaType": manifests.OCI_MANIFEST,
                "digest": C,
                "size": 30,
                "platform": {"os": "linux", "architecture": "arm", "variant": "v7"},
            },
            {"mediaType": manifests.OCI_MANIFEST, "digest": A, "size": 31},
        ],
    }
    return _encode(document | changes)


def config(**changes: object) -> bytes:
    document: dict[str, object] = {
        "os": "linux",
        "architecture": "amd64",
        "rootfs": {"type": "layers", "diff_ids": [B]},
        "config": {
            "User": "1000",
            "Env": ["A=1"],
            "Entrypoint": ["/e"],
            "Cmd": ["c"],
            "Volumes": {"/v": {}, "/a": None},
            "WorkingDir": "/w",
            "StopSignal": "SIGQUIT",
            "Labels": {
                "maintainer": "x",
                "containerd.io/gc.root": "1",
                "io.cri-containerd.image": "managed",
                "io.ferry.pin": "1",
                "containerd.iox": "kept",
            },
            "Healthcheck": {"Test": ["NONE"]},
        },
    }
    return _encode(document | changes)


def _encode(document: dict[str, object]) -> bytes:
    return json.dumps({k: v for k, v in document.items() if v is not ...}).encode()


def layer(media_type: str, digest: str = B, size: int = 1) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest, "size": size}


PARSED = Manifest(
    config=Descriptor(media_type=manifests.OCI_CONFIG, digest=Digest(A), size=10),
    layers=(Descriptor(media_type=GZIP, digest=Digest(B), size=20, annotations={"k": "v"}),),
)


def test_a_manifest_is_its_config_and_layers() -> None:
    assert manifests.parse(manifest(), manifests.OCI_MANIFEST) == PARSED


def test_an_index_is_a_choice_of_platforms() -> None:
    parsed = manifests.parse(index(), manifests.OCI_INDEX)
    assert isinstance(parsed, Index)
    assert [(p, d.digest) for p, d in parsed.entries] == [
        (Platform(os="linux", architecture="arm", variant="v7"), C),
        (None, A),
    ]


@pytest.mark.parametrize("media_type", sorted(manifests.LAYERS))
def test_docker_types_mean_the_same(media_type: str) -> None:
    data = manifest(
        mediaType=manifests.DOCKER_MANIFEST,
        config={"mediaType": manifests.DOCKER_CONFIG, "digest": A, "size": 1},
        layers=[layer(media_type)],
    )
    parsed = manifests.parse(data, manifests.DOCKER_MANIFEST)
    assert isinstance(parsed, Manifest)
    assert parsed.layers[0].media_type == media_type


@pytest.mark.parametrize(
    ("data", "media_type", "error", "reason"),
    [
        (manifest(manifests=[]), "manifest", DataLossError, "both an index and a manifest"),
        (manifest(Manifests=[]), "manifest", DataLossError, "both an index and a manifest"),
        (index(layers=[]), "index", DataLossError, "both an index and a manifest"),
        (index(config=None), "index", DataLossError, "both an index and a manifest"),
        (manifest(), "index", DataLossError, "calls itself"),
        (manifest(mediaType=...), "index", DataLossError, "manifests is missing"),
        (index(), "manifest", DataLossError, "config or layers is missing"),
        (manifest(layers=...), "manifest", DataLossError, "config or layers is missing"),
        (manifest(config=None), "manifest", DataLossError, "config or layers is missing"),
        (manifest(schemaVersion=1), "manifest", DataLossError, "schemaVersion is 1"),
        (manifest(layers=[layer(GZIP, size=-1)]), "manifest", DataLossError, "has size -1"),
        (manifest(layers=[layer(GZIP, "sha256:../x")]), "manifest", DataLossError, "digest"),
        (manifest(layers=[layer(GZIP, A.upper())]), "manifest", DataLossError, "digest"),
        (manifest(layers=[layer(GZIP, "md5:" + "a" * 32)]), "manifest", DataLossError, "digest"),
        (manifest(layers=[layer(GZIP)] * 501), "manifest", DataLossError, "more than 500"),
        (manifest(layers=[{"digest": B}]), "manifest", DataLossError, r"\$.layers\[0\]"),
        (b"<!doctype html>", "manifest", DataLossError, "malformed"),
        (
            manifest(config=layer("application/vnd.cncf.helm.config.v1+json")),
            "manifest",
            InvalidArgumentError,
            "helm",
        ),
        (
            manifest(layers=[layer("application/octet-stream")]),
            "manifest",
            InvalidArgumentError,
            "unknown type",
        ),
        (
            manifest(layers=[layer("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")]),
            "manifest",
            UnimplementedError,
            "foreign",
        ),
        (
            manifest(layers=[layer("application/vnd.oci.image.layer.nondistributable.v1.tar")]),
            "manifest",
            UnimplementedError,
            "foreign",
        ),
    ],
)
def test_what_is_ambiguous_or_cannot_be_applied_is_refused(
    data: bytes, media_type: str, error: type[Error], reason: str
) -> None:
    announced = manifests.OCI_INDEX if media_type == "index" else manifests.OCI_MANIFEST
    with pytest.raises(error, match=reason):
        manifests.parse(data, announced)


@pytest.mark.parametrize(
    ("media_type", "error"),
    [
        ("application/vnd.docker.distribution.manifest.v1+prettyjws", UnimplementedError),
        ("text/html", DataLossError),
        ("", DataLossError),
    ],
)
def test_other_media_types_are_refused(media_type: str, error: type[Error]) -> None:
    with pytest.raises(error, match="cannot read image manifest"):
        manifests.parse(b"{}", media_type)


def test_a_config_gives_what_a_container_is_made_from() -> None:
    parsed = manifests.parse_config(config(), PARSED)
    assert parsed.platform == LINUX
    assert parsed.diff_ids == (B,)
    run = parsed.run
    assert (run.entrypoint, run.cmd, run.env) == (("/e",), ("c",), ("A=1",))
    assert (run.user, run.working_dir, run.stop_signal) == ("1000", "/w", "SIGQUIT")
    assert run.volumes == ("/a", "/v")


def test_reserved_labels_are_stripped() -> None:
    run = manifests.parse_config(config(), PARSED).run
    assert run.labels == {"maintainer": "x", "containerd.iox": "kept"}


def test_a_config_may_say_nothing() -> None:
    run = manifests.parse_config(config(config=None), PARSED).run
    assert (run.entrypoint, run.env, run.user, dict(run.labels)) == ((), (), "", {})
    nulls = dict.fromkeys(("User", "Env", "Cmd", "Volumes", "WorkingDir", "Labels"))
    assert manifests.parse_config(config(config=nulls), PARSED).run == run


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (config(rootfs={"type": "layers", "diff_ids": []}), "0 diff_ids, its manifest 1 layers"),
        (config(rootfs={"type": "layers", "diff_ids": [A, B]}), "2 diff_ids"),
        (config(rootfs={"type": "other", "diff_ids": [A]}), "'other'"),
        (config(rootfs={"type": "layers", "diff_ids": ["x"]}), "digest"),
        (config(rootfs=...), "rootfs"),
        (config(config={"Env": ["A=\0"]}), "config.Env has a NUL"),
        (config(config={"Entrypoint": "sh"}), "Entrypoint"),
        (config(config={"Labels": {"a": 1}}), "Labels"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(DataLossError, match=f"image config: .*{reason}"):
        manifests.parse_config(data, PARSED)


def test_chain_ids_name_what_lies_below() -> None:
    a, b, c = (Digest(x) for x in (A, B, C))
    second = sha256(f"{A} {B}".encode())
    third = "sha256:" + hashlib.sha256(f"{second} {C}".encode()).hexdigest()
    assert manifests.chain_ids((a, b, c)) == (a, second, third)
    assert manifests.chain_ids(()) == ()


def test_only_another_system_is_refused() -> None:
    windows = manifests.parse_config(config(os="windows"), PARSED)
    with pytest.raises(NotFoundError, match=r"windows/amd64.*linux/amd64"):
        manifests.check_platform(windows, LINUX)
    manifests.check_platform(manifests.parse_config(config(architecture="arm64"), PARSED), LINUX)
    manifests.check_platform(manifests.parse_config(config(os=""), PARSED), LINUX)
