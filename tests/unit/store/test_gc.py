import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from store import errors, references
from store.content.local import LocalContent
from store.database import Database
from store.digest import Digest, sha256
from store.gc import Collector
from store.graph import Grace, Graph
from store.leases import Leases
from store.references import Root
from store.snapshots.overlay import OverlaySnapshotter
from tests.contracts.content import descriptor, put
from tests.contracts.snapshots import keys, layer


@dataclass
class Names:
    """Roots that a test sets: names of blobs and of snapshots."""

    blobs: dict[str, Digest] = field(default_factory=dict)
    snapshots: dict[str, str] = field(default_factory=dict)

    def roots(self) -> list[Root]:
        blobs = [
            Root(node=references.content("one", digest), reason=f"image {name}")
            for name, digest in self.blobs.items()
        ]
        snapshots = [
            Root(node=references.snapshot("one", "overlayfs", key), reason=f"container {name}")
            for name, key in self.snapshots.items()
        ]
        return blobs + snapshots


@dataclass
class House:
    content: LocalContent
    snapshotter: OverlaySnapshotter
    leases: Leases
    names: Names

    def collector(self, grace: Grace | None = None) -> Collector:
        grace = grace or Grace(active=0, ingest=0)
        graph = Graph(self.content, [self.snapshotter], lambda: ["one", "two"], grace)
        return Collector(graph, self.leases, [self.names])

    async def blobs(self, namespace: str = "one") -> set[Digest]:
        return {blob.digest async for blob in self.content.walk(namespace)}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with Database(tmp_path / "state.db") as database:
        yield House(
            LocalContent(tmp_path / "content", database),
            OverlaySnapshotter(tmp_path / "snapshots", database),
            Leases(database, "overlayfs"),
            Names(),
        )


async def image(house: House, name: str) -> dict[str, Digest]:
    """Make what a pull makes: an index, a manifest, a config, a layer and its snapshot."""
    made = {part: await put(house.content, f"{name} {part}".encode()) for part in PARTS}
    await layer(house.snapshotter, f"{name} chain")
    snapshot = {"containerd.io/gc.ref.snapshot.overlayfs": f"{name} chain"}
    await house.content.label("one", made["config"], snapshot)
    children = {
        "containerd.io/gc.ref.content.config": made["config"],
        "containerd.io/gc.ref.content.l.0": made["layer"],
    }
    await house.content.label("one", made["manifest"], children)
    manifest = {"containerd.io/gc.ref.content.m.0": made["manifest"]}
    await house.content.label("one", made["index"], manifest)
    return made


PARTS = ("index", "manifest", "config", "layer")


async def test_what_no_root_reaches_goes(house: House) -> None:
    kept, gone = await image(house, "kept"), await image(house, "gone")
    house.names.blobs["kept:1"] = kept["index"]
    result = await house.collector().collect()
    assert await house.blobs() == set(kept.values())
    assert await keys(house.snapshotter) == ["kept chain"]
    assert {node.key for node in result.removed} == {*gone.values(), "gone chain"}
    assert result.failed == ()
    assert not any(house.content.path(digest).exists() for digest in gone.values())
    assert len(list((house.content.path(kept["index"]).parent).iterdir())) == 4


async def test_a_plan_says_what_would_happen_and_why(house: House) -> None:
    kept, gone = await image(house, "kept"), await image(house, "gone")
    house.names.blobs["kept:1"] = kept["index"]
    await house.content.label("one", gone["layer"], {"containerd.io/gc.root": "yes"})
    plan = await house.collector().plan()
    reasons = {each.node.key: each.reason for each in plan.kept}
    assert reasons == {
        **dict.fromkeys([*kept.values(), "kept chain"], "image kept:1"),
        gone["layer"]: "label containerd.io/gc.root",
    }
    assert {node.key for node in plan.gone} == {
        gone["index"],
        gone["manifest"],
        gone["config"],
        "gone chain",
    }
    assert len(await house.blobs()) == 8


