import pytest

from store import errors
from store.metadata import Namespace
from store.metadata.namespaces import Namespaces
from store.metadata.records import MemoryRecords


class Counts:
    def __init__(self) -> None:
        self.images = self.containers = 0

    async def of_images(self, namespace: str) -> int:
        return self.images if namespace == "one" else 0

    async def of_containers(self, namespace: str) -> int:
        return self.containers if namespace == "one" else 0


@pytest.fixture
def counts() -> Counts:
    return Counts()


@pytest.fixture
def namespaces(counts: Counts) -> Namespaces:
    return Namespaces(
        MemoryRecords[Namespace]("namespace"),
        {"images": counts.of_images, "containers": counts.of_containers},
    )


def test_a_namespace_is_made_on_first_use(namespaces: Namespaces) -> None:
    namespaces.ensure("k8s.io")
    namespaces.ensure("k8s.io")
    assert [name for name, _ in namespaces.walk()] == ["k8s.io"]
    assert namespaces.get("k8s.io").created_at > 0


def test_a_namespace_is_created_once(namespaces: Namespaces) -> None:
    namespaces.create("one", {"a": "b"})
    with pytest.raises(errors.AlreadyExistsError, match="one"):
        namespaces.create("one", {})
    assert namespaces.get("one").labels == {"a": "b"}


@pytest.mark.parametrize("name", ["a/b", "..", "version", "x" * 77])
def test_names_that_cannot_be(namespaces: Namespaces, name: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="namespace"):
        namespaces.ensure(name)
    assert list(namespaces.walk()) == []


def test_a_namespace_is_required(namespaces: Namespaces) -> None:
    with pytest.raises(errors.FailedPreconditionError, match="namespace is required"):
        namespaces.ensure("")


def test_labels_are_merged(namespaces: Namespaces) -> None:
    namespaces.create("one", {"a": "1", "b": "2"})
    assert namespaces.label("one", {"a": "", "c": "3"}).labels == {"b": "2", "c": "3"}
    with pytest.raises(errors.NotFoundError):
        namespaces.label("two", {})


async def test_only_an_empty_namespace_can_be_deleted(
    namespaces: Namespaces, counts: Counts
) -> None:
    namespaces.ensure("one")
    counts.images, counts.containers = 2, 1
    with pytest.raises(errors.FailedPreconditionError, match="it has 2 images, 1 containers"):
        await namespaces.delete("one")
    counts.images = counts.containers = 0
    await namespaces.delete("one")
    with pytest.raises(errors.NotFoundError, match="one"):
        await namespaces.delete("one")
