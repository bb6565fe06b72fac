from pathlib import Path

import pytest

from runtime.cdi.document import ContainerEdits, DeviceNode, Hook, IntelRdt, Mount
from runtime.cdi.edits import gathered
from runtime.spec import EditedDevice, EditedMount, Edits
from runtime.spec import Hook as OciHook
from store.errors import InvalidArgumentError, NotFoundError


def test_nothing_said_is_nothing_changed() -> None:
    assert gathered([ContainerEdits(), ContainerEdits()]) == Edits()


def test_parts_come_one_after_the_other() -> None:
    hook = Hook(hook_name="poststop", path="/bin/sh", args=("sh",), timeout=2)
    inside = Hook(hook_name="startContainer", path="/only/in/the/container")
    first = ContainerEdits(env=("A=1",), hooks=(hook,), additional_gids=(0, 7))
    second = ContainerEdits(
        env=("A=2",),
        hooks=(hook, inside),
        additional_gids=(8,),
        intel_rdt=IntelRdt(clos_id="gold", schemata=("L3:0=f",)),
    )
    done = OciHook(path="/bin/sh", args=("sh",), timeout=2)
    assert gathered([first, second]) == Edits(
        env=("A=1", "A=2"),
        hooks={"poststop": (done, done), "startContainer": (OciHook(path=inside.path),)},
        gids=(7, 8),
        rdt={"closID": "gold", "schemata": ["L3:0=f"]},
    )


def test_what_is_not_said_of_a_device_is_looked_up() -> None:
    nodes = (
        DeviceNode(path="/dev/mine", host_path="/dev/null", permissions="r", gid=5),
        DeviceNode(path="/dev/zero"),
        DeviceNode(path="/dev/made", type="u", major=9, minor=8, file_mode=0o600),
        DeviceNode(path="/dev/hidden", host_path="/dev/null", permissions="none"),
    )
    found = gathered([ContainerEdits(device_nodes=nodes)]).devices
    assert found == (
        EditedDevice(
            path="/dev/mine",
            host_path="/dev/null",
            kind="c",
            major=1,
            minor=3,
            mode=0o666,
            gid=5,
            access="r",
        ),
        EditedDevice(
            path="/dev/zero", host_path="/dev/zero", kind="c", major=1, minor=5, mode=0o666
        ),
        EditedDevice(
            path="/dev/made", host_path="/dev/made", kind="c", major=9, minor=8, mode=0o600
        ),
        EditedDevice(
            path="/dev/hidden",
            host_path="/dev/null",
            kind="c",
            major=1,
            minor=3,
            mode=0o666,
            access="",
        ),
    )


def test_a_mount_is_a_bind_unless_it_says_otherwise(tmp_path: Path) -> None:
    source = str(tmp_path)
    mounts = (
        Mount(host_path=source, container_path="/a"),
        Mount(host_path=source, container_path="/b", options=("bind", "ro"), type="none"),
        Mount(host_path="/nowhere", container_path="/c", type="tmpfs", options=("size=1k",)),
    )
    assert gathered([ContainerEdits(mounts=mounts)]).mounts == (
        EditedMount(source=source, target="/a", options=("rbind",)),
        EditedMount(source=source, target="/b", options=("bind", "ro")),
        EditedMount(source="/nowhere", target="/c", type="tmpfs", options=("size=1k",)),
    )


@pytest.mark.parametrize(
    "edits",
    [
        ContainerEdits(device_nodes=(DeviceNode(path="/dev/nosuch"),)),
        ContainerEdits(mounts=(Mount(host_path="/nosuch", container_path="/x"),)),
        ContainerEdits(hooks=(Hook(hook_name="poststop", path="/nosuch"),)),
    ],
)
def test_what_is_not_on_the_node_is_named(edits: ContainerEdits) -> None:
    with pytest.raises(NotFoundError, match="nosuch: No such file"):
        gathered([edits])


def test_what_is_no_device_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="it is not a device"):
        gathered([ContainerEdits(device_nodes=(DeviceNode(path=str(tmp_path)),))])
