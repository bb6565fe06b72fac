"""A new daemon over what an old one left."""

from dataclasses import replace

import msgspec
import pytest

from runtime.pods import ContainerState, Filter, Sandbox, SandboxState
from runtime.pods.members import EXTENSION
from store.errors import UnavailableError
from store.metadata import Container
from tests.podnode import NAMESPACE, Ground, daemon
from tests.unit.runtime.pods.test_services import CONTAINER, POD, SHARED


async def test_everything_is_found_again(ground: Ground) -> None:
    async with daemon(ground) as one:
        pod = await one.pods.run(NAMESPACE, POD, "")
        id_ = await one.containers.create(NAMESPACE, pod, CONTAINER)
        await one.containers.start(NAMESPACE, id_)
        sandbox, status = one.pods.get(NAMESPACE, pod), one.containers.get(NAMESPACE, id_)
    async with daemon(ground) as two:
        assert two.pods.get(NAMESPACE, pod) == sandbox
        assert two.containers.get(NAMESPACE, id_) == status
        await two.pods.remove(NAMESPACE, pod)
    assert ground.left() == []


async def test_what_ended_meanwhile_has_its_exit_code(ground: Ground) -> None:
    async with daemon(ground) as one:
        pod = await one.pods.run(NAMESPACE, POD, "")
        id_ = await one.containers.create(NAMESPACE, pod, CONTAINER)
        await one.containers.start(NAMESPACE, id_)
    (container,) = ground.kernel.containers.values()
    container.end(7)
    async with daemon(ground) as two:
        await two.tasks.wait(NAMESPACE, id_)
        status = two.containers.get(NAMESPACE, id_)
        assert (status.state, status.exit_code) == (ContainerState.EXITED, 7)


async def test_a_sandbox_that_was_being_made_is_undone(ground: Ground) -> None:
    async with daemon(ground) as one:
        pod = await one.pods.run(NAMESPACE, POD, "")
    half = replace(ground.sandboxes.get(NAMESPACE, pod), state=SandboxState.CREATING)
    ground.sandboxes.put(NAMESPACE, pod, half)
    async with daemon(ground) as two:
        assert two.pods.list(NAMESPACE, Filter()) == []
    assert ground.left() == []


async def test_a_network_that_does_not_let_go_keeps_nothing_else(
    ground: Ground, caplog: pytest.LogCaptureFixture
) -> None:
    async with daemon(ground) as one:
        half, lost = [
            await one.pods.run(NAMESPACE, replace(POD, metadata=metadata), "")
            for metadata in (replace(POD.metadata, uid="half"), replace(POD.metadata, uid="lost"))
        ]
    record = ground.sandboxes.get(NAMESPACE, half)
    ground.sandboxes.put(NAMESPACE, half, replace(record, state=SandboxState.CREATING))
    ground.sandboxes.delete(NAMESPACE, lost)
    ground.network.refuse_detach = UnavailableError("cannot disconnect: the agent is down")
    async with daemon(ground) as two:
        assert two.pods.list(NAMESPACE, Filter()) == []
    assert ground.left() == []
    assert f"cannot disconnect sandbox {lost}: " in caplog.text


async def test_a_container_without_a_task_is_undone(ground: Ground) -> None:
    async with daemon(ground) as one:
        pod = await one.pods.run(NAMESPACE, POD, "")
        before = ground.left()
        id_ = await one.containers.create(NAMESPACE, pod, CONTAINER)
        await one.tasks.delete(NAMESPACE, id_)
    async with daemon(ground) as two:
        assert two.containers.list(NAMESPACE, Filter()) == []
    assert ground.left() == before


async def test_files_that_no_record_names_are_swept(ground: Ground) -> None:
    async with daemon(ground) as one:
        pod = await one.pods.run(NAMESPACE, POD, "")
        await one.containers.create(NAMESPACE, pod, CONTAINER)
    for records in (ground.sandboxes, ground.containers):
        for namespace, id_, _ in list(records.walk()):
            records.delete(namespace, id_)
    async with daemon(ground):
        pass
    assert ground.left() == []


async def test_after_a_reboot_nothing_runs_and_leftovers_are_gone(ground: Ground) -> None:
    async with daemon(ground) as one:
        pod = await one.pods.run(NAMESPACE, POD, "")
        id_ = await one.containers.create(NAMESPACE, pod, CONTAINER)
        await one.containers.start(NAMESPACE, id_)
    async with daemon(ground, boot="boot-2") as two:
        sandbox = two.pods.get(NAMESPACE, pod)
        assert (sandbox.state, sandbox.addresses) == (SandboxState.NOTREADY, ())
        assert two.containers.get(NAMESPACE, id_).state is ContainerState.EXITED
        assert ground.network.attached == {}
        assert [m for m in ground.mounts.mounted(ground.path) if "shm" in str(m)] == []
        again = await two.pods.run(NAMESPACE, POD, "")
        await two.pods.remove(NAMESPACE, again)
        await two.pods.remove(NAMESPACE, pod)
    assert ground.left() == []


async def test_a_sandbox_without_its_namespaces_is_not_ready(ground: Ground) -> None:
    async with daemon(ground) as one:
        pod = await one.pods.run(NAMESPACE, POD, "")
    ground.namespaces.remove(ground.layout.sandbox(NAMESPACE, pod).namespaces)
    async with daemon(ground) as two:
        sandbox = two.pods.get(NAMESPACE, pod)
        assert (sandbox.state, sandbox.reason) == (
            SandboxState.NOTREADY,
            "its namespaces are gone",
        )
        await two.pods.remove(NAMESPACE, pod)
    assert ground.left() == []


async def test_a_damaged_container_is_unknown_with_the_reason_and_can_be_removed(
    ground: Ground,
) -> None:
    async with daemon(ground) as one:
        pod = await one.pods.run(NAMESPACE, POD, "")
        id_ = await one.containers.create(NAMESPACE, pod, CONTAINER)
        await one.containers.start(NAMESPACE, id_)
        before = {status.id for status in one.containers.list(NAMESPACE, Filter())}

    def cut(record: Container) -> Container:
        return replace(record, extensions={EXTENSION: record.extensions[EXTENSION][:-9]})

    ground.containers.update(NAMESPACE, id_, cut)
    async with daemon(ground) as two:
        assert {status.id for status in two.containers.list(NAMESPACE, Filter())} == before
        status = two.containers.get(NAMESPACE, id_)
        assert status.state is ContainerState.UNKNOWN
        assert "damaged" in status.message
        await two.pods.remove(NAMESPACE, pod)
    assert ground.left() == []


async def test_a_shared_pid_namespace_lives_on(ground: Ground) -> None:
    async with daemon(ground) as one:
        pod = await one.pods.run(NAMESPACE, SHARED, "")
        shared = replace(CONTAINER, security=SHARED.security)
        await one.containers.create(NAMESPACE, pod, shared)
    async with daemon(ground) as two:
        assert two.pods.get(NAMESPACE, pod).state is SandboxState.READY
        assert two.tasks.find(NAMESPACE, pod) is not None
        await two.pods.remove(NAMESPACE, pod)
    assert ground.left() == []


def test_a_sandbox_record_survives_encoding(ground: Ground) -> None:
    del ground
    sandbox = Sandbox(
        namespace=NAMESPACE,
        id="s",
        config=POD,
        handler="crun",
        state=SandboxState.READY,
        created_at=1,
    )
    assert msgspec.json.decode(msgspec.json.encode(sandbox), type=Sandbox) == sandbox
