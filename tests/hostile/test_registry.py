"""Registries that mean harm (hostile.md, A8 to A11): bounded, refused, and nothing is left."""

import asyncio
import contextlib
import os
import resource
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import web

from store.digest import sha256
from store.errors import DataLossError, Error, PermissionDeniedError, UnavailableError
from store.images import Credentials, manifest
from store.images.store import Images
from tests.fakes.registry import FakeRegistry, fixed, once, serving
from tests.pulling import NAMESPACE, Built, Node
from tests.waiting import PATIENCE, until

MEGABYTE = 1 << 20
ALICE = Credentials(username="alice", password="wonderland")


@pytest.fixture
async def server() -> AsyncIterator[FakeRegistry]:
    async with serving() as registry:
        Built().push(registry, "app", "v1")
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


class Flood:
    """Sends up to `megabytes`, and counts what it got rid of."""

    def __init__(self, media_type: str, megabytes: int) -> None:
        self.media_type = media_type
        self.megabytes = megabytes
        self.sent = 0

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": self.media_type})
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            for _ in range(self.megabytes if request.method == "GET" else 0):
                await response.write(b" " * MEGABYTE)
                self.sent += MEGABYTE
        return response


async def refused(
    server: FakeRegistry, node: Node, images: Images, error: type[Error], reason: str
) -> None:
    """Fail unless a pull fails so, and leaves nothing; an honest one works afterwards."""
    name = f"{server.host}/app:v1"
    with pytest.raises(error, match=reason) as caught:
        await images.pull(NAMESPACE, name, credentials=ALICE)
    assert len(str(caught.value)) < 2000
    assert images.list(NAMESPACE) == []
    assert list(node.records.walk()) == []
    await node.check_nothing_half_made()
    server._handlers.clear()
    Built().push(server, "app", "v1")
    await images.pull(NAMESPACE, name)


@pytest.mark.parametrize("part", ["manifests/v1", "manifests/sha256", "blobs"])
async def test_a_flood_is_cut_off_and_costs_no_memory(
    server: FakeRegistry, node: Node, images: Images, part: str
) -> None:
    flood = Flood(manifest.OCI_INDEX, 1000)
    server.on(part, flood)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    await refused(server, node, images, DataLossError, "more than|sends")
    assert flood.sent < 40 * MEGABYTE
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


async def test_a_token_without_end_is_cut_off(
    server: FakeRegistry, node: Node, images: Images
) -> None:
    flood = Flood("application/json", 1000)
    realm = f'Bearer realm="http://{server.host}/token"'
    server.on("/v2/", fixed(401, WWW_Authenticate=realm))
    server.on("/token", flood)
    await refused(server, node, images, UnavailableError, "token .*too long")
    assert flood.sent < 40 * MEGABYTE


@pytest.mark.parametrize(
    "realm",
    [
        "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
        "https://169.254.169.254/token",
        "https://[fd00:ec2::254]/token",
        "http://registry.example/token",
        "file:///etc/shadow",
        "//registry.example/token",
        "",
    ],
)
async def test_credentials_do_not_go_where_a_challenge_wants_them(
    server: FakeRegistry, node: Node, images: Images, realm: str
) -> None:
    challenge = f'Bearer realm="{realm}",service="x"'
    server.on("/v2/", fixed(401, WWW_Authenticate=challenge))
    await refused(server, node, images, PermissionDeniedError, "cannot")
    assert {r.headers.get("Authorization") for r in server.requests} == {None}


async def test_a_registry_that_leads_in_circles_to_another_gets_no_credentials(
    server: FakeRegistry, node: Node, images: Images
) -> None:
    async with serving() as other:
        path = "/v2/app/manifests/v1"
        challenge = fixed(401, WWW_Authenticate='Basic realm="x"')
        server.on("/", once(challenge, fixed(307, Location=f"http://{other.host}{path}")))
        other.on("/", fixed(307, Location=f"http://{server.host}{path}"))
        await refused(server, node, images, UnavailableError, "more than 10 redirects")
        assert other.requests
        assert {r.headers.get("Authorization") for r in other.requests} == {None}


@pytest.mark.parametrize("where", ["tag", "manifest", "config", "layer"])
async def test_other_bytes_are_refused_wherever_they_come(
    server: FakeRegistry, node: Node, images: Images, where: str
) -> None:
    built = Built()
    data, digest = {
        "tag": (built.index, sha256(built.index)),
        "manifest": (built.manifest, sha256(built.manifest)),
        "config": (built.config, built.id),
        "layer": (built.blobs[1], sha256(built.blobs[1])),
    }[where]

    async def lie(_: web.Request) -> web.StreamResponse:
        return web.Response(body=bytes(len(data)), headers={"Content-Type": "x"})

    server.on(digest, lie)
    await refused(server, node, images, DataLossError, digest)


async def test_others_are_served_while_a_registry_drips(
    server: FakeRegistry, images: Images
) -> None:
    stop = asyncio.Event()

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while not stop.is_set():
                await response.write(b"x")
                await asyncio.sleep(0.01)
        return response

    slow = Built(layers=[os.urandom(100_000)])
    slow.push(server, "slow", "v1")
    server.on(sha256(slow.blobs[0]), drip)
    async with asyncio.TaskGroup() as group:
        hanging = group.create_task(images.pull(NAMESPACE, f"{server.host}/slow:v1"))
        await until(lambda: server.asked(sha256(slow.blobs[0])))
        async with asyncio.timeout(PATIENCE):
            image = await images.pull(NAMESPACE, f"{server.host}/app:v1")
        assert images.list(NAMESPACE) == [image]
        hanging.cancel()
        stop.set()
