import os
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.cdi.document import check_name, parse, read
from store.errors import Error, InvalidArgumentError

FULL = b"""
cdiVersion: "0.7.0"
kind: "vendor.com/gpu.v2"
annotations: {made-by: a test}
containerEdits:
  env: [DRIVER=1]
devices:
- name: "0"
  annotations: {uuid: x}
  containerEdits:
    env: ["GPU=0", "EMPTY="]
    deviceNodes:
    - path: /dev/gpu0
      hostPath: /dev/null
      permissions: rw
      fileMode: 438
      uid: 0
    - {path: /dev/gpuctl, type: c, major: 10, minor: 200, permissions: none}
    mounts:
    - {hostPath: /lib/driver, containerPath: /lib/driver, options: [ro, bind]}
    hooks:
    - {hookName: createContainer, path: /bin/hook, args: [hook, x], env: [A=b], timeout: 3}
    additionalGids: [44, 0]
    intelRdt: {closID: gold, l3CacheSchema: "L3:0=f", enableCMT: true}
- name: all
"""
SMALL = '{"cdiVersion": "0.5.0", "kind": "v.com/c", "devices": [%s]%s}'
DEVICE = '{"name": "d", "containerEdits": {%s}}'


def small(edits: str = '"env": ["A=b"]', more: str = "") -> bytes:
    return (SMALL % (DEVICE % edits, more)).encode()


def test_yaml_says_everything() -> None:
    document = parse(FULL, json=False)
    assert (document.kind, [device.name for device in document.devices]) == (
        "vendor.com/gpu.v2",
        ["0", "all"],
    )
    edits = document.devices[0].container_edits
    assert document.container_edits.env == ("DRIVER=1",)
    assert edits.device_nodes[0].file_mode == 0o666
    assert edits.device_nodes[1].permissions == "none"
    assert edits.mounts[0].options == ("ro", "bind")
    assert (edits.hooks[0].hook_name, edits.hooks[0].timeout) == ("createContainer", 3)
    assert edits.additional_gids == (44, 0)
    assert edits.intel_rdt is not None
    assert (edits.intel_rdt.clos_id, edits.intel_rdt.enable_cmt) == ("gold", True)


def test_json_says_the_same() -> None:
    assert parse(small(), json=True) == parse(small(), json=False)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (b"", "nput data was truncated"),
        (b"[]", "Expected `object`"),
        (b"\xff\xfe{", "."),
        (b"[" * 100_000, "."),
        (small(more=', "unknown": 1'), "unknown field `unknown`"),
        (small('"unknown": 1'), "unknown field `unknown`"),
        (small().replace(b"0.5.0", b"0.2.0"), "cdiVersion 0.2.0 is not supported"),
        (small().replace(b"0.5.0", b"2.0.0"), "cdiVersion 2.0.0 is not supported"),
        (small().replace(b"0.5.0", b"new"), "cdiVersion 'new' is no version"),
        (small().replace(b"v.com/c", b"v.com"), "kind 'v.com'"),
        (small().replace(b"v.com/c", b"v.com/../c"), "kind 'v.com/../c'"),
        (small().replace(b'"d"', b'"a/b"'), r"devices\[0\].name 'a/b'"),
        ((SMALL % ("", "")).encode(), "devices is empty"),
        ((SMALL % (f"{DEVICE % ''}, {DEVICE % ''}", "")).encode(), "'d' is there twice"),
        (small('"env": ["=b"]'), r"env\[0\] '=b'"),
        (small('"env": ["A=\\u0000"]'), r"env\[0\]"),
        (small('"deviceNodes": [{"path": "dev/x"}]'), r"deviceNodes\[0\].path 'dev/x'"),
        (small('"deviceNodes": [{"path": "/x", "hostPath": "y"}]'), "hostPath 'y'"),
        (small('"deviceNodes": [{"path": "/x", "type": "s"}]'), "type 's'"),
        (small('"deviceNodes": [{"path": "/x", "permissions": "rx"}]'), "permissions 'rx'"),
        (small('"deviceNodes": [{"path": "/x", "type": "c", "major": -1}]'), "-1:0"),
        (small('"deviceNodes": [{"path": "/x", "uid": -1}]'), "uid -1 is no id"),
        (small('"mounts": [{"hostPath": "x", "containerPath": "/y"}]'), "hostPath 'x'"),
        (small('"mounts": [{"hostPath": "/x", "containerPath": "y"}]'), "containerPath 'y'"),
        (small('"hooks": [{"hookName": "boot", "path": "/x"}]'), "hookName 'boot'"),
        (small('"hooks": [{"hookName": "poststop", "path": "x"}]'), "path 'x'"),
        (small('"hooks": [{"hookName": "poststop", "path": "/x", "timeout": 0}]'), "timeout 0"),
        (small('"hooks": [{"hookName": "poststop", "path": "/x", "env": ["A"]}]'), "env"),
        (small('"additionalGids": [-5]'), "additionalGids.*-5 is no id"),
        (small('"netDevices": [{"hostInterfaceName": "e", "name": "f"}]'), "netDevices"),
        (b'{"cdiVersion": "0.5.0", "kind": "a/b"}', "devices"),
    ],
)
def test_what_makes_no_sense_is_refused_and_named(text: bytes, wrong: str) -> None:
    with pytest.raises(InvalidArgumentError, match=wrong):
        parse(text, json=True)


@pytest.mark.parametrize("text", [b"a: [", b"- : -\n\t", b"\x00", b"kind: !!python/object:os.x {}"])
def test_broken_yaml_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidArgumentError):
        parse(text, json=False)


def test_errors_of_files_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "v.json"
    with pytest.raises(Error, match=r"cannot read .*v\.json: No such file"):
        read(path)
    path.write_bytes(b"{}")
    with pytest.raises(InvalidArgumentError, match=r"cannot use .*v\.json: "):
        read(path)
    path.write_bytes(b" " * (4 << 20) + small())
    with pytest.raises(InvalidArgumentError, match="larger than 4194304 bytes"):
        read(path)
    path.write_bytes(small())
    assert read(path).kind == "v.com/c"


@pytest.mark.parametrize("name", ["vendor.com/gpu=0", "a/b=c", "nvidia.com/mig-1g.5gb=0:1"])
def test_names_of_devices(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize(
    "name", ["", "gpu", "a=b", "a/b", "a/b=", "/b=c", "a/=c", "a/b=c/d", "a/b=.", "a/b=c" * 90]
)
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgumentError, match="vendor/class=name"):
        check_name(name)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "v.json")
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(InvalidArgumentError, match=r"v\.json: not a regular file"):
        read(tmp_path / "v.json")
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
