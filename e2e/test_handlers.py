"""Handlers from the configuration: any runc-compatible program, its options, what it sees."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from grpc import StatusCode, aio

from cri.api.ferry.v1 import node_pb2, node_pb2_grpc
from cri.api.runtime.v1 import api_pb2 as pb
from e2e.client import Client, Container, Pod, code, connected
from e2e.conftest import HANDLERS
from e2e.daemon import Daemon, default_settings
from e2e.images import BUSYBOX
from e2e.leaks import Snapshot, leaks
from e2e.registry import Registry

pytestmark = pytest.mark.root

# Apart from those of other daemons that run at the same time.
_NUMBER = 60
SLEEP = ["sleep", "600"]
PATH = f"/opt/ferry/bin:{os.environ['PATH']}"
# What a program says of itself that has neither user namespaces nor recursive read-only mounts.
POOR = {
    "ociVersionMin": "1.0.0",
    "ociVersionMax": "1.0.2",
    "mountOptions": ["ro", "rw", "bind", "rbind"],
    "linux": {"namespaces": ["ipc", "mount", "network", "pid", "uts"]},
}


@dataclass(frozen=True, slots=True)
class Ours:
    """A daemon with handlers of its own, and what one of them was called with."""

    daemon: Daemon
    client: Client
    calls: Path
    image: str


def program(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def configured(folder: Path) -> dict[str, dict[str, object]]:
    """Return settings with more handlers, most of them scripts around another one's program."""
    real = {name: shutil.which(name, path=PATH) for name in HANDLERS}
    features = folder / "features.json"
    features.write_text(json.dumps(POOR))
    poor = f'[ "$1" = features ] && exec cat {features}\nexec {real["crun"]} "$@"'
    traced: dict[str, dict[str, object]] = {
        f"runtimes.traced-{name}": {
            "binary": program(folder / name, f'echo "$*" >>{folder}/calls\nexec {real[name]} "$@"'),
            "options": ["--debug"],
            "annotations": ["e2e.test/*"],
        }
        for name in HANDLERS
    }
    return {
        **default_settings(folder, number=_NUMBER),
        **traced,
        "runtimes.poor": {"binary": program(folder / "poor", poor)},
        "runtimes.absent": {"binary": str(folder / "absent")},
    }


async def warm_up(daemon: Daemon, registry: Registry) -> str:
    """Run a pod with each handler: what a daemon makes once is no leak. Return an image's id."""
    async with connected(daemon.address) as client:
        image = await client.pull(registry.reference(BUSYBOX))
        for handler in ("traced-crun", "traced-runc", "poor"):
            pod = Pod(name="warm", logs=daemon.folder / "logs")
            async with client.pod(pod, handler) as running:
                await client.run(running, Container(name="main", image=image, command=SLEEP))
        return image


@pytest.fixture(scope="module")
def prepared(
    registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Daemon, str]]:
    """A daemon of this module's own, and an image."""
    folder = tmp_path_factory.mktemp("handlers")
    with Daemon(folder, configured(folder)) as daemon:
        yield daemon, asyncio.run(warm_up(daemon, registry))


@pytest.fixture
async def ours(prepared: tuple[Daemon, str]) -> AsyncIterator[Ours]:
    daemon, image = prepared
    calls = daemon.folder / "calls"
    calls.write_text("")
    before = Snapshot.take(daemon.state, pid=daemon.pid)
    async with connected(daemon.address) as client:
        yield Ours(daemon, client, calls, image)
        left = await leaks(before, daemon.state, pid=daemon.pid)
    assert not left, "left behind:\n" + "\n".join(left)


def spec(daemon: Daemon, container: str) -> dict[str, object]:
    """Return what the OCI runtime was given."""
    (found,) = daemon.state.glob(f"containers/*/{container}/config.json")
    document: dict[str, object] = json.loads(found.read_text())
    return document


@asynccontextmanager
async def noted(ours: Ours, logs: Path, handler: str) -> AsyncIterator[str]:
    """Run a container that brings annotations of all kinds."""
    notes = {"e2e.test/pod": "1", "run.oci.handler": "krun", "other.test/pod": "1"}
    pod = Pod(name="noted", logs=logs, annotations=notes)
    async with ours.client.pod(pod, handler) as running:
        container = Container(name="main", image=ours.image, command=SLEEP)
        config = container.config(pod)
        config.annotations.update({"e2e.test/container": "2", "other.test/container": "2"})
        yield await ours.client.run(running, container, config)


async def test_a_handlers_program_has_its_options_in_every_call(
    ours: Ours, logs: Path, handler: str
) -> None:
    name = f"traced-{handler}"
    async with noted(ours, logs, name) as container:
        assert await ours.client.output(container, "echo", "runs") == "runs"
        assert (await ours.client.status(container)).annotations["other.test/container"] == "2"
    calls = [line.split() for line in ours.calls.read_text().splitlines()]
    verbs = {"create", "start", "exec", "delete"}
    assert {word for line in calls for word in line} >= verbs
    assert {tuple(line[:2]) for line in calls} == {
        (f"--root={ours.daemon.state}/runtimes/{name}/k8s.io", "--debug")
    }


async def test_a_handler_sees_the_annotations_it_may_see(
    ours: Ours, logs: Path, handler: str
) -> None:
    async with noted(ours, logs, f"traced-{handler}") as container:
        shown = spec(ours.daemon, container)["annotations"]
        assert shown == {"e2e.test/pod": "1", "e2e.test/container": "2"}
    async with noted(ours, logs, "poor") as container:
        assert not spec(ours.daemon, container)["annotations"]


async def test_a_handler_without_a_feature_says_so_and_refuses_what_needs_it(
    ours: Ours, logs: Path, tmp_path: Path
) -> None:
    status = await ours.client.runtime.Status(pb.StatusRequest())
    features = {
        handler.name: (
            handler.features.user_namespaces,
            handler.features.recursive_read_only_mounts,
        )
        for handler in status.runtime_handlers
    }
    assert features == {
        "": (True, True),
        "crun": (True, True),
        "runc": (True, True),
        "traced-crun": (True, True),
        "traced-runc": (True, True),
        "poor": (False, False),
    }
    mapped = Pod(name="mapped", logs=logs, users=(200_000, 65_536))
    with pytest.raises(aio.AioRpcError, match=r"handler poor .* has none") as refused:
        await ours.client.run_pod(mapped, "poor")
    assert code(refused.value) is StatusCode.FAILED_PRECONDITION
    async with ours.client.pod(Pod(name="poor", logs=logs), "poor") as running:
        deep = pb.Mount(
            container_path="/deep", host_path=str(tmp_path), readonly=True, recursive_read_only=True
        )
        container = Container(name="main", image=ours.image, command=SLEEP, mounts=[deep])
        with pytest.raises(aio.AioRpcError, match="RROUnsupported"):
            await ours.client.create(running, container)


async def test_a_handler_whose_program_is_missing_stops_nothing_else(
    ours: Ours, logs: Path
) -> None:
    with pytest.raises(aio.AioRpcError, match="'absent': this node has crun, poor, runc, traced"):
        await ours.client.run_pod(Pod(name="absent", logs=logs), "absent")
    async with aio.insecure_channel(f"unix:{ours.daemon.address}") as channel:
        answer = await node_pb2_grpc.NodeStub(channel).Doctor(node_pb2.DoctorRequest())
    (finding,) = (each for each in answer.findings if each.subject == "handler absent")
    assert finding.text.startswith("cannot be used: not found")
