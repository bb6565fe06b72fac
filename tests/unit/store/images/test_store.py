import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import web

from store.digest import Digest, sha256
from store.errors import (
    DataLossError,
    Error,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
    UnavailableError,
)
from store.images import Credentials, Progress, manifest
from store.images.store import Images
from tests.fakes.registry import FakeRegistry, Handler, fixed, once, serving
from tests.pulling import GZIP, NAMESPACE, Built, Node, describe, tar
from tests.waiting import PATIENCE, until


@pytest.fixture
async def server() -> AsyncIterator[FakeRegistry]:
    async with serving() as registry:
        yield registry


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path)
    yield node
    node.close()


@pytest.fixture
async def images(node: Node) -> AsyncIterator[Images]:
    async with node.images() as images:
        yield images
    await node.check_nothing_half_made()


async def test_an_image_is_pulled_unpacked_and_named(
    server: FakeRegistry, node: Node, images: Images
) -> None:
    built = Built(run={"User": "7"})
    digest = built.push(server, "app", "v1")
    image = await images.pull(NAMESPACE, f"{server.host}/app:v1")
    assert image.id == built.id
    assert image.repo_tags == (f"{server.host}/app:v1",)
    assert image.repo_digests == (f"{server.host}/app@{digest}",)
    assert image.names == (f"{server.host}/app:v1", f"{server.host}/app@{digest}")
    assert image.size == built.size
    assert image.config.user == "7"
    assert image.manifest.digest == sha256(built.manifest)
    assert not image.pinned
    layers = await node.snapshotter.layers(NAMESPACE, image.chain_id)
    assert [sorted(path.name for path in layer.iterdir()) for layer in layers] == [["b"], ["a"]]
    assert [lowers for _, lowers in node.fake_unpacker.completed] == [(), layers[1:]]
    assert await node.blobs() == {
        digest,
        sha256(built.manifest),
        built.id,
        *map(sha256, built.blobs),
    }


async def test_documents_keep_what_they_refer_to(
    server: FakeRegistry, node: Node, images: Images
) -> None:
    built = Built()
    digest = built.push(server, "app", "v1")
    image = await images.pull(NAMESPACE, f"{server.host}/app:v1")

    async def references(of: Digest) -> dict[str, str]:
        labels = (await node.content.info(NAMESPACE, of)).labels
        return {key: value for key, value in labels.items() if "gc.ref" in key}

    source = {f"containerd.io/distribution.source.{server.host}": "app"}
    assert source.items() <= (await node.content.info(NAMESPACE, digest)).labels.items()
    assert await references(digest) == {"containerd.io/gc.ref.content.m.0": sha256(built.manifest)}
    assert await references(sha256(built.manifest)) == {
        "containerd.io/gc.ref.content.config": built.id,
        "containerd.io/gc.ref.content.l.0": sha256(built.blobs[0]),
        "containerd.io/gc.ref.content.l.1": sha256(built.blobs[1]),
    }
    assert await references(built.id) == {"containerd.io/gc.ref.snapshot.overlayfs": image.chain_id}


async def test_all_that_is_made_is_protected_until_it_has_a_name(
    server: FakeRegistry, node: Node, images: Images
) -> None:
    built = Built()
    built.push(server, "app", "v1")
    image = await images.pull(NAMESPACE, f"{server.host}/app:v1")
    (lease,) = node.protection.ended
    assert {f"content {digest}" for digest in await node.blobs()} <= set(lease.added)
    assert f"snapshot {image.chain_id}" in lease.added
    extracts = [name for name in lease.added if name.startswith("snapshot extract-")]
    assert len(extracts) == 2
    assert f"ingest layer-{sha256(built.blobs[0])}" in lease.added


