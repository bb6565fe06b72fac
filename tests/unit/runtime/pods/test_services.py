"""Sandboxes and containers over fakes: what callers may rely on."""

import asyncio
from dataclasses import replace

import pytest

from runtime.cgroups import Counters
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
from runtime.spec import (
    IdMapping,
    MountRequest,
    NamespaceMode,
    NamespaceModes,
    Resources,
    Security,
    SELinux,
    UserNamespace,
)
from store.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
)
from tests.faulty import Faults
from tests.podnode import IMAGE, NAMESPACE, Daemon, Ground, daemon
from tests.waiting import until

OWN_PID = Security(namespaces=NamespaceModes(pid=NamespaceMode.CONTAINER))
POD = SandboxConfig(
    metadata=SandboxMetadata(name="web", uid="u-1", namespace="default"),
    security=OWN_PID,
    labels={"app": "web"},
)
IDS = (IdMapping(container_id=0, host_id=200000, length=65536),)
MAPPED = NamespaceModes(user=UserNamespace(mode=NamespaceMode.POD, uids=IDS, gids=IDS))
SHARED = replace(POD, security=Security())
CONTAINER = ContainerConfig(
    metadata=ContainerMetadata(name="main"),
    image=ImageRequest(image=IMAGE),
    command=("/bin/top",),
    security=OWN_PID,
    labels={"tier": "front"},
)


def _other(config: SandboxConfig) -> SandboxConfig:
    return replace(config, hostname="other")


async def _running(one: Daemon, pod: str) -> str:
    id_ = await one.containers.create(NAMESPACE, pod, CONTAINER)
    await one.containers.start(NAMESPACE, id_)
    return id_


async def test_a_pod_goes_through_its_whole_life(ground: Ground) -> None:
    async with daemon(ground) as one:
        pod = await one.pods.run(NAMESPACE, POD, "")
        assert one.pods.get(NAMESPACE, pod).addresses == ("10.88.0.2",)
        id_ = await _running(one, pod)
        assert one.containers.get(NAMESPACE, id_).state is ContainerState.RUNNING
        await one.containers.stop(NAMESPACE, id_, 0)
        ended = one.containers.get(NAMESPACE, id_)
        assert (ended.state, ended.exit_code) == (ContainerState.EXITED, 137)
        await one.pods.stop(NAMESPACE, pod)
        stopped = one.pods.get(NAMESPACE, pod)
        assert (stopped.state, stopped.addresses) == (SandboxState.NOTREADY, ())
        await one.pods.remove(NAMESPACE, pod)
        with pytest.raises(NotFoundError):
            one.containers.get(NAMESPACE, id_)
    assert ground.left() == []


async def test_the_network_lets_go_while_the_namespace_is_there(ground: Ground) -> None:
    faults = Faults()
    async with daemon(ground, faults) as one:
        pod = await one.pods.run(NAMESPACE, POD, "")
        faults.calls.clear()
        await one.pods.stop(NAMESPACE, pod)
        calls = [call for call in faults.calls if call.startswith(("network", "namespaces"))]
        assert calls == ["network.detach", "namespaces.remove"]


async def test_fifty_calls_at_once_make_one_sandbox_and_one_container(ground: Ground) -> None:
    async with daemon(ground) as one:
        async with asyncio.TaskGroup() as group:
            runs = [group.create_task(one.pods.run(NAMESPACE, POD, "")) for _ in range(50)]
        (pod,) = {run.result() for run in runs}
        async with asyncio.TaskGroup() as group:
            creates = [
                group.create_task(one.containers.create(NAMESPACE, pod, CONTAINER))
                for _ in range(50)
            ]
        (id_,) = {create.result() for create in creates}
        assert await one.containers.create(NAMESPACE, pod, CONTAINER) == id_
        assert await one.pods.run(NAMESPACE, POD, "") == pod
        await one.pods.remove(NAMESPACE, pod)
    assert ground.left() == []


@pytest.mark.parametrize("steps", range(40))
async def test_a_call_cancelled_at_any_moment_leaves_nothing_and_can_be_sent_again(
    ground: Ground, steps: int
) -> None:
    async with daemon(ground) as one:
        async with asyncio.TaskGroup() as group:
            call = group.create_task(one.pods.run(NAMESPACE, POD, ""))
            for _ in range(steps):
                await asyncio.sleep(0)
            call.cancel()
        pod = await one.pods.run(NAMESPACE, POD, "")
        assert [found.id for found in one.pods.list(NAMESPACE, Filter())] == [pod]
        async with asyncio.TaskGroup() as group:
            call = group.create_task(one.containers.create(NAMESPACE, pod, CONTAINER))
            for _ in range(steps):
                await asyncio.sleep(0)
            call.cancel()
        id_ = await one.containers.create(NAMESPACE, pod, CONTAINER)
        assert [found.id for found in one.containers.list(NAMESPACE, Filter())] == [id_]
        await one.pods.remove(NAMESPACE, pod)
    assert ground.left() == []


