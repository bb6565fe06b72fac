import json
from pathlib import Path

import pytest

from runtime.oci.features import parse, probe, version
from store.errors import FailedPreconditionError

CRUN = {
    "ociVersionMin": "1.0.0",
    "mountOptions": ["ro", "rro", "idmap"],
    "linux": {
        "namespaces": ["cgroup", "user"],
        "seccomp": {"enabled": True, "actions": ["SCMP_ACT_ALLOW"]},
        "apparmor": {"enabled": True},
        "selinux": {"enabled": False},
        "mountExtensions": {"idmap": {"enabled": True}},
    },
    "annotations": {
        "org.opencontainers.runc.checkpoint.enabled": "true",
        "run.oci.crun.version": "1.28",
    },
}


def test_a_document_is_read() -> None:
    features = parse(json.dumps(CRUN).encode())
    assert features.version == "1.28"
    assert features.recursive_readonly
    assert features.idmap_mounts
    assert features.user_namespaces
    assert features.seccomp
    assert features.apparmor
    assert not features.selinux
    assert features.checkpoint
    assert features.annotations["run.oci.crun.version"] == "1.28"


def test_what_is_not_said_is_not_there() -> None:
    features = parse(b'{"annotations": {"org.opencontainers.runc.version": "1.3.6"}}')
    assert features.version == "1.3.6"
    assert not any(
        (
            features.recursive_readonly,
            features.idmap_mounts,
            features.user_namespaces,
            features.seccomp,
            features.checkpoint,
        )
    )


@pytest.mark.parametrize("text", [b"", b"[]", b'{"linux": 1}', b'{"mountOptions": [1]}', b"\xff"])
def test_nonsense_is_refused(text: bytes) -> None:
    with pytest.raises(FailedPreconditionError, match="features"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (b"crun version 1.28\ncommit: abc", "1.28"),
        (b"runc version 1.3.6+ds1", "1.3.6+ds1"),
        (b"runsc\n", "runsc"),
        (b"", ""),
    ],
)
def test_a_version_is_found(text: bytes, number: str) -> None:
    assert version(text) == number


def program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


async def test_a_runtime_that_knows_features_is_asked_once(tmp_path: Path) -> None:
    (tmp_path / "out").write_text(json.dumps(CRUN))
    runtime = program(tmp_path / "crun", f"echo $1 >>{tmp_path}/calls; cat {tmp_path}/out")
    assert (await probe(runtime)).version == "1.28"
    assert (tmp_path / "calls").read_text() == "features\n"


async def test_one_that_does_not_is_asked_for_its_version(tmp_path: Path) -> None:
    runtime = program(tmp_path / "old", '[ $1 = --version ] && echo "old version 0.1"')
    features = await probe(runtime)
    assert features.version == "0.1"
    assert not features.seccomp


async def test_one_that_only_fails_is_quoted(tmp_path: Path) -> None:
    runtime = program(tmp_path / "bad", "echo 'no libseccomp' >&2; exit 1")
    with pytest.raises(FailedPreconditionError, match="no libseccomp"):
        await probe(runtime)
