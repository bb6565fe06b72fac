"""Devices as their vendors describe them."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from grpc import StatusCode, aio

from cri.api.ferry.v1 import node_pb2, node_pb2_grpc
from cri.api.runtime.v1 import api_pb2 as pb
from e2e.client import Client, Container, Pod, code
from e2e.daemon import Service
from e2e.images import BUSYBOX

pytestmark = pytest.mark.root

Images = Mapping[str, str]

USERS = (200_000, 65_536)
SLEEP = ["sleep", "600"]


@pytest.fixture
def cdi(tmp_path: Path) -> Iterator[Path]:
    """A CDI file of two devices; the scope's /run is its own."""
    driver = tmp_path / "driver"
    driver.write_text("the driver\n")
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\necho $1 $COLOUR >>{tmp_path}/hooked\n")
    hook.chmod(0o755)
    folder = Path("/run/cdi")
    folder.mkdir(exist_ok=True)
    (folder / "vendor.yaml").write_text(f"""\
cdiVersion: "0.7.0"
kind: "vendor.test/thing"
containerEdits:
  env: ["VENDOR=all"]
devices:
- name: one
  containerEdits:
    env: ["THING=one", "WHO=device"]
    deviceNodes:
    - {{path: /dev/thing, hostPath: /dev/zero, permissions: r}}
    mounts:
    - {{hostPath: {driver}, containerPath: /lib/driver, options: [ro, nosuid, bind]}}
    hooks:
    - {{hookName: createRuntime, path: {hook}, args: [hook, ran], env: [COLOUR=blue]}}
    additionalGids: [4321]
- name: lost
  containerEdits:
    deviceNodes:
    - path: /dev/no-such-device
""")
    yield tmp_path
    shutil.rmtree(folder)


def asking(container: Container, pod: Pod, *devices: str) -> pb.ContainerConfig:
    config = container.config(pod)
    config.CDI_devices.extend(pb.CDIDevice(name=name) for name in devices)
    return config


@pytest.mark.parametrize("users", [None, USERS], ids=["node's users", "mapped"])
async def test_a_named_device_brings_all_it_needs(
    cri: Client,
    images: Images,
    handler: str,
    logs: Path,
    cdi: Path,
    users: tuple[int, int] | None,
) -> None:
    pod = Pod(name="cdi", logs=logs, users=users)
    async with cri.pod(pod, handler) as running:
        container = Container(
            name="main", image=images[BUSYBOX], command=SLEEP, env={"WHO": "request"}
        )
        config = asking(container, pod, "vendor.test/thing=one")
        main = await cri.run(running, container, config)
        environment = (await cri.output(main, "env")).splitlines()
        assert {"VENDOR=all", "THING=one", "WHO=device"} <= set(environment)
        assert "WHO=request" not in environment
        zeros = await cri.output(main, "sh", "-c", "head -c 4 /dev/thing | wc -c")
        assert zeros == "4"
        assert await cri.output(main, "cat", "/lib/driver") == "the driver"
        assert await cri.output(main, "stat", "-c", "%u", "/lib/driver") == "0"
        assert (await cri.exec(main, "touch", "/lib/driver"))[0] != 0
        assert "4321" in (await cri.output(main, "id", "-G")).split()
    assert (cdi / "hooked").read_text() == "ran blue\n"


async def test_no_annotation_asks_for_a_device(
    cri: Client, images: Images, handler: str, logs: Path, cdi: Path
) -> None:
    wish = {"cdi.k8s.io/vendor.test_thing": "vendor.test/thing=one"}
    pod = Pod(name="wish", logs=logs, annotations=wish)
    async with cri.pod(pod, handler) as running:
        container = Container(name="main", image=images[BUSYBOX], command=SLEEP)
        config = container.config(pod)
        config.annotations.update(wish)
        main = await cri.run(running, container, config)
        assert "VENDOR" not in await cri.output(main, "env")
    assert not (cdi / "hooked").exists()


@pytest.mark.parametrize(
    ("name", "wanted", "text"),
    [
        ("vendor.test/thing=two", StatusCode.NOT_FOUND, "vendor.test/thing=two in /etc/cdi and"),
        ("vendor.test/thing=lost", StatusCode.NOT_FOUND, "thing=lost: .*/dev/no-such-device"),
        ("thing", StatusCode.INVALID_ARGUMENT, "vendor/class=name"),
    ],
)
async def test_a_device_that_is_not_there_is_refused(
    cri: Client,
    images: Images,
    logs: Path,
    cdi: Path,
    name: str,
    wanted: StatusCode,
    text: str,
) -> None:
    pod = Pod(name="absent", logs=logs)
    async with cri.pod(pod) as running:
        container = Container(name="main", image=images[BUSYBOX], command=SLEEP)
        with pytest.raises(aio.AioRpcError, match=text) as refused:
            await cri.create(running, container, asking(container, pod, name))
        assert code(refused.value) is wanted
        (Path("/run/cdi") / "late.json").write_text(
            '{"cdiVersion": "0.5.0", "kind": "late.test/x", "devices": [{"name": "y"}]}'
        )
        await cri.create(running, container, asking(container, pod, "late.test/x=y"))


async def test_files_that_are_bad_or_contradict_each_other_are_named_and_hurt_no_other_device(
    cri: Client, images: Images, logs: Path, cdi: Path, daemon: Service
) -> None:
    folder = Path("/run/cdi")
    (folder / "bad.json").write_text('{"cdiVersion": "0.5.0", "kind": "bad.test/x", "devicez": []}')
    for name in ("a", "b"):
        (folder / f"{name}.yaml").write_text(
            'cdiVersion: "0.5.0"\nkind: twice.test/x\ndevices: [{name: "y"}]\n'
        )
    pod = Pod(name="bad", logs=logs)
    async with cri.pod(pod) as running:
        container = Container(name="main", image=images[BUSYBOX], command=SLEEP)
        for name, text in (
            ("bad.test/x=y", r"cannot find CDI device bad\.test/x=y .*bad\.json: .*devicez"),
            ("twice.test/x=y", r"/a\.yaml and .*/b\.yaml both describe it"),
        ):
            with pytest.raises(aio.AioRpcError, match=text):
                await cri.create(running, container, asking(container, pod, name))
        main = await cri.run(running, container, asking(container, pod, "vendor.test/thing=one"))
        assert "THING=one" in (await cri.output(main, "env")).splitlines()
    async with aio.insecure_channel(f"unix:{daemon.address}") as channel:
        answer = await node_pb2_grpc.NodeStub(channel).Doctor(node_pb2.DoctorRequest())
    found = [each.text for each in answer.findings if each.subject == "CDI"]
    assert [("bad.json" in text, "both describe" in text) for text in found] == [
        (True, False),
        (False, True),
    ]