async def test_lookups_agree(server: FakeRegistry, images: Images) -> None:
    digest = Built().push(server, "app", "latest")
    image = await images.pull(NAMESPACE, f"{server.host}/app")
    hexadecimal = image.id.removeprefix("sha256:")
    for name in (
        f"{server.host}/app",
        f"{server.host}/app:latest",
        f"{server.host}/app@{digest}",
        f"{server.host}/app:other@{digest}",
        image.id,
        hexadecimal,
        hexadecimal[:13],
        f"sha256:{hexadecimal[:5]}",
    ):
        assert images.find(NAMESPACE, name) is image
    assert images.list(NAMESPACE) == [image]
    assert images.find("other", image.id) is None
    assert images.find(NAMESPACE, "app") is None
    assert images.find(NAMESPACE, hexadecimal[:5]) is None
    with pytest.raises(InvalidArgumentError):
        images.find(NAMESPACE, "Not A Name")


async def test_a_digest_pull_has_no_tag(server: FakeRegistry, images: Images) -> None:
    digest = Built().push(server, "app", "v1")
    image = await images.pull(NAMESPACE, f"{server.host}/app@{digest}")
    assert (image.repo_tags, image.repo_digests) == ((), (f"{server.host}/app@{digest}",))


async def test_the_same_content_elsewhere_is_the_same_image(
    server: FakeRegistry, node: Node, images: Images
) -> None:
    async with serving() as other:
        built = Built()
        built.push(server, "app", "v1")
        built.push(server, "app", "v2", index=False)
        built.push(other, "copy", "v1")
        first = await images.pull(NAMESPACE, f"{server.host}/app:v1")
        asked = len(server.asked("blobs"))
        await images.pull(NAMESPACE, f"{server.host}/app:v2")
        image = await images.pull(NAMESPACE, f"{other.host}/copy:v1")
        assert image.id == first.id
        assert image.repo_tags == tuple(
            sorted([f"{server.host}/app:v1", f"{server.host}/app:v2", f"{other.host}/copy:v1"])
        )
        assert len(image.repo_digests) == 3
        assert images.list(NAMESPACE) == [image]
        assert len(server.asked("blobs")) == asked
        assert other.asked("blobs") == []
        assert len(node.fake_unpacker.unpacked) == 2


async def test_a_tag_that_moves_takes_its_name_along(server: FakeRegistry, images: Images) -> None:
    name = f"{server.host}/app:v1"
    old_digest = Built().push(server, "app", "v1")
    old = await images.pull(NAMESPACE, name)
    new_built = Built(layers=[tar(c="c")])
    new_built.push(server, "app", "v1")
    new = await images.pull(NAMESPACE, name)
    assert new.id == new_built.id
    assert images.find(NAMESPACE, name) == new
    left = images.find(NAMESPACE, old.id)
    assert left is not None
    assert (left.repo_tags, left.repo_digests) == ((), (f"{server.host}/app@{old_digest}",))


async def test_layers_that_are_there_are_not_fetched(
    server: FakeRegistry, node: Node, images: Images
) -> None:
    base = tar(base="base")
    Built(layers=[base, tar(one="1")]).push(server, "one", "v1")
    second = Built(layers=[base, tar(two="2")])
    second.push(server, "two", "v1")
    await images.pull(NAMESPACE, f"{server.host}/one:v1")
    await images.pull(NAMESPACE, f"{server.host}/two:v1")
    assert [path for path in server.asked("blobs") if path.startswith("GET /v2/two")] == [
        f"GET /v2/two/blobs/{second.id}",
        f"GET /v2/two/blobs/{sha256(second.blobs[1])}",
    ]
    assert len(node.fake_unpacker.unpacked) == 3


async def test_a_layer_may_occur_twice(server: FakeRegistry, node: Node, images: Images) -> None:
    same = tar(same="x")
    built = Built(layers=[same, tar(b="b"), same])
    built.push(server, "app", "v1")
    image = await images.pull(NAMESPACE, f"{server.host}/app:v1")
    assert len(await node.snapshotter.layers(NAMESPACE, image.chain_id)) == 3
    assert len(server.asked(sha256(built.blobs[0]))) == 1


async def test_an_image_may_have_no_layers(server: FakeRegistry, images: Images) -> None:
    Built(layers=[]).push(server, "app", "v1")
    assert (await images.pull(NAMESPACE, f"{server.host}/app:v1")).chain_id == ""


