"""Each step of making a sandbox and a container fails once: nothing is left, and a retry works."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.pods import (
    ContainerConfig,
    ContainerMetadata,
    ContainerState,
    Filter,
    ImageRequest,
    SandboxConfig,
    SandboxMetadata,
    SandboxState,
)
from runtime.spec import MountRequest, NamespaceMode, NamespaceModes, Security
from store.database import Database
from tests.faulty import Faults, InjectedError
from tests.podnode import IMAGE, NAMESPACE, VOLUME, Daemon, Ground, daemon

POD = SandboxConfig(
    metadata=SandboxMetadata(name="web", uid="u-1", namespace="default"),
    security=Security(namespaces=NamespaceModes(pid=NamespaceMode.CONTAINER)),
)
CONTAINER = ContainerConfig(
    metadata=ContainerMetadata(name="main"),
    image=ImageRequest(image=IMAGE),
    command=("/bin/top",),
    security=Security(namespaces=NamespaceModes(pid=NamespaceMode.CONTAINER)),
    mounts=(MountRequest(container_path="/vol", image=VOLUME, readonly=True),),
)


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    database = Database(tmp_path / "state.db")
    made = Ground(tmp_path, database)
    made.layout.pods.mkdir(parents=True)
    made.layout.containers.mkdir()
    yield made
    database.close()


async def _steps_of_run(ground: Ground) -> list[str]:
    faults = Faults()
    async with daemon(ground, faults) as one:
        faults.calls.clear()
        id_ = await one.pods.run(NAMESPACE, POD, "")
        calls = list(faults.calls)
        await one.pods.remove(NAMESPACE, id_)
    assert ground.left() == []
    return calls


async def test_every_step_of_run_is_undone_when_it_fails(ground: Ground) -> None:
    steps = await _steps_of_run(ground)
    assert {"namespaces.create", "network.attach", "sandboxes.put", "mounts.mount"} <= set(steps)
    for number, step in enumerate(steps, 1):
        for after in (False, True):
            async with daemon(ground) as _:
                pass
            faults = Faults(number, after)
            async with daemon(ground, faults) as one:
                faults.calls.clear()
                with pytest.raises(InjectedError):
                    await one.pods.run(NAMESPACE, POD, "")
                assert ground.left() == [], f"{step} after={after}"
                id_ = await one.pods.run(NAMESPACE, POD, "")
                assert one.pods.get(NAMESPACE, id_).state is SandboxState.READY
                await one.pods.remove(NAMESPACE, id_)
            assert ground.left() == [], f"{step} after={after}, then removed"


async def test_every_step_of_create_is_undone_when_it_fails(ground: Ground) -> None:
    faults = Faults()
    async with daemon(ground, faults) as one:
        pod = await one.pods.run(NAMESPACE, POD, "")
        before = ground.left()
        faults.calls.clear()
        first = await one.containers.create(NAMESPACE, pod, CONTAINER)
        steps = list(faults.calls)
        await one.containers.remove(NAMESPACE, first)
        assert ground.left() == before
        assert {"snapshots.prepare", "snapshots.view", "mounts.mount"} <= set(steps)
        assert {"containers.add", "tasks.create"} <= set(steps)
        for number, step in enumerate(steps, 1):
            for after in (False, True):
                faults.fail_at, faults.after = number, after
                faults.calls.clear()
                with pytest.raises(InjectedError):
                    await one.containers.create(NAMESPACE, pod, CONTAINER)
                assert ground.left() == before, f"{step} after={after}"
                id_ = await one.containers.create(NAMESPACE, pod, CONTAINER)
                await one.containers.start(NAMESPACE, id_)
                assert one.containers.get(NAMESPACE, id_).state is ContainerState.RUNNING
                await one.containers.remove(NAMESPACE, id_)
                assert ground.left() == before, f"{step} after={after}, then removed"
        await one.pods.remove(NAMESPACE, pod)
    assert ground.left() == []


async def test_a_step_that_cannot_be_undone_leaves_a_pod_to_remove(ground: Ground) -> None:
    steps = await _steps_of_run(ground)
    last_record = len(steps) - steps[::-1].index("sandboxes.put")
    async with daemon(ground, Faults(0)) as idle:
        assert idle.pods.list(NAMESPACE, Filter()) == []
    faults = Faults()
    async with daemon(ground, faults) as one:
        faults.calls.clear()
        faults.fail_at = last_record
        ground.network.refuse_detach = InjectedError("the network hangs")
        with pytest.raises(InjectedError, match=r"sandboxes\.put"):
            await one.pods.run(NAMESPACE, POD, "")
        (left,) = one.pods.list(NAMESPACE, Filter())
        assert left.state is SandboxState.NOTREADY
        assert "detach the network" in left.reason
        ground.network.refuse_detach = None
        await one.pods.remove(NAMESPACE, left.id)
    assert ground.left() == []


async def _call(one: Daemon, call: str, pod: str, container: str) -> None:
    match call:
        case "stop container":
            await one.containers.stop(NAMESPACE, container, 0)
        case "remove container":
            await one.containers.remove(NAMESPACE, container)
        case "stop sandbox":
            await one.pods.stop(NAMESPACE, pod)
        case _:
            await one.pods.remove(NAMESPACE, pod)


async def _steps_of(ground: Ground, call: str, faults: Faults) -> list[str]:
    """Run a pod and end it by `call`, which fails if `faults` say so and is then sent again."""
    fail_at, faults.fail_at = faults.fail_at, 0
    async with daemon(ground, faults) as one:
        pod = await one.pods.run(NAMESPACE, POD, "")
        container = await one.containers.create(NAMESPACE, pod, CONTAINER)
        await one.containers.start(NAMESPACE, container)
        faults.calls.clear()
        faults.fail_at = fail_at
        if fail_at:
            with pytest.raises(InjectedError):
                await _call(one, call, pod, container)
            faults.fail_at = 0
        await _call(one, call, pod, container)
        steps = list(faults.calls)
        await one.pods.remove(NAMESPACE, pod)
    return steps


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    "call", ["stop container", "remove container", "stop sandbox", "remove sandbox"]
)
async def test_every_step_of_an_end_may_fail_once(
    ground: Ground,
    call: str,
    after: bool,  # noqa: FBT001 - a parameter
) -> None:
    steps = await _steps_of(ground, call, Faults())
    assert steps
    for number, step in enumerate(steps, 1):
        await _steps_of(ground, call, Faults(number, after))
        assert ground.left() == [], f"{step} of {call}"
