import os
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.spec import (
    DeviceNode,
    DeviceRequest,
    EditedDevice,
    Edits,
    IdMapping,
    NamespaceMode,
    NamespaceModes,
    ProcessUser,
    Security,
    UserNamespace,
)
from runtime.spec.devices import bound, documents, host_devices, scan
from store.errors import InvalidArgumentError, NotFoundError
from tests.specs import REQUEST

NODE = DeviceNode(path="/dev/x", kind="c", major=10, minor=200, mode=0o20640, uid=1, gid=2)
ASK = DeviceRequest(container_path="/dev/y", host_path="/dev/x", permissions="r")


def test_nothing_asked_denies_everything() -> None:
    assert documents(REQUEST) == ([], [{"allow": False, "access": "rwm"}])


def test_a_device_gets_a_node_and_a_rule() -> None:
    nodes, rules = documents(replace(REQUEST, device_requests=(ASK,), devices={"/dev/x": (NODE,)}))
    assert nodes == [
        {
            "path": "/dev/y",
            "type": "c",
            "major": 10,
            "minor": 200,
            "fileMode": 0o640,
            "uid": 1,
            "gid": 2,
        }
    ]
    assert rules[1:] == [{"allow": True, "type": "c", "major": 10, "minor": 200, "access": "r"}]


def test_privileged_has_the_hosts_and_no_rule_but_one() -> None:
    other = replace(NODE, path="/dev/z")
    request = replace(
        REQUEST,
        security=Security(privileged=True),
        host_devices=(other,),
        device_requests=(ASK,),
        devices={"/dev/x": (NODE,)},
    )
    nodes, rules = documents(request)
    assert [node["path"] for node in nodes if isinstance(node, dict)] == ["/dev/z", "/dev/y"]
    assert rules == [{"allow": True, "access": "rwm"}]


@pytest.mark.parametrize(
    ("wanted", "node", "text"),
    [
        (replace(ASK, permissions="rx"), NODE, r"devices\[0\].permissions 'rx'"),
        (replace(ASK, permissions="rr"), NODE, r"devices\[0\].permissions 'rr'"),
        (replace(ASK, container_path="y"), NODE, r"devices\[0\].container_path"),
        (ASK, replace(NODE, major=4096), "4096:200 is out of range"),
        (ASK, replace(NODE, minor=1 << 20), "out of range"),
    ],
)
def test_what_cannot_be_is_refused(wanted: DeviceRequest, node: DeviceNode, text: str) -> None:
    request = replace(REQUEST, device_requests=(wanted,), devices={"/dev/x": (node,)})
    with pytest.raises(InvalidArgumentError, match=text):
        documents(request)


def test_a_request_for_no_device_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="no device is there"):
        documents(replace(REQUEST, device_requests=(ASK,)))


def test_scanning_a_device_a_link_and_what_is_none(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/null")
    (tmp_path / "file").touch()
    null = scan("/dev/null")[0]
    assert (null.path, null.kind, null.major, null.minor) == ("/dev/null", "c", 1, 3)
    assert scan(str(tmp_path / "link")) == (replace(null, path=str(tmp_path / "link")),)
    with pytest.raises(InvalidArgumentError, match="it is not a device"):
        scan(str(tmp_path / "file"))
    with pytest.raises(NotFoundError, match="missing"):
        scan(str(tmp_path / "missing"))
    with pytest.raises(InvalidArgumentError, match=r"devices\.host_path"):
        scan("dev/null")


def test_a_directory_without_devices_has_none(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/file").touch()
    os.mkfifo(tmp_path / "sub/fifo")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert scan(str(tmp_path)) == ()


def test_the_hosts_devices_leave_out_what_containers_have_of_their_own() -> None:
    paths = {node.path for node in host_devices()}
    assert "/dev/null" in paths
    for own in ("/dev/ptmx", "/dev/console", "/dev/pts/0", "/dev/stdin"):
        assert own not in paths
    assert not any(path.startswith(("/dev/pts/", "/dev/shm/", "/dev/fd/")) for path in paths)  # noqa: S108 - names only


IDS = (IdMapping(container_id=0, host_id=200000, length=65536),)
MAPPED = NamespaceModes(user=UserNamespace(mode=NamespaceMode.POD, uids=IDS, gids=IDS))


def test_a_device_under_another_name_is_a_mount_in_a_user_namespace() -> None:
    named = EditedDevice(path="/dev/a", host_path="/dev/b", kind="b", major=7, minor=1, mode=0o600)
    same = replace(named, path="/dev/b")
    request = replace(
        REQUEST,
        device_requests=(ASK,),
        devices={"/dev/x": (NODE,)},
        edits=Edits(devices=(named, same)),
    )
    nodes, rules = documents(request)
    assert bound(request) == {}
    mapped = replace(request, sandbox_modes=MAPPED)
    assert bound(mapped) == {"/dev/y": "/dev/x", "/dev/a": "/dev/b"}
    assert documents(mapped) == (nodes[-1:], rules)
    assert [node["path"] for node in nodes if isinstance(node, dict)] == [
        "/dev/y",
        "/dev/a",
        "/dev/b",
    ]


def test_what_named_devices_bring_belongs_to_the_process_unless_said() -> None:
    fifo = EditedDevice(path="/f", host_path="/f", kind="p", major=0, minor=0, mode=0o600)
    silent = replace(fifo, path="/s", kind="c", major=5, uid=7, gid=8, access="")
    request = replace(REQUEST, user=ProcessUser(uid=3, gid=4), edits=Edits(devices=(fifo, silent)))
    nodes, rules = documents(request)
    owners = [(node["uid"], node["gid"]) for node in nodes if isinstance(node, dict)]
    assert owners == [(3, 4), (7, 8)]
    assert rules == [{"allow": False, "access": "rwm"}]
    with pytest.raises(InvalidArgumentError, match="out of range"):
        documents(replace(request, edits=Edits(devices=(replace(fifo, major=1 << 12),))))