async def test_namespaces_share_bytes_but_not_names(
    server: FakeRegistry, node: Node, images: Images
) -> None:
    Built().push(server, "app", "v1")
    name = f"{server.host}/app:v1"
    await images.pull(NAMESPACE, name)
    gets = [path for path in server.asked() if path.startswith("GET")]
    image = await images.pull("other", name)
    assert [path for path in server.asked() if path.startswith("GET")] == gets
    await images.remove(NAMESPACE, name)
    assert images.find("other", name) == image
    assert {blob.digest async for blob in node.content.walk("other")} == await node.blobs()


async def test_progress_is_told(server: FakeRegistry, images: Images) -> None:
    built = Built()
    built.push(server, "app", "v1")
    told: list[Progress] = []
    await images.pull(NAMESPACE, f"{server.host}/app:v1", report=told.append)
    assert told[0] == Progress(stage="resolve", item=f"{server.host}/app:v1")
    assert told[-1] == Progress(stage="publish", item=f"{server.host}/app:v1")
    for stage in ("download", "unpack"):
        for blob in built.blobs:
            size = len(blob)
            end = Progress(stage=stage, item=sha256(blob), done=size, total=size)
            assert end in told


async def test_names_are_found_again_after_a_restart(server: FakeRegistry, node: Node) -> None:
    Built(run={"User": "7"}).push(server, "app", "v1")
    async with node.images() as images:
        image = await images.pull(NAMESPACE, f"{server.host}/app:v1")
    async with node.images() as images:
        assert images.list(NAMESPACE) == [image]


async def test_an_image_that_is_not_whole_is_not_listed(server: FakeRegistry, node: Node) -> None:
    built = Built()
    built.push(server, "app", "v1")
    name = f"{server.host}/app:v1"
    async with node.images() as images:
        whole = await images.pull(NAMESPACE, name)
    await node.content.delete(NAMESPACE, built.id)
    async with node.images() as images:
        assert images.list(NAMESPACE) == []
        assert await images.pull(NAMESPACE, name) == whole
    await node.snapshotter.remove(NAMESPACE, whole.chain_id)
    async with node.images() as images:
        assert images.find(NAMESPACE, name) is None
        assert await images.pull(NAMESPACE, name) == whole


# Removal, pins and events.


async def test_removing_by_any_name_removes_all(
    server: FakeRegistry, node: Node, images: Images
) -> None:
    Built().push(server, "app", "v1")
    Built().push(server, "copy", "v1")
    for name in ("id", "tag", "digest"):
        await images.pull(NAMESPACE, f"{server.host}/app:v1")
        image = await images.pull(NAMESPACE, f"{server.host}/copy:v1")
        by = {"id": image.id, "tag": image.repo_tags[0], "digest": image.repo_digests[1]}[name]
        await images.remove(NAMESPACE, by)
        assert images.list(NAMESPACE) == []
        assert images.find(NAMESPACE, image.id) is None
        await images.remove(NAMESPACE, by)
    assert list(node.records.walk()) == []


async def test_a_pinned_image_stays(server: FakeRegistry, node: Node) -> None:
    Built().push(server, "pause", "v1")
    async with node.images(pins=["*pause*"]) as images:
        image = await images.pull(NAMESPACE, f"{server.host}/pause:v1")
        assert image.pinned
        with pytest.raises(FailedPreconditionError, match="pinned"):
            await images.remove(NAMESPACE, image.id)
        assert images.list(NAMESPACE) == [image]


async def test_events_follow_what_happens(server: FakeRegistry, images: Images) -> None:
    name = f"{server.host}/app:v1"
    heard: list[tuple[str, str]] = []

    async def listen() -> None:
        async for event in images.events():
            heard.append(event)  # noqa: PERF401 - it is read while this goes on

    async with asyncio.TaskGroup() as group:
        listener = group.create_task(listen())
        await asyncio.sleep(0)
        one = Built().push(server, "app", "v1")
        await images.pull(NAMESPACE, name)
        await images.pull(NAMESPACE, name)
        two = Built(layers=[]).push(server, "app", "v1")
        image = await images.pull(NAMESPACE, name)
        await images.remove(NAMESPACE, image.id)
        await asyncio.sleep(0)
        listener.cancel()
    repository = f"{server.host}/app"
    assert heard == [
        ("/images/create", f"{repository}@{one}"),
        ("/images/create", name),
        ("/images/create", f"{repository}@{two}"),
        ("/images/update", name),
        ("/images/delete", name),
        ("/images/delete", f"{repository}@{two}"),
    ]