async def test_a_taken_name_with_another_configuration_is_refused(ground: Ground) -> None:
    async with daemon(ground) as one:
        pod = await one.pods.run(NAMESPACE, POD, "")
        with pytest.raises(AlreadyExistsError, match="different configuration"):
            await one.pods.run(NAMESPACE, _other(POD), "")
        id_ = await one.containers.create(NAMESPACE, pod, CONTAINER)
        with pytest.raises(AlreadyExistsError, match=id_):
            await one.containers.create(NAMESPACE, pod, replace(CONTAINER, command=("/bin/sh",)))
        await one.containers.start(NAMESPACE, id_)
        with pytest.raises(AlreadyExistsError, match="running"):
            await one.containers.create(NAMESPACE, pod, CONTAINER)


async def test_a_stopped_pod_is_not_used_again(ground: Ground) -> None:
    async with daemon(ground) as one:
        first = await one.pods.run(NAMESPACE, POD, "")
        await one.pods.stop(NAMESPACE, first)
        with pytest.raises(FailedPreconditionError, match="notready"):
            await one.containers.create(NAMESPACE, first, CONTAINER)
        second = await one.pods.run(NAMESPACE, POD, "")
        assert second != first


async def test_ending_what_is_not_there_is_no_error(ground: Ground) -> None:
    async with daemon(ground) as one:
        await one.pods.stop(NAMESPACE, "nosuch")
        await one.pods.remove(NAMESPACE, "nosuch")
        await one.containers.stop(NAMESPACE, "nosuch", 0)
        await one.containers.remove(NAMESPACE, "nosuch")
        for call in (one.pods.get, one.containers.get):
            with pytest.raises(NotFoundError):
                call(NAMESPACE, "nosuch")
        pod = await one.pods.run(NAMESPACE, POD, "")
        id_ = await _running(one, pod)
        for _ in range(2):
            await one.containers.stop(NAMESPACE, id_, 0)
            await one.pods.stop(NAMESPACE, pod)
        for _ in range(2):
            await one.containers.remove(NAMESPACE, id_)
            await one.pods.remove(NAMESPACE, pod)


async def test_only_a_created_container_starts(ground: Ground) -> None:
    async with daemon(ground) as one:
        pod = await one.pods.run(NAMESPACE, POD, "")
        id_ = await _running(one, pod)
        with pytest.raises(FailedPreconditionError, match="running"):
            await one.containers.start(NAMESPACE, id_)
        await one.containers.stop(NAMESPACE, id_, 0)
        with pytest.raises(FailedPreconditionError, match="stopped"):
            await one.containers.start(NAMESPACE, id_)


async def test_a_program_that_is_not_there_shows_in_start_and_status(ground: Ground) -> None:
    async with daemon(ground) as one:
        pod = await one.pods.run(NAMESPACE, POD, "")
        missing = replace(CONTAINER, command=("/nosuch", "argument"))
        id_ = await one.containers.create(NAMESPACE, pod, missing)
        with pytest.raises(FailedPreconditionError, match="/nosuch"):
            await one.containers.start(NAMESPACE, id_)
        status = one.containers.get(NAMESPACE, id_)
        assert (status.state, status.reason) == (ContainerState.EXITED, "ContainerCannotRun")
        assert "/nosuch" in status.message
        assert status.started_at > 0


async def test_a_shared_pid_namespace_gets_one_holder_that_lists_do_not_show(
    ground: Ground,
) -> None:
    async with daemon(ground) as one:
        pod = await one.pods.run(NAMESPACE, SHARED, "")
        shared = replace(CONTAINER, security=Security())
        assert one.tasks.find(NAMESPACE, pod) is None
        await one.containers.create(NAMESPACE, pod, shared)
        second = replace(shared, metadata=ContainerMetadata(name="second"))
        await one.containers.create(NAMESPACE, pod, second)
        assert one.tasks.find(NAMESPACE, pod) is not None
        assert len(one.containers.list(NAMESPACE, Filter())) == 2
        await one.pods.remove(NAMESPACE, pod)
    assert ground.left() == []