async def test_a_container_keeps_its_layers_when_the_image_is_gone(house: House) -> None:
    await image(house, "base")
    await house.snapshotter.prepare("one", "rootfs", "base chain")
    house.names.snapshots["c1"] = "rootfs"
    await house.collector().collect()
    assert await keys(house.snapshotter) == ["base chain", "rootfs"]
    assert await house.blobs() == set()
    del house.names.snapshots["c1"]
    await house.collector().collect()
    assert await keys(house.snapshotter) == []


async def test_a_mounted_snapshot_stays_though_its_record_is_lost(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await image(house, "base")
    await house.snapshotter.prepare("one", "rootfs", "base chain")
    await house.snapshotter.prepare("one", "other", "base chain")

    async def mounted() -> frozenset[tuple[str, str]]:
        return frozenset({("one", "rootfs")})

    monkeypatch.setattr(house.snapshotter, "mounted", mounted)
    plan = await house.collector().plan()
    reasons = {each.node.key: each.reason for each in plan.kept}
    assert reasons == {"rootfs": "it is mounted", "base chain": "it is mounted"}
    await house.collector().collect()
    assert await keys(house.snapshotter) == ["base chain", "rootfs"]


async def test_chains_go_from_the_top(house: House) -> None:
    parent = None
    for number in range(60):
        await layer(house.snapshotter, f"layer {number}", parent)
        parent = f"layer {number}"
    result = await house.collector().collect()
    assert (len(result.removed), result.failed) == (60, ())
    assert await keys(house.snapshotter) == []


async def test_leases_keep_things_deeply_or_flat(house: House) -> None:
    deep, flat = await image(house, "deep"), await image(house, "flat")
    house.leases.create("one", "deep", {})
    house.leases.add("one", "deep", references.content("one", deep["index"]))
    house.leases.create("one", "flat", {"containerd.io/gc.flat": "true"})
    house.leases.add("one", "flat", references.content("one", flat["index"]))
    await house.collector().collect()
    assert await house.blobs() == {*deep.values(), flat["index"]}
    assert await keys(house.snapshotter) == ["deep chain"]


async def test_an_expired_lease_keeps_nothing(house: House) -> None:
    made = await image(house, "old")
    labels = {"containerd.io/gc.expire": "2020-01-01T00:00:00Z"}
    house.leases.create("one", "old", labels)
    house.leases.add("one", "old", references.content("one", made["index"]))
    await house.collector().collect()
    assert await house.blobs() == set()
    assert list(house.leases.walk("one")) == []


async def test_namespaces_are_looked_at_apart(house: House) -> None:
    made = await image(house, "shared")
    house.names.blobs["shared:1"] = made["index"]
    await house.content.share("two", made["layer"], {})
    await house.content.share("three", made["layer"], {})
    await house.collector().collect()
    assert await house.blobs("one") == set(made.values())
    assert await house.blobs("two") == set()
    assert await house.blobs("three") == {made["layer"]}


async def test_unfinished_writes_and_open_snapshots_have_a_grace(house: House) -> None:
    async with house.content.ingest("one", "ref", descriptor(b"0123456789")) as ingest:
        await ingest.write(b"01234")
    await house.snapshotter.prepare("one", "rootfs", None)
    plan = await house.collector(Grace()).plan()
    assert {each.node.key: each.reason for each in plan.kept} == {
        "ref": "it is new",
        "rootfs": "it is new",
    }
    await house.collector(Grace()).collect()
    assert len(await house.content.ingests()) == 1
    result = await house.collector().collect()
    assert {node.key for node in result.removed} == {"ref", "rootfs"}
    assert await house.content.ingests() == []
    assert await keys(house.snapshotter) == []


async def test_an_open_write_is_not_taken(house: House) -> None:
    async with house.content.ingest("one", "ref", descriptor(b"0123456789")) as ingest:
        await ingest.write(b"01234")
        result = await house.collector().collect()
        assert [why for _, why in result.failed] == ["cannot abort the write ref: it is open"]
        await ingest.write(b"56789")
        await ingest.commit()


async def test_what_is_leased_or_named_during_a_collection_stays(house: House) -> None:
    """A pull finds garbage useful after it was marked, and is done before it would be removed."""
    made = await image(house, "found")
    other = await put(house.content, b"other")
    marking = asyncio.Event()

    class Slow:
        def roots(self) -> list[Root]:
            marking.set()
            missing = references.content("one", sha256(b"missing"))
            return [Root(node=missing, reason="many")] * 500

    async def pull() -> None:
        await marking.wait()
        async with house.leases.lease("one") as lease:
            for digest in made.values():
                await lease.add_content(digest)
                await house.content.info("one", digest)
            await lease.add_snapshot("found chain")
        house.names.blobs["found:1"] = made["index"]

    graph = Graph(house.content, [house.snapshotter], lambda: ["one"], Grace(active=0, ingest=0))
    collector = Collector(graph, house.leases, [Slow(), house.names])
    async with asyncio.TaskGroup() as group:
        group.create_task(pull())
        collection = group.create_task(collector.collect())
    assert [node.key for node in collection.result().removed] == [other]
    assert await house.blobs() == set(made.values())
    assert await keys(house.snapshotter) == ["found chain"]


async def test_a_second_collection_waits_for_the_first(house: House) -> None:
    await image(house, "gone")
    collector = house.collector()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(collector.collect())
        second = group.create_task(collector.collect())
    assert len(first.result().removed) == 5
    assert second.result().removed == ()


async def test_what_cannot_be_removed_is_said_and_the_rest_goes(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await image(house, "gone")
    delete = house.content.delete

    async def fail(namespace: str, digest: Digest) -> None:
        if digest == made["layer"]:
            raise errors.ResourceExhaustedError("no")
        await delete(namespace, digest)

    monkeypatch.setattr(house.content, "delete", fail)
    result = await house.collector().collect()
    assert result.failed == ((references.content("one", made["layer"]), "no"),)
    assert await house.blobs() == {made["layer"]}


@pytest.mark.parametrize("seed", range(5))
async def test_nothing_in_use_is_ever_lost_beside_writers(house: House, seed: int) -> None:
    """Pulls share layers, remove each other's names, and always find what they hold."""
    chance = random.Random(seed)  # noqa: S311 - a reproducible order, not a secret
    collector = house.collector()
    working = 4

    async def pull(worker: int) -> None:
        nonlocal working
        for turn in range(12):
            name = f"image {chance.randrange(6)}"
            async with house.leases.lease("one") as lease:
                digest = await _fetch(house, lease.add_content, name, chance)
                house.names.blobs[f"{name} by {worker}"] = digest
            await asyncio.sleep(0)
            await _check(house, digest, name)
            if chance.random() < 0.7:
                del house.names.blobs[f"{name} by {worker}"]
            for _ in range(turn % 3):
                await asyncio.sleep(0)
        working -= 1

    async def collect() -> None:
        while working:
            await collector.collect()

    async with asyncio.TaskGroup() as group:
        for worker in range(4):
            group.create_task(pull(worker))
        group.create_task(collect())
    house.names.blobs.clear()
    await collector.collect()
    assert await house.blobs() == set()


async def _fetch(
    house: House, keep: Callable[[str], Awaitable[None]], name: str, chance: random.Random
) -> Digest:
    number = int(name.split()[1])
    parts = [f"layer {number % 2}".encode(), f"layer {number}".encode()]
    labels = {}
    for index, part in enumerate(parts):
        digest = sha256(part)
        await keep(digest)
        try:
            await house.content.info("one", digest)
        except errors.NotFoundError:
            await asyncio.sleep(0)
            await _put(house, part)
        labels[f"containerd.io/gc.ref.content.l.{index}"] = digest
        if chance.random() < 0.5:
            await asyncio.sleep(0)
    await keep(sha256(name.encode()))
    digest = await _put(house, name.encode())
    await house.content.label("one", digest, labels)
    return digest


async def _put(house: House, data: bytes) -> Digest:
    try:
        return await put(house.content, data)
    except errors.UnavailableError:  # another worker writes it
        await asyncio.sleep(0)
        return await _put(house, data)


async def _check(house: House, digest: Digest, name: str) -> None:
    blob = await house.content.info("one", digest)
    for value in blob.labels.values():
        assert (await house.content.info("one", Digest(value))).digest == value, name