# Sharing and cancellation.


def held(release: asyncio.Event, then: Handler) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        await release.wait()
        return await then(request)

    return answer


async def test_callers_share_a_pull(server: FakeRegistry, images: Images) -> None:
    Built().push(server, "app", "v1")
    release = asyncio.Event()
    server.on("manifests/v1", held(release, server.honest))
    name = f"{server.host}/app:v1"
    told: list[Progress] = []
    async with asyncio.TaskGroup() as group:
        first = group.create_task(images.pull(NAMESPACE, name))
        await until(server.asked)
        others = [group.create_task(images.pull(NAMESPACE, name, report=told.append)) for _ in "ab"]
        impatient = group.create_task(images.pull(NAMESPACE, name))
        other = group.create_task(images.pull(NAMESPACE, name, credentials=Credentials()))
        await asyncio.sleep(0)
        impatient.cancel()
        first.cancel()
        release.set()
        results = [await task for task in others]
    assert results[0] is results[1]
    assert other.result().id == results[0].id
    assert server.asked("manifests/v1") == ["HEAD /v2/app/manifests/v1"] * 2
    assert told


@pytest.mark.parametrize("width", [1, 4])
async def test_as_many_layers_are_fetched_at_once_as_configured(
    server: FakeRegistry, node: Node, width: int
) -> None:
    built = Built(layers=[tar(**{f"f{n}": str(n)}) for n in range(6)])
    built.push(server, "app", "v1")
    fetching: set[str] = set()
    peak = 0
    full = asyncio.Event()

    async def gather(request: web.Request) -> web.StreamResponse:
        nonlocal peak
        if built.id in request.path:  # the config goes ahead of the layers
            return await server.honest(request)
        fetching.add(request.path)
        peak = max(peak, len(fetching))
        if peak >= width:
            full.set()
        await full.wait()
        answer = await server.honest(request)
        fetching.discard(request.path)
        return answer

    server.on("blobs/", gather)
    async with node.images(downloads=width) as images, asyncio.timeout(PATIENCE):
        await images.pull(NAMESPACE, f"{server.host}/app:v1")
    assert peak == width


async def test_a_failure_is_everybodys(server: FakeRegistry, images: Images) -> None:
    release = asyncio.Event()
    server.on("manifests/v1", held(release, server.honest))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_error(images, f"{server.host}/app:v1")) for _ in "ab"]
        await until(server.asked)
        release.set()
    assert [type(task.result()) for task in tasks] == [NotFoundError, NotFoundError]
    assert len(server.requests) == 1


async def _error(images: Images, name: str) -> BaseException | None:
    try:
        await images.pull(NAMESPACE, name)
    except Error as error:
        return error
    return None


async def test_a_pull_ends_with_the_last_who_waits(
    server: FakeRegistry, node: Node, images: Images
) -> None:
    built = Built()
    built.push(server, "app", "v1")
    release = asyncio.Event()
    server.on(sha256(built.blobs[1]), held(release, server.honest))
    name = f"{server.host}/app:v1"
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(images.pull(NAMESPACE, name)) for _ in "ab"]
        await until(lambda: server.asked(sha256(built.blobs[1])))
        tasks[0].cancel()
        await asyncio.sleep(0.01)
        assert node.protection.held
        tasks[1].cancel()
    await until(lambda: not node.protection.held)
    await node.check_nothing_half_made()
    assert images.list(NAMESPACE) == []
    release.set()
    assert (await images.pull(NAMESPACE, name)).id == built.id


