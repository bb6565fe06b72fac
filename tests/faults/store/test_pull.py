"""Every step of a pull fails once: nothing is named, nothing half-made stays, a retry works."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest

from store.errors import ResourceExhaustedError
from store.images.store import Images
from tests.fakes.registry import FakeRegistry, serving
from tests.pulling import NAMESPACE, Built, Node
from tests.waiting import until

P = ParamSpec("P")
T = TypeVar("T")


class Switch:
    """Counts calls, and fails or cancels at one of them."""

    def __init__(self) -> None:
        self.at = -1
        self.cancel: asyncio.Task[object] | None = None
        self.calls: list[str] = []

    def arm(self, target: object) -> None:
        """Put itself before every step that `target` takes."""
        for name in STEPS & set(dir(target)):
            setattr(target, name, self._guard(name, getattr(target, name)))

    def _guard(self, name: str, method: Callable[P, T]) -> Callable[P, T]:

        def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
            self.calls.append(name)
            if len(self.calls) - 1 == self.at:
                if self.cancel is None:
                    raise ResourceExhaustedError(f"cannot {name}: no space left")
                self.cancel.cancel()
            return method(*args, **kwargs)

        return guarded


STEPS = frozenset(
    {
        *("lease", "prepare", "upper", "commit", "layers", "stat"),
        *("info", "read", "share", "ingest", "label", "sync"),
        *("unpack", "complete", "add"),
    }
)


class FaultyNode(Node):
    """A node whose stores share a switch."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.switch = Switch()
        for target in (
            self.content,
            self.snapshotter,
            self.fake_unpacker,
            self.protection,
            self.records,
        ):
            self.switch.arm(target)


@pytest.fixture
async def server() -> AsyncIterator[FakeRegistry]:
    async with serving() as registry:
        Built().push(registry, "app", "v1")
        yield registry


@pytest.fixture
def node(tmp_path: Path) -> Iterator[FaultyNode]:
    node = FaultyNode(tmp_path)
    yield node
    node.close()


async def check(server: FakeRegistry, node: FaultyNode, images: Images) -> None:
    """Fail if the broken pull has left anything that shows, or stands in the way."""
    name = f"{server.host}/app:v1"
    assert len(list(node.records.walk())) == 2 * len(images.list(NAMESPACE))
    await until(lambda: not node.protection.held)  # a cancelled pull clears up by itself
    await node.check_nothing_half_made()
    image = await images.pull(NAMESPACE, name)
    assert images.find(NAMESPACE, name) == image
    assert len(await node.snapshotter.layers(NAMESPACE, image.chain_id)) == 2


async def steps(tmp_path: Path, server: FakeRegistry) -> int:
    """Return how many calls a pull makes."""
    node = FaultyNode(tmp_path / "counted")
    async with node.images() as images:
        await images.pull(NAMESPACE, f"{server.host}/app:v1")
    node.close()
    return len(node.switch.calls)


async def test_each_step_may_fail(server: FakeRegistry, tmp_path: Path) -> None:
    (tmp_path / "counted").mkdir()
    count = await steps(tmp_path, server)
    assert count > 30
    for at in range(count):
        root = tmp_path / f"failing {at}"
        root.mkdir()
        node = FaultyNode(root)
        async with node.images() as images:
            node.switch.at = at
            with pytest.raises(ResourceExhaustedError, match="no space left"):
                await images.pull(NAMESPACE, f"{server.host}/app:v1")
            assert images.list(NAMESPACE) == []
            await check(server, node, images)
        node.close()


async def test_each_step_may_be_the_last_before_a_cancellation(
    server: FakeRegistry, tmp_path: Path
) -> None:
    (tmp_path / "counted").mkdir()
    for at in range(await steps(tmp_path, server)):
        root = tmp_path / f"cancelled {at}"
        root.mkdir()
        node = FaultyNode(root)
        async with node.images() as images, asyncio.TaskGroup() as group:
            pull = images.pull(NAMESPACE, f"{server.host}/app:v1")
            node.switch.at, node.switch.cancel = at, group.create_task(pull)
            await asyncio.wait([node.switch.cancel])
            if node.switch.cancel.cancelled():
                await check(server, node, images)
        node.close()
