"""Each step of new limits fails once: nothing has changed, and a retry works."""

import msgspec
import pytest

from runtime.cgroups import Counters
from runtime.pods import (
    ContainerConfig,
    ContainerMetadata,
    ImageRequest,
    SandboxConfig,
    SandboxMetadata,
)
from runtime.spec import NamespaceMode, NamespaceModes, Resources, Security
from store.errors import FailedPreconditionError, InvalidArgumentError
from tests.faulty import Faults, InjectedError
from tests.podnode import IMAGE, NAMESPACE, Ground, daemon

SECURITY = Security(namespaces=NamespaceModes(pid=NamespaceMode.CONTAINER))
POD = SandboxConfig(
    metadata=SandboxMetadata(name="web", uid="u-1", namespace="default"),
    security=SECURITY,
)
BEFORE = Resources(cpu_shares=10, memory_limit=1 << 20)
CONTAINER = ContainerConfig(
    metadata=ContainerMetadata(name="main"),
    image=ImageRequest(image=IMAGE),
    command=("/bin/top",),
    resources=BEFORE,
    security=SECURITY,
)
AFTER = Resources(cpu_shares=20, memory_limit=2 << 20)


async def test_every_step_of_an_update_is_undone_when_it_fails(ground: Ground) -> None:
    faults = Faults()
    async with daemon(ground, faults) as one:
        pod = await one.pods.run(NAMESPACE, POD, "")
        id_ = await one.containers.create(NAMESPACE, pod, CONTAINER)
        await one.containers.start(NAMESPACE, id_)
        cgroup = one.tasks.get(NAMESPACE, id_).cgroup
        faults.calls.clear()
        await one.containers.update(NAMESPACE, id_, BEFORE)
        assert faults.calls == ["cgroups.limits", "runtime.update", "containers.update"]
        before = dict(ground.cgroups.files[cgroup])
        for number, step in enumerate(list(faults.calls), 1):
            for after in (False, True):
                faults.calls.clear()
                faults.fail_at, faults.after = number, after
                with pytest.raises(InjectedError):
                    await one.containers.update(NAMESPACE, id_, AFTER)
                assert ground.cgroups.files[cgroup] == before, f"{step} after={after}"
                told = one.containers.get(NAMESPACE, id_).container.resources
                assert told == BEFORE, f"{step} after={after}"
        faults.fail_at = 0
        await one.containers.update(NAMESPACE, id_, AFTER)
        assert one.containers.get(NAMESPACE, id_).container.resources == AFTER
        assert ground.cgroups.files[cgroup] != before
        await one.pods.remove(NAMESPACE, pod)


async def test_an_update_right_after_create_waits_for_the_container(ground: Ground) -> None:
    async with daemon(ground) as one:
        pod = await one.pods.run(NAMESPACE, POD, "")
        id_ = await one.containers.create(NAMESPACE, pod, CONTAINER)
        await one.containers.update(NAMESPACE, id_, AFTER)
        assert one.containers.get(NAMESPACE, id_).container.resources == AFTER
        await one.pods.remove(NAMESPACE, pod)


@pytest.mark.parametrize(
    ("update", "error", "text"),
    [
        (Resources(cpu_shares=20, cpu_quota=1), InvalidArgumentError, "cpu_quota 1"),
        (Resources(cpu_shares=20, memory_limit=4095), FailedPreconditionError, "uses 4096 bytes"),
        (Resources(cpu_shares=20, unified={"x": "1"}), InvalidArgumentError, "unified"),
    ],
)
async def test_what_cannot_be_reaches_no_runtime(
    ground: Ground, update: Resources, error: type[Exception], text: str
) -> None:
    async with daemon(ground) as one:
        pod = await one.pods.run(NAMESPACE, POD, "")
        id_ = await one.containers.create(NAMESPACE, pod, CONTAINER)
        await one.containers.start(NAMESPACE, id_)
        cgroup = one.tasks.get(NAMESPACE, id_).cgroup
        ground.cgroups.counters[cgroup] = Counters(timestamp=1, memory_working_set=4096)
        with pytest.raises(error, match=text):
            await one.containers.update(NAMESPACE, id_, update)
        assert "update" not in ground.kernel.calls
        assert one.containers.get(NAMESPACE, id_).container.resources == BEFORE
        await one.pods.remove(NAMESPACE, pod)


async def test_every_step_of_a_pods_new_limits_is_undone_when_it_fails(ground: Ground) -> None:
    faults = Faults()
    async with daemon(ground, faults) as one:
        pod = await one.pods.run(NAMESPACE, POD, "")
        for after in (False, True):
            faults.calls.clear()
            faults.fail_at, faults.after = 1, after
            with pytest.raises(InjectedError, match=r"sandboxes\.put"):
                await one.pods.resize(NAMESPACE, pod, overhead=None, resources=AFTER)
            assert one.pods.get(NAMESPACE, pod).resources is None, f"after={after}"
        faults.fail_at = 0
        await one.pods.resize(NAMESPACE, pod, overhead=BEFORE, resources=AFTER)
        sandbox = one.pods.get(NAMESPACE, pod)
        assert (sandbox.overhead, sandbox.resources) == (BEFORE, AFTER)
        await one.pods.remove(NAMESPACE, pod)


async def test_an_update_that_dies_with_the_daemon_is_undone_by_the_next(ground: Ground) -> None:
    """The file and the limits are as they are when the runtime has written some of them."""
    async with daemon(ground) as one:
        pod = await one.pods.run(NAMESPACE, POD, "")
        id_ = await one.containers.create(NAMESPACE, pod, CONTAINER)
        await one.containers.start(NAMESPACE, id_)
        task = one.tasks.get(NAMESPACE, id_)
        before = ground.cgroups.limits(task.cgroup)
    (task.directory / "limits.json").write_bytes(msgspec.json.encode(before))
    ground.cgroups.files[task.cgroup] = {"memory.max": "1\n"}
    async with daemon(ground) as two:
        assert ground.cgroups.limits(task.cgroup) == before
        assert not (task.directory / "limits.json").exists()
        assert two.containers.get(NAMESPACE, id_).container.resources == BEFORE
        await two.containers.update(NAMESPACE, id_, AFTER)
        await two.pods.remove(NAMESPACE, pod)