@pytest.mark.parametrize("milliseconds", [0, 1, 2, 5, 10, 20])
async def test_a_short_deadline_surfaces_as_one(
    server: FakeRegistry, node: Node, images: Images, milliseconds: int
) -> None:
    built = Built()
    built.push(server, "app", "v1")
    name = f"{server.host}/app:v1"
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(milliseconds / 1000):
            await images.pull(NAMESPACE, name)
    assert (await images.pull(NAMESPACE, name)).id == built.id
    await until(lambda: not node.protection.held)
    await node.check_nothing_half_made()


async def test_leaving_ends_what_is_under_way(server: FakeRegistry, node: Node) -> None:
    server.on("manifests", held(asyncio.Event(), server.honest))
    async with asyncio.TaskGroup() as group:
        async with node.images() as images:
            task = group.create_task(images.pull(NAMESPACE, f"{server.host}/app:v1"))
            await until(server.asked)
        with pytest.raises(asyncio.CancelledError):
            await task
    await node.check_nothing_half_made()


async def test_images_that_share_a_layer_fetch_it_once(
    server: FakeRegistry, node: Node, images: Images
) -> None:
    base = tar(base="base")
    one, two = Built(layers=[base, tar(one="1")]), Built(layers=[base, tar(two="2")])
    one.push(server, "one", "v1")
    two.push(server, "two", "v1")
    release = asyncio.Event()
    server.on(sha256(one.blobs[0]), held(release, server.honest))
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(images.pull(NAMESPACE, f"{server.host}/{name}:v1"))
            for name in ("one", "two")
        ]
        await until(lambda: server.asked(sha256(two.blobs[1])))
        release.set()
    assert {task.result().id for task in tasks} == {one.id, two.id}
    assert len(server.asked(sha256(one.blobs[0]))) == 1
    assert len(node.fake_unpacker.unpacked) == 3


async def test_who_waited_for_a_layer_goes_on_when_the_other_leaves(
    server: FakeRegistry, images: Images
) -> None:
    base = tar(base="base" * 1000)
    one, two = Built(layers=[base, tar(one="1")]), Built(layers=[base, tar(two="2")])
    one.push(server, "one", "v1")
    two.push(server, "two", "v1")
    server.on(sha256(one.blobs[0]), once(held(asyncio.Event(), server.honest), server.honest))
    async with asyncio.TaskGroup() as group:
        first = group.create_task(images.pull(NAMESPACE, f"{server.host}/one:v1"))
        await until(lambda: server.asked(sha256(one.blobs[0])))
        second = group.create_task(images.pull(NAMESPACE, f"{server.host}/two:v1"))
        await until(lambda: server.asked(sha256(two.blobs[1])))
        first.cancel()
    assert second.result().id == two.id


# A registry that lies.


def lie(data: bytes) -> Handler:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=data, headers={"Content-Type": manifest.OCI_MANIFEST})

    return answer