async def test_a_pod_whose_holder_dies_is_not_ready(ground: Ground) -> None:
    async with daemon(ground) as one, asyncio.TaskGroup() as group:
        watch = group.create_task(one.pods.watch())
        pod = await one.pods.run(NAMESPACE, SHARED, "")
        await one.containers.create(NAMESPACE, pod, replace(CONTAINER, security=Security()))
        await one.tasks.kill(NAMESPACE, pod, 9)
        await one.tasks.wait(NAMESPACE, pod)
        await until(lambda: one.pods.get(NAMESPACE, pod).state is not SandboxState.READY)
        assert "holder" in one.pods.get(NAMESPACE, pod).reason
        await one.pods.remove(NAMESPACE, pod)
        watch.cancel()
    assert ground.left() == []


async def test_filters_are_anded(ground: Ground) -> None:
    async with daemon(ground) as one:
        pod = await one.pods.run(NAMESPACE, POD, "")
        id_ = await _running(one, pod)
        assert one.pods.list(NAMESPACE, Filter(id=pod[:8], labels={"app": "web"}))
        assert not one.pods.list(NAMESPACE, Filter(id=pod[:8], labels={"app": "db"}))
        assert not one.pods.list(NAMESPACE, Filter(state="notready"))
        assert not one.pods.list("other", Filter())
        found = Filter(id=id_[:8], sandbox_id=pod, state="running", labels={"tier": "front"})
        assert [status.id for status in one.containers.list(NAMESPACE, found)] == [id_]
        others = (
            replace(found, state="exited"),
            replace(found, sandbox_id="x"),
            replace(found, labels={"tier": "back"}),
        )
        for other in others:
            assert not one.containers.list(NAMESPACE, other)


async def test_what_this_node_lacks_is_refused_and_said(ground: Ground) -> None:
    async with daemon(ground) as one:
        for security, text in (
            (Security(namespaces=MAPPED), "user namespace: the handler crun .* has none"),
            (Security(selinux=SELinux(level="s0:c1,c2")), "selinux_options.*no SELinux"),
        ):
            with pytest.raises(FailedPreconditionError, match=text):
                await one.pods.run(NAMESPACE, replace(POD, security=security), "")
    assert ground.left() == []


async def test_a_list_hands_out_the_same_object_until_something_changes(ground: Ground) -> None:
    async with daemon(ground) as one:
        pod = await one.pods.run(NAMESPACE, POD, "")
        id_ = await _running(one, pod)
        (first,) = one.containers.list(NAMESPACE, Filter())
        (second,) = one.containers.list(NAMESPACE, Filter())
        assert first is second
        await one.containers.update(NAMESPACE, id_, Resources(cpu_shares=512))
        (third,) = one.containers.list(NAMESPACE, Filter())
        assert third.container.resources.cpu_shares == 512


