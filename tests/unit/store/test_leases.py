from collections.abc import Iterator
from pathlib import Path

import pytest

from store import errors, references
from store.database import Database
from store.digest import sha256
from store.leases import Leases
from store.references import Root

DIGEST = sha256(b"content")


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(tmp_path / "state.db") as database:
        yield database


@pytest.fixture
def leases(database: Database, clock: Clock) -> Leases:
    return Leases(database, "overlayfs", clock)


async def test_a_held_lease_keeps_things_for_its_block(leases: Leases) -> None:
    async with leases.lease("one") as lease:
        await lease.add_content(DIGEST)
        await lease.add_snapshot("key")
        await lease.add_ingest("ref")
        await lease.add_ingest("ref")
        assert [root.node for root in leases.roots()] == [
            references.content("one", DIGEST),
            references.snapshot("one", "overlayfs", "key"),
            references.ingest("one", "ref"),
        ]
        assert repr(lease) == "<Lease in one: 3 resources>"
    assert list(leases.roots()) == []


async def test_a_held_lease_ends_with_an_error(leases: Leases) -> None:
    async def fail() -> None:
        async with leases.lease("one") as lease:
            await lease.add_content(DIGEST)
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        await fail()
    assert list(leases.roots()) == []


async def test_only_created_leases_survive_a_restart(leases: Leases, database: Database) -> None:
    leases.create("one", "mine", {"a": "b"})
    leases.add("one", "mine", references.content("one", DIGEST))
    async with leases.lease("one") as lease:
        await lease.add_content(sha256(b"other"))
        again = Leases(database, "overlayfs")
    assert [(id_, lease.labels) for id_, lease in again.walk("one")] == [("mine", {"a": "b"})]
    node = references.content("one", DIGEST)
    assert list(again.roots()) == [Root(node=node, reason="lease mine")]


def test_resources_are_added_and_discarded(leases: Leases) -> None:
    leases.create("one", "mine", {})
    first, second = references.content("one", DIGEST), references.ingest("one", "ref")
    for node in (first, second, first):
        leases.add("one", "mine", node)
    assert leases.get("one", "mine").resources == (first, second)
    leases.discard("one", "mine", first)
    leases.discard("one", "mine", first)
    assert leases.get("one", "mine").resources == (second,)
    leases.delete("one", "mine")
    assert list(leases.roots()) == []


def test_unknown_and_taken_ids(leases: Leases) -> None:
    leases.create("one", "mine", {})
    with pytest.raises(errors.AlreadyExistsError, match="mine"):
        leases.create("one", "mine", {})
    with pytest.raises(errors.InvalidArgumentError, match="lease id"):
        leases.create("one", "a/b", {})
    node = references.content("two", DIGEST)
    with pytest.raises(errors.NotFoundError):
        leases.add("two", "mine", node)
    with pytest.raises(errors.NotFoundError):
        leases.discard("two", "mine", node)
    with pytest.raises(errors.NotFoundError):
        leases.delete("two", "mine")
    with pytest.raises(errors.NotFoundError):
        leases.get("two", "mine")


def test_a_lease_expires_by_its_label(leases: Leases, clock: Clock) -> None:
    expire = "containerd.io/gc.expire"
    leases.create("one", "short", {expire: "1970-01-01T00:00:02.5Z"})
    leases.create("one", "zoned", {expire: "1970-01-01T02:00:05+02:00"})
    leases.create("one", "long", {})
    assert leases.get("one", "short").expires_at == 2_500_000_000
    assert leases.expire() == []
    clock.now = 2_500_000_000
    assert leases.expire() == [("one", "short")]
    clock.now = 5_000_000_000
    assert leases.expire() == [("one", "zoned")]
    assert [id_ for id_, _ in leases.walk("one")] == ["long"]


@pytest.mark.parametrize("text", ["", "tomorrow", "1970-01-01T00:00:02", "x" * 1000])
def test_a_time_that_is_none_is_refused(leases: Leases, text: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match=r"containerd\.io/gc\.expire"):
        leases.create("one", "short", {"containerd.io/gc.expire": text})


def test_a_flat_lease_says_so(leases: Leases) -> None:
    leases.create("one", "flat", {"containerd.io/gc.flat": "true"})
    node = references.content("one", DIGEST)
    leases.add("one", "flat", node)
    assert list(leases.roots()) == [Root(node=node, reason="lease flat", flat=True)]


async def test_a_watcher_sees_what_was_leased_meanwhile(leases: Leases) -> None:
    leases.create("one", "mine", {})
    first, second = references.content("one", DIGEST), references.ingest("one", "ref")
    async with leases.lease("one") as before:
        await before.add_content(sha256(b"before"))
    with leases.watched() as seen:
        async with leases.lease("one") as lease:
            await lease.add_content(DIGEST)
        leases.add("one", "mine", second)
        assert seen == {first, second}
    async with leases.lease("one") as after:
        await after.add_content(sha256(b"after"))
    assert seen == {first, second}