async def refused(
    server: FakeRegistry, node: Node, images: Images, error: type[Error], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        await images.pull(NAMESPACE, f"{server.host}/app:v1")
    assert images.list(NAMESPACE) == []
    assert list(node.records.walk()) == []
    await node.check_nothing_half_made()


async def test_a_layer_of_another_digest_is_refused_and_dropped(
    server: FakeRegistry, node: Node, images: Images
) -> None:
    built = Built()
    built.push(server, "app", "v1")
    digest = sha256(built.blobs[0])
    server.on(digest, lie(bytes(len(built.blobs[0]))))
    await refused(server, node, images, DataLossError, digest)
    assert f"layer-{digest}" not in [left.ref for left in await node.content.ingests()]
    assert digest not in await node.blobs()
    server.on(digest, server.honest)
    assert (await images.pull(NAMESPACE, f"{server.host}/app:v1")).id == built.id


async def test_a_layer_that_is_not_what_the_config_promises_is_refused(
    server: FakeRegistry, node: Node, images: Images
) -> None:
    layers = [tar(a="a"), tar(b="b")]
    diff_ids = [sha256(layers[0]), sha256(b"something else")]
    Built(layers=layers, diff_ids=diff_ids).push(server, "app", "v1")
    await refused(server, node, images, DataLossError, "the config promises")
    assert await node.snapshots() in ({}, {diff_ids[0]: "committed"})


async def test_a_config_of_another_digest_is_refused(
    server: FakeRegistry, node: Node, images: Images
) -> None:
    built = Built()
    built.push(server, "app", "v1")
    server.on(built.id, lie(Built(run={"User": "0"}).config))
    await refused(server, node, images, DataLossError, built.id)
    assert await node.snapshots() == {}


async def test_a_truncated_layer_is_refused_and_resumed(
    server: FakeRegistry, node: Node, images: Images
) -> None:
    built = Built(layers=[tar(a="a" * 100_000)])
    built.push(server, "app", "v1")
    blob = built.blobs[0]

    async def broken(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(blob))})
        if "Range" in request.headers:
            return web.Response(status=503)
        await response.prepare(request)
        await response.write(blob[:100])
        assert request.transport is not None
        request.transport.close()
        return response

    server.on(sha256(blob), broken)
    await refused(server, node, images, UnavailableError, "RegistryUnavailable: .*answers 503")
    (left,) = await node.content.ingests()
    assert (left.ref, left.offset) == (f"layer-{sha256(blob)}", 100)
    server.on(sha256(blob), server.honest)
    assert (await images.pull(NAMESPACE, f"{server.host}/app:v1")).id == built.id
    assert server.sent("Range")[-1] == "bytes=100-"


async def test_a_layer_that_cannot_fit_is_not_begun(
    server: FakeRegistry, node: Node, images: Images
) -> None:
    built = Built()
    document = json.loads(built.manifest)
    document["layers"][0]["size"] = 2**62
    built.push(server, "app", "v1")
    server.add_manifest("app", "v1", manifest.OCI_MANIFEST, json.dumps(document).encode())
    await refused(server, node, images, ResourceExhaustedError, "are free")
    assert server.asked(sha256(built.blobs[0])) == []


async def test_an_index_without_this_platform_says_what_it_has(
    server: FakeRegistry, node: Node, images: Images
) -> None:
    entry = describe(b"{}", manifest.OCI_MANIFEST)
    platform = {"os": "linux", "architecture": "s390x"}
    index = {"schemaVersion": 2, "manifests": [{**entry, "platform": platform}]}
    server.add_manifest("app", "v1", manifest.OCI_INDEX, json.dumps(index).encode())
    await refused(server, node, images, NotFoundError, "linux/amd64/v1, only linux/s390x")


async def test_indexes_do_not_lead_to_each_other_for_ever(
    server: FakeRegistry, node: Node, images: Images
) -> None:
    inner = b'{"schemaVersion": 2, "manifests": []}'
    for _ in range(6):
        server.add_manifest("app", "v1", manifest.OCI_INDEX, inner)
        index = {"schemaVersion": 2, "manifests": [describe(inner, manifest.OCI_INDEX)]}
        inner = json.dumps(index).encode()
    server.add_manifest("app", "v1", manifest.OCI_INDEX, inner)
    await refused(server, node, images, DataLossError, "lead to each other")


async def test_an_ambiguous_document_is_refused(
    server: FakeRegistry, node: Node, images: Images
) -> None:
    built = Built()
    document = {**json.loads(built.manifest), "manifests": []}
    server.add_manifest("app", "v1", manifest.OCI_MANIFEST, json.dumps(document).encode())
    await refused(server, node, images, DataLossError, "both an index and a manifest")


async def test_what_names_another_type_is_refused(
    server: FakeRegistry, node: Node, images: Images
) -> None:
    server.add_manifest("app", "v1", manifest.OCI_INDEX, Built().manifest)
    await refused(server, node, images, DataLossError, "calls itself")


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        (404, NotFoundError, "answers 404"),
        (403, PermissionDeniedError, "answers 403"),
        (500, UnavailableError, "^RegistryUnavailable: "),
    ],
)
async def test_the_kind_of_failure_is_told(
    server: FakeRegistry,
    node: Node,
    images: Images,
    status: int,
    error: type[Error],
    reason: str,
) -> None:
    server.on("v2", fixed(status))
    await refused(server, node, images, error, reason)