@pytest.mark.parametrize(
    ("config", "error", "text"),
    [
        (replace(CONTAINER, image=ImageRequest(image="nosuch")), NotFoundError, "pull it first"),
        (replace(CONTAINER, cdi_devices=("a/b=c",)), NotFoundError, "CDI device a/b=c"),
        (replace(CONTAINER, cdi_devices=("gpu",)), InvalidArgumentError, "vendor/class=name"),
        (
            replace(
                CONTAINER, mounts=(MountRequest(container_path="/v", image="no", readonly=True),)
            ),
            NotFoundError,
            "ImageVolumeMountFailed: image 'no'",
        ),
        (
            replace(
                CONTAINER, mounts=(MountRequest(container_path="/v", image=IMAGE, readonly=True),)
            ),
            FailedPreconditionError,
            "ImageVolumeMountFailed: .* has no files",
        ),
        (
            replace(CONTAINER, mounts=(MountRequest(container_path="/v", image=IMAGE),)),
            InvalidArgumentError,
            "must be readonly",
        ),
        (
            replace(
                CONTAINER,
                mounts=(
                    MountRequest(
                        container_path="/v", image=IMAGE, readonly=True, image_sub_path="a/../.."
                    ),
                ),
            ),
            InvalidArgumentError,
            "ImageVolumeMountFailed: .*image_sub_path",
        ),
        (replace(CONTAINER, log_path="../x"), InvalidArgumentError, "log_path"),
        (replace(CONTAINER, stop_signal="SIGNOPE"), InvalidArgumentError, "SIGNOPE"),
        (
            replace(CONTAINER, mounts=(MountRequest(container_path="a", host_path="/x"),)),
            InvalidArgumentError,
            r"mounts\[0\]\.container_path",
        ),
        (
            replace(CONTAINER, security=Security(run_as_group=7, namespaces=OWN_PID.namespaces)),
            InvalidArgumentError,
            "run_as_group",
        ),
    ],
)
async def test_what_cannot_be_is_refused_by_create_and_leaves_nothing(
    ground: Ground, config: ContainerConfig, error: type[Exception], text: str
) -> None:
    async with daemon(ground) as one:
        pod = await one.pods.run(NAMESPACE, POD, "")
        before = ground.left()
        with pytest.raises(error, match=text):
            await one.containers.create(NAMESPACE, pod, config)
        assert ground.left() == before


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (replace(POD, sysctls={"kernel.core_pattern": "x"}), "kernel.core_pattern"),
        (
            replace(POD, sysctls={"kernel.shm_rmid_forced": "1+kernel.core_pattern=x"}),
            "malformed",
        ),
        (replace(POD, cgroup_parent="kubepods"), "kubepods"),
        (replace(POD, log_directory="var/log"), "log_directory"),
        (
            replace(POD, security=Security(namespaces=replace(MAPPED, pid=NamespaceMode.NODE))),
            "pid node",
        ),
        (replace(POD, overhead=Resources(memory_limit=-2)), "memory_limit_in_bytes -2"),
        (replace(POD, resources=Resources(cpu_period=7)), "cpu_period 7"),
    ],
)
async def test_a_sandbox_that_cannot_be_is_refused_and_leaves_nothing(
    ground: Ground, config: SandboxConfig, text: str
) -> None:
    async with daemon(ground) as one:
        with pytest.raises(InvalidArgumentError, match=text):
            await one.pods.run(NAMESPACE, config, "")
        with pytest.raises(InvalidArgumentError, match="runtime_handler 'nosuch'"):
            await one.pods.run(NAMESPACE, POD, "nosuch")
    assert ground.left() == []


async def test_a_pod_never_gets_less_memory_than_it_uses(ground: Ground) -> None:
    async with daemon(ground) as one:
        pod = await one.pods.run(NAMESPACE, POD, "")
        cgroup = one.pods.get(NAMESPACE, pod).cgroup
        ground.cgroups.members[cgroup] = []
        ground.cgroups.counters[cgroup] = Counters(timestamp=1, memory_working_set=5000)
        with pytest.raises(FailedPreconditionError, match="5000 bytes of memory, more than"):
            await one.pods.resize(
                NAMESPACE, pod, overhead=Resources(), resources=Resources(memory_limit=4999)
            )
        assert one.pods.get(NAMESPACE, pod).overhead is None
        enough = Resources(memory_limit=5000)
        await one.pods.resize(NAMESPACE, pod, overhead=None, resources=enough)
        assert one.pods.get(NAMESPACE, pod).resources == enough
        await one.pods.remove(NAMESPACE, pod)


async def test_a_pods_overhead_is_part_of_what_it_may_use(ground: Ground) -> None:
    overhead = Resources(memory_limit=1000)
    async with daemon(ground) as one:
        pod = await one.pods.run(NAMESPACE, replace(POD, overhead=overhead), "")
        cgroup = one.pods.get(NAMESPACE, pod).cgroup
        ground.cgroups.members[cgroup] = []
        ground.cgroups.counters[cgroup] = Counters(timestamp=1, memory_working_set=5000)
        limits = Resources(memory_limit=4000)
        await one.pods.resize(NAMESPACE, pod, overhead=None, resources=limits)
        less = Resources(memory_limit=999)
        with pytest.raises(FailedPreconditionError, match=r"5000 bytes .* limit of 4999"):
            await one.pods.resize(NAMESPACE, pod, overhead=less, resources=None)
        assert one.pods.get(NAMESPACE, pod).overhead is None
        with pytest.raises(InvalidArgumentError, match="cpu_period 7"):
            await one.pods.resize(
                NAMESPACE, pod, overhead=Resources(cpu_period=7), resources=limits
            )
        await one.pods.remove(NAMESPACE, pod)


async def test_new_limits_of_a_pod_survive_the_daemon(ground: Ground) -> None:
    async with daemon(ground) as one:
        pod = await one.pods.run(NAMESPACE, POD, "")
        limits = Resources(cpu_shares=512, memory_limit=1 << 30)
        await one.pods.resize(NAMESPACE, pod, overhead=None, resources=limits)
    async with daemon(ground) as two:
        assert two.pods.get(NAMESPACE, pod).resources == limits
        await two.pods.remove(NAMESPACE, pod)
