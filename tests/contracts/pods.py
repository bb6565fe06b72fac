"""What every implementation of `Sandboxes` and `Containers` must do for CRI's services."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest

from runtime.pods import (
    ContainerConfig,
    ContainerMetadata,
    Containers,
    ContainerState,
    EventKind,
    Filter,
    ImageRequest,
    PodEvent,
    PodEvents,
    SandboxConfig,
    Sandboxes,
    SandboxMetadata,
    SandboxState,
)
from runtime.spec import NamespaceMode, NamespaceModes, Resources, Security
from store.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from tests import programs

NAMESPACE = "k8s.io"
SECURITY = Security(namespaces=NamespaceModes(pid=NamespaceMode.CONTAINER))


@dataclass(frozen=True, slots=True)
class Pods:
    """An implementation without any pods, and an image it can run."""

    sandboxes: Sandboxes
    containers: Containers
    events: PodEvents
    image: str

    async def pod(self, name: str = "web", **labels: str) -> str:
        config = SandboxConfig(
            metadata=SandboxMetadata(name=name, uid=f"uid-{name}", namespace="default"),
            labels=labels,
            annotations={"note": "kept"},
            security=SECURITY,
        )
        return await self.sandboxes.run(NAMESPACE, config, "")

    async def container(self, pod: str, name: str = "main", **labels: str) -> str:
        config = ContainerConfig(
            metadata=ContainerMetadata(name=name),
            image=ImageRequest(image=self.image),
            command=("/bin/top",),
            labels=labels,
            security=SECURITY,
        )
        return await self.containers.create(NAMESPACE, pod, config)

    async def running(self, pod: str, name: str = "main") -> str:
        id_ = await self.container(pod, name)
        await self.containers.start(NAMESPACE, id_)
        return id_

    def listed(self, filter_: Filter) -> list[str]:
        return [one.id for one in self.containers.list(NAMESPACE, filter_)]


class SandboxesContract:
    """A subclass supplies the fixture `pods`."""

    async def test_a_sandbox_is_ready_and_keeps_what_it_was_told(self, pods: Pods) -> None:
        id_ = await pods.pod(app="web")
        sandbox = pods.sandboxes.get(NAMESPACE, id_)
        assert (sandbox.id, sandbox.state) == (id_, SandboxState.READY)
        assert dict(sandbox.config.labels) == {"app": "web"}
        assert dict(sandbox.config.annotations) == {"note": "kept"}
        assert sandbox.created_at > 0
        assert sandbox.handler
        assert sandbox.addresses

    async def test_an_unknown_handler_leaves_nothing(self, pods: Pods) -> None:
        config = SandboxConfig(metadata=SandboxMetadata(name="n", uid="u", namespace="ns"))
        with pytest.raises((InvalidArgumentError, NotFoundError), match="none-such"):
            await pods.sandboxes.run(NAMESPACE, config, "none-such")
        assert pods.sandboxes.list(NAMESPACE, Filter()) == []

    async def test_a_stopped_sandbox_is_readable_and_never_ready_again(self, pods: Pods) -> None:
        id_ = await pods.pod()
        for _ in range(2):
            await pods.sandboxes.stop(NAMESPACE, id_)
        sandbox = pods.sandboxes.get(NAMESPACE, id_)
        assert sandbox.state is SandboxState.NOTREADY
        with pytest.raises(FailedPreconditionError):
            await pods.container(id_)

    async def test_a_stop_takes_the_containers_along(self, pods: Pods) -> None:
        pod = await pods.pod()
        id_ = await pods.running(pod)
        await pods.sandboxes.stop(NAMESPACE, pod)
        assert pods.containers.get(NAMESPACE, id_).state is ContainerState.EXITED

    async def test_a_removal_leaves_no_container_behind(self, pods: Pods) -> None:
        pod = await pods.pod()
        await pods.running(pod)
        for _ in range(2):
            await pods.sandboxes.remove(NAMESPACE, pod)
        assert pods.sandboxes.list(NAMESPACE, Filter()) == []
        assert pods.listed(Filter()) == []
        with pytest.raises(NotFoundError):
            pods.sandboxes.get(NAMESPACE, pod)

    async def test_the_unknown_is_stopped_and_removed_already(self, pods: Pods) -> None:
        await pods.sandboxes.stop(NAMESPACE, "unknown")
        await pods.sandboxes.remove(NAMESPACE, "unknown")

    async def test_sandboxes_are_found_by_a_beginning_that_only_one_has(self, pods: Pods) -> None:
        id_ = await pods.pod()
        assert pods.sandboxes.get(NAMESPACE, id_[:12]).id == id_
        with pytest.raises(NotFoundError):
            pods.sandboxes.get("other", id_)

    async def test_filters_are_anded(self, pods: Pods) -> None:
        first = await pods.pod("one", app="web", tier="front")
        second = await pods.pod("two", app="web")
        await pods.sandboxes.stop(NAMESPACE, second)

        def listed(filter_: Filter) -> list[str]:
            return [one.id for one in pods.sandboxes.list(NAMESPACE, filter_)]

        assert listed(Filter()) == [first, second]
        assert listed(Filter(state="ready")) == [first]
        assert listed(Filter(labels={"app": "web", "tier": "front"})) == [first]
        assert listed(Filter(id=second[:12], labels={"app": "web"})) == [second]
        assert listed(Filter(state="ready", id=second)) == []
        assert pods.sandboxes.list("other", Filter()) == []

    async def test_new_limits_are_noted_one_by_one(self, pods: Pods) -> None:
        id_ = await pods.pod()
        more, less = Resources(cpu_shares=512), Resources(memory_limit=1 << 40)
        await pods.sandboxes.resize(NAMESPACE, id_, overhead=less, resources=None)
        await pods.sandboxes.resize(NAMESPACE, id_, overhead=None, resources=more)
        sandbox = pods.sandboxes.get(NAMESPACE, id_)
        assert (sandbox.overhead, sandbox.resources) == (less, more)
        assert sandbox.config.resources == Resources()

    async def test_only_a_ready_sandbox_takes_limits(self, pods: Pods) -> None:
        id_ = await pods.pod()
        await pods.sandboxes.stop(NAMESPACE, id_)
        with pytest.raises(FailedPreconditionError):
            await pods.sandboxes.resize(NAMESPACE, id_, overhead=None, resources=Resources())
        with pytest.raises(NotFoundError):
            await pods.sandboxes.resize(NAMESPACE, "none", overhead=None, resources=Resources())


class ContainersContract:
    """A subclass supplies the fixture `pods`."""

    async def test_a_container_goes_through_its_life(self, pods: Pods) -> None:
        id_ = await pods.container(await pods.pod())
        created = pods.containers.get(NAMESPACE, id_)
        assert (created.state, created.started_at) == (ContainerState.CREATED, 0)
        assert created.created_at > 0
        await pods.containers.start(NAMESPACE, id_)
        running = pods.containers.get(NAMESPACE, id_)
        assert running.state is ContainerState.RUNNING
        assert running.started_at > 0
        assert running.pid > 0
        for _ in range(2):
            await pods.containers.stop(NAMESPACE, id_, 0)
        ended = pods.containers.get(NAMESPACE, id_)
        assert (ended.state, ended.exit_code) == (ContainerState.EXITED, 137)
        assert ended.finished_at > 0
        for _ in range(2):
            await pods.containers.remove(NAMESPACE, id_)
        with pytest.raises(NotFoundError):
            pods.containers.get(NAMESPACE, id_)

    async def test_only_a_created_container_starts(self, pods: Pods) -> None:
        id_ = await pods.running(await pods.pod())
        with pytest.raises(FailedPreconditionError):
            await pods.containers.start(NAMESPACE, id_)

    async def test_the_unknown_is_stopped_and_removed_already(self, pods: Pods) -> None:
        await pods.containers.stop(NAMESPACE, "unknown", 0)
        await pods.containers.remove(NAMESPACE, "unknown")

    async def test_an_unknown_sandbox_takes_no_container(self, pods: Pods) -> None:
        with pytest.raises(NotFoundError, match="unknown"):
            await pods.container("unknown")

    async def test_the_status_tells_image_and_signal(self, pods: Pods) -> None:
        container = pods.containers.get(NAMESPACE, await pods.container(await pods.pod())).container
        assert container.image_id.startswith("sha256:")
        assert container.image_ref
        assert container.image_name
        assert container.stop_signal == "SIGTERM"

    async def test_filters_are_anded(self, pods: Pods) -> None:
        one, two = await pods.pod("one"), await pods.pod("two")
        first = await pods.running(one, "a")
        second = await pods.container(one, "b", app="web")
        third = await pods.container(two, "c", app="web")
        assert pods.listed(Filter()) == [first, second, third]
        assert pods.listed(Filter(sandbox_id=one)) == [first, second]
        assert pods.listed(Filter(state="running")) == [first]
        assert pods.listed(Filter(labels={"app": "web"}, sandbox_id=two)) == [third]
        assert pods.listed(Filter(id=first, labels={"app": "web"})) == []
        assert pods.containers.list("other", Filter()) == []

    async def test_a_list_hands_out_the_same_record_until_it_changes(self, pods: Pods) -> None:
        id_ = await pods.container(await pods.pod())
        (before,) = pods.containers.list(NAMESPACE, Filter())
        (again,) = pods.containers.list(NAMESPACE, Filter())
        assert again.container is before.container
        await pods.containers.start(NAMESPACE, id_)
        (after,) = pods.containers.list(NAMESPACE, Filter())
        assert (before.state, after.state) == (ContainerState.CREATED, ContainerState.RUNNING)

    async def test_new_limits_show_in_the_status(self, pods: Pods) -> None:
        id_ = await pods.running(await pods.pod())
        limits = replace(Resources(), cpu_shares=512)
        await pods.containers.update(NAMESPACE, id_, limits)
        assert pods.containers.get(NAMESPACE, id_).container.resources.cpu_shares == 512

    async def test_programs_run_only_in_running_containers(self, pods: Pods) -> None:
        pod = await pods.pod()
        created = await pods.container(pod, "created")
        with pytest.raises(FailedPreconditionError):
            await pods.containers.exec_sync(NAMESPACE, created, programs.SPEAK, 5)
        running = await pods.running(pod, "running")
        output = await pods.containers.exec_sync(NAMESPACE, running, programs.SPEAK, 5)
        assert output.exit_code == 0

    async def test_other_calls_about_the_unknown_are_errors(self, pods: Pods) -> None:
        with pytest.raises(NotFoundError):
            await pods.containers.start(NAMESPACE, "unknown")
        with pytest.raises(NotFoundError):
            await pods.containers.exec_sync(NAMESPACE, "unknown", programs.SPEAK, 5)
        with pytest.raises(NotFoundError):
            await pods.containers.update(NAMESPACE, "unknown", Resources())
        with pytest.raises(NotFoundError):
            await pods.containers.reopen_log(NAMESPACE, "unknown")


@dataclass(slots=True)
class Heard:
    """Follows events; `told` reads those there must be, as kind and name of what they are of."""

    events: AsyncIterator[PodEvent]
    names: dict[str, str]

    async def told(self, count: int) -> list[tuple[EventKind, str]]:
        async with asyncio.timeout(5):
            heard = [await anext(self.events) for _ in range(count)]
        return [(event.kind, self.names.get(event.id, event.id)) for event in heard]


class PodEventsContract:
    """A subclass supplies the fixture `pods`."""

    async def test_a_pods_life_is_told_in_order(self, pods: Pods) -> None:
        heard = Heard(pods.events.listen(NAMESPACE), {})
        pod = await pods.pod()
        container = await pods.running(pod)
        await pods.containers.stop(NAMESPACE, container, 0)
        await pods.containers.remove(NAMESPACE, container)
        await pods.sandboxes.stop(NAMESPACE, pod)
        await pods.sandboxes.remove(NAMESPACE, pod)
        heard.names = {pod: "pod", container: "main"}
        assert await heard.told(8) == [
            (EventKind.CREATED, "pod"),
            (EventKind.STARTED, "pod"),
            (EventKind.CREATED, "main"),
            (EventKind.STARTED, "main"),
            (EventKind.STOPPED, "main"),
            (EventKind.DELETED, "main"),
            (EventKind.STOPPED, "pod"),
            (EventKind.DELETED, "pod"),
        ]

    async def test_an_event_shows_the_whole_pod_as_it_was_then(self, pods: Pods) -> None:
        pod = await pods.pod()
        first = await pods.running(pod, "first")
        events = pods.events.listen(NAMESPACE)
        second = await pods.running(pod, "second")
        await pods.containers.stop(NAMESPACE, second, 0)
        created, started, stopped = [await anext(events) for _ in range(3)]

        def states(event: PodEvent) -> dict[str, ContainerState]:
            assert event.sandbox.id == pod
            assert event.id == second
            return {status.id: status.state for status in event.containers}

        running = ContainerState.RUNNING
        assert states(created) == {first: running, second: ContainerState.CREATED}
        assert states(started) == {first: running, second: running}
        assert states(stopped) == {first: running, second: ContainerState.EXITED}
        assert created.at <= started.at <= stopped.at

    async def test_an_end_shows_how_it_came(self, pods: Pods) -> None:
        container = await pods.running(await pods.pod())
        events = pods.events.listen(NAMESPACE)
        await pods.containers.stop(NAMESPACE, container, 0)
        (status,) = (await anext(events)).containers
        assert (status.exit_code, status.finished_at > 0) == (137, True)

    async def test_what_is_deleted_is_not_shown_any_more(self, pods: Pods) -> None:
        pod = await pods.pod()
        container = await pods.container(pod)
        events = pods.events.listen(NAMESPACE)
        await pods.sandboxes.remove(NAMESPACE, pod)
        heard = [await anext(events) for _ in range(4)]
        assert [event.kind for event in heard if event.id == container] == [
            EventKind.STOPPED,
            EventKind.DELETED,
        ]
        assert heard[-1].id == pod
        assert heard[-1].kind is EventKind.DELETED
        assert heard[-1].sandbox.config.metadata.uid == "uid-web"
        assert heard[-1].containers == ()

    async def test_everybody_hears_everything(self, pods: Pods) -> None:
        listeners = [Heard(pods.events.listen(NAMESPACE), {}) for _ in range(5)]
        pod = await pods.pod()
        for heard in listeners:
            assert await heard.told(2) == [(EventKind.CREATED, pod), (EventKind.STARTED, pod)]

    async def test_a_second_stop_is_no_event(self, pods: Pods) -> None:
        pod = await pods.pod()
        events = pods.events.listen(NAMESPACE)
        for _ in range(2):
            await pods.sandboxes.stop(NAMESPACE, pod)
        await pods.sandboxes.remove(NAMESPACE, pod)
        told = [(await anext(events)).kind for _ in range(2)]
        assert told == [EventKind.STOPPED, EventKind.DELETED]