async def test_a_reference_that_is_none_asks_nobody(images: Images) -> None:
    with pytest.raises(InvalidArgumentError, match="cannot read image reference"):
        await images.pull(NAMESPACE, "no/../such")


async def test_a_lying_mirror_does_not_stop_a_pull(
    server: FakeRegistry, node: Node, images: Images
) -> None:
    built = Built()
    built.push(server, "app", "v1")
    async with serving() as mirror:
        built.push(mirror, "app", "v1")
        for blob in built.blobs:
            mirror.on(sha256(blob), lie(bytes(len(blob))))
        here = node.certs / server.host
        here.mkdir(parents=True)
        (here / "hosts.toml").write_text(f'[host."http://{mirror.host}"]\n')
        image = await images.pull(NAMESPACE, f"{server.host}/app:v1")
    assert image.id == built.id
    assert mirror.asked("blobs")
    assert set(server.asked()) == {f"GET /v2/app/blobs/{sha256(blob)}" for blob in built.blobs}


async def test_a_blob_that_rotted_is_fetched_again(
    server: FakeRegistry, node: Node, images: Images
) -> None:
    built = Built()
    built.push(server, "app", "v1")
    name = f"{server.host}/app:v1"
    image = await images.pull(NAMESPACE, name)
    await images.remove(NAMESPACE, name)
    for chain_id in (image.chain_id, sha256(built.layers[0])):
        await node.snapshotter.remove(NAMESPACE, chain_id)
    for digest in await node.blobs():
        path = node.content.path(digest)
        path.write_bytes(bytes(path.stat().st_size))
    assert await images.pull(NAMESPACE, name) == image


# Reboots.


async def test_a_layer_that_no_image_proved_is_made_again_after_a_reboot(
    server: FakeRegistry, node: Node
) -> None:
    base = tar(base="base")
    named, cut = Built(layers=[base, tar(one="1")]), Built(layers=[base, tar(two="2"), tar(x="x")])
    named.push(server, "named", "v1")
    cut.push(server, "cut", "v1")
    async with node.images(boot_id="boot 1") as images:
        image = await images.pull(NAMESPACE, f"{server.host}/named:v1")
        for name in (await images.pull(NAMESPACE, f"{server.host}/cut:v1")).names:
            node.records.delete(NAMESPACE, name)
    assert len(await node.snapshots()) == 4
    async with node.images(boot_id="boot 1"):
        assert len(await node.snapshots()) == 4
    async with node.images(boot_id="boot 2") as images:
        assert set(await node.snapshots()) == {sha256(base), image.chain_id}
        assert images.list(NAMESPACE) == [image]


async def test_a_layer_that_a_container_stands_on_stays(server: FakeRegistry, node: Node) -> None:
    Built().push(server, "app", "v1")
    async with node.images(boot_id="boot 1") as images:
        image = await images.pull(NAMESPACE, f"{server.host}/app:v1")
        await node.snapshotter.prepare(NAMESPACE, "container", image.chain_id)
        await images.remove(NAMESPACE, image.id)
    async with node.images(boot_id="boot 2"):
        assert len(await node.snapshots()) == 3
    await node.snapshotter.remove(NAMESPACE, "container")


# Usage.


async def test_usage_is_known_of_an_empty_store(node: Node, images: Images) -> None:
    (usage,) = await images.usage()
    assert usage.mountpoint == str(node.root / "snapshots")
    assert usage.used_bytes == 0
    assert usage.timestamp > 0


async def test_usage_counts_blobs_and_layers(server: FakeRegistry, node: Node) -> None:
    built = Built(layers=[tar(a="a" * 100_000)])
    built.push(server, "app", "v1")
    async with node.images() as images:
        await images.pull(NAMESPACE, f"{server.host}/app:v1")
    async with node.images() as images:
        (usage,) = await images.usage()
    assert usage.used_bytes > 100_000
    assert usage.inodes_used >= 4 + 2
    assert GZIP in built.manifest.decode()
