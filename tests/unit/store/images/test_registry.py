import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pytest
from aiohttp import web

from store.content import Descriptor
from store.digest import sha256
from store.errors import (
    DataLossError,
    Error,
    FailedPreconditionError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
    UnimplementedError,
)
from store.images import Credentials, manifest, reference
from store.images.connect import RegistryConnector, Remote
from store.images.registry import Retries
from store.images.transport import Patience, TransientError
from tests.fakes.registry import FakeRegistry, Handler, fixed, once, serving
from tests.waiting import PATIENCE

MANIFEST = b'{"schemaVersion": 2}'
DATA = bytes(range(256)) * 1024
QUICK = Retries(attempts=3, mirror_attempts=2, first_wait=0.001, longest_wait=0.002)


@dataclass
class Buffer:
    """A sink in memory."""

    data: bytearray = field(default_factory=bytearray)

    @property
    def offset(self) -> int:
        return len(self.data)

    async def write(self, data: bytes | memoryview) -> None:
        self.data += data


@pytest.fixture
async def server() -> AsyncIterator[FakeRegistry]:
    async with serving() as registry:
        registry.add_manifest("app", "v1", manifest.OCI_MANIFEST, MANIFEST)
        registry.add_blob(DATA)
        yield registry


class Connect(Protocol):
    def __call__(
        self, name: str = "app:v1", credentials: Credentials | None = None, host: str = ""
    ) -> contextlib.AbstractAsyncContextManager[Remote]: ...


@pytest.fixture
def connect(server: FakeRegistry, tmp_path: Path) -> Connect:
    patience = Patience(window=0.3, least=64)

    def open_(
        name: str = "app:v1", credentials: Credentials | None = None, host: str = ""
    ) -> contextlib.AbstractAsyncContextManager[Remote]:
        connector = RegistryConnector((tmp_path,), patience=patience, retries=QUICK)
        parsed = reference.parse(f"{host or server.host}/{name}")
        return connector.connect(parsed, credentials)

    return open_


def blob(data: bytes = DATA, size: int | None = None) -> Descriptor:
    length = len(data) if size is None else size
    return Descriptor(media_type="x", digest=sha256(data), size=length)


def document(data: bytes = MANIFEST) -> Descriptor:
    return Descriptor(media_type=manifest.OCI_MANIFEST, digest=sha256(data), size=len(data))


async def test_a_tag_is_resolved_and_its_document_fetched(
    server: FakeRegistry, connect: Connect
) -> None:
    async with connect() as remote:
        found = await remote.resolve()
        assert found == document()
        assert await remote.document(found) == MANIFEST
    assert server.asked() == [
        "HEAD /v2/app/manifests/v1",
        f"GET /v2/app/manifests/{found.digest}",
    ]
    assert manifest.OCI_INDEX in (server.sent("Accept")[0] or "")


async def test_a_digest_is_resolved(connect: Connect) -> None:
    async with connect(f"app@{sha256(MANIFEST)}") as remote:
        assert await remote.resolve() == document()


async def test_a_blob_is_fetched_whole(connect: Connect) -> None:
    sink = Buffer()
    async with connect() as remote:
        await remote.fetch(blob(), sink)
    assert sink.data == DATA


async def test_a_blob_that_is_there_is_not_asked_for(
    server: FakeRegistry, connect: Connect
) -> None:
    async with connect() as remote:
        await remote.fetch(blob(), Buffer(bytearray(DATA)))
        await remote.fetch(blob(b""), Buffer())
    assert server.asked() == []


@pytest.mark.parametrize("status", [405, 501])
async def test_a_server_without_head_is_asked_for_the_document(
    server: FakeRegistry, connect: Connect, status: int
) -> None:
    server.on("manifests/v1", once(fixed(status), server.honest))
    async with connect() as remote:
        found = await remote.resolve()
        assert await remote.document(found) == MANIFEST
    assert server.asked() == ["HEAD /v2/app/manifests/v1", "GET /v2/app/manifests/v1"]
    assert found == document()


async def test_a_server_that_does_not_tell_the_digest_is_asked_for_the_document(
    server: FakeRegistry, connect: Connect
) -> None:
    async def silent(_: web.Request) -> web.StreamResponse:
        return web.Response(body=MANIFEST, headers={"Content-Type": manifest.OCI_MANIFEST})

    server.on("manifests/v1", silent)
    async with connect() as remote:
        assert await remote.resolve() == document()


# What a lying registry gets.


def body(data: bytes, kind: str = manifest.OCI_MANIFEST, **headers: str) -> Handler:
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=data, headers={"Content-Type": kind, **named})

    return answer


def endless(kind: str = manifest.OCI_MANIFEST) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": kind})
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            for _ in range(1600 if request.method == "GET" else 0):
                await response.write(b" " * 65536)
        return response

    return answer


@pytest.mark.parametrize(
    ("handler", "error", "reason"),
    [
        (fixed(404), NotFoundError, "answers 404"),
        (fixed(403), PermissionDeniedError, "answers 403"),
        (fixed(401), PermissionDeniedError, "no scheme"),
        (fixed(400), UnavailableError, "answers 400"),
        (fixed(500), UnavailableError, "answers 500"),
        (fixed(301, Location="/v2/app/manifests/v1"), UnavailableError, "more than 10 redirects"),
        (fixed(302, Location="ftp://x/"), UnavailableError, "cannot follow"),
        (fixed(302, Location="http://169.254.169.254/"), PermissionDeniedError, "169.254.169.254"),
        (fixed(302, Location="http://[fe80::1]/"), PermissionDeniedError, "fe80::1"),
        (fixed(302, Location="//[x/"), UnavailableError, "cannot follow"),
        (body(b"<html>", "text/html"), DataLossError, "text/html"),
        (body(MANIFEST, Docker_Content_Digest="sha256:../../x"), DataLossError, "bad digest"),
        (body(MANIFEST, Docker_Content_Digest="SHA256:AA"), DataLossError, "bad digest"),
        (
            body(b"{}", "application/vnd.docker.distribution.manifest.v1+json"),
            UnimplementedError,
            "schema 1",
        ),
        (body(b" " * 9_000_000), DataLossError, "more than 8388608"),
        (endless(), DataLossError, "more than 8388608"),
    ],
)
async def test_resolving_says_what_is_wrong(
    server: FakeRegistry, connect: Connect, handler: Handler, error: type[Error], reason: str
) -> None:
    server.on("manifests/v1", handler)
    async with connect() as remote:
        with pytest.raises(error, match=reason):
            await remote.resolve()


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        (body(b'{"schemaVersion": 1}'), "other content"),
        (body(MANIFEST + b" "), "sends 21 bytes"),
        (body(b" " * 9_000_000), "more than 8388608"),
        (endless(), "more than 8388608"),
    ],
)
async def test_a_document_that_is_not_what_was_asked_for_is_refused(
    server: FakeRegistry, connect: Connect, handler: Handler, reason: str
) -> None:
    server.on("manifests/sha256", handler)
    async with connect() as remote:
        with pytest.raises(DataLossError, match=reason):
            await remote.document(document())


async def test_a_digest_that_resolves_to_another_is_refused(
    server: FakeRegistry, connect: Connect
) -> None:
    other = server.add_manifest("app", "v2", manifest.OCI_MANIFEST, b'{"other": 1}')
    server.on("manifests/sha256", body(MANIFEST, Docker_Content_Digest=other))
    async with connect(f"app@{sha256(MANIFEST)}") as remote:
        with pytest.raises(DataLossError, match=f"answers {other}"):
            await remote.resolve()


async def test_the_registrys_own_words_are_quoted(connect: Connect) -> None:
    async with connect("nothing:v1") as remote:
        with pytest.raises(NotFoundError, match="UNKNOWN no such thing"):
            await remote.document(document())


@pytest.mark.parametrize(
    ("data", "reason"), [(DATA[:-1], "has 262143 bytes"), (DATA + b"x", "has 262145 bytes")]
)
async def test_a_blob_of_another_size_is_refused(
    server: FakeRegistry, connect: Connect, data: bytes, reason: str
) -> None:
    server.on("blobs", body(data))
    async with connect() as remote:
        with pytest.raises(DataLossError, match=reason):
            await remote.fetch(blob(), Buffer())


async def test_an_endless_blob_is_cut_at_its_size(server: FakeRegistry, connect: Connect) -> None:
    server.on("blobs", endless())
    sink = Buffer()
    async with connect() as remote:
        with pytest.raises(DataLossError, match="more than the 262144 bytes"):
            await remote.fetch(blob(), sink)
    assert sink.offset <= len(DATA)


async def test_a_blob_that_always_ends_early_is_given_up(
    server: FakeRegistry, connect: Connect
) -> None:
    async def short(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        if "Range" not in request.headers:
            await response.write(DATA[:1000])
        return response

    server.on("blobs", short)
    sink = Buffer()
    async with connect() as remote:
        with pytest.raises(TransientError, match="ended after 1000 of 262144"):
            await remote.fetch(blob(), sink)
    assert len(server.asked("blobs")) == 3


# Retrying and resuming.


def broken_after(count: int) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(DATA))})
        await response.prepare(request)
        await response.write(DATA[:count])
        assert request.transport is not None
        request.transport.close()
        return response

    return answer


async def test_a_broken_transfer_goes_on_where_it_stopped(
    server: FakeRegistry, connect: Connect
) -> None:
    server.on("blobs", once(broken_after(100_000), server.honest))
    sink = Buffer()
    async with connect() as remote:
        await remote.fetch(blob(), sink)
    assert sink.data == DATA
    assert server.sent("Range") == [None, "bytes=100000-"]


async def test_a_server_that_ignores_ranges_is_read_past_what_is_there(
    server: FakeRegistry, connect: Connect
) -> None:
    server.on("blobs", body(DATA))
    sink = Buffer(bytearray(DATA[:100_001]))
    async with connect() as remote:
        await remote.fetch(blob(), sink)
    assert sink.data == DATA


@pytest.mark.parametrize("content_range", ["bytes 0-262143/262144", "lines 1-2/3", ""])
async def test_another_range_is_refused(
    server: FakeRegistry, connect: Connect, content_range: str
) -> None:
    server.on("blobs", fixed(206, Content_Range=content_range))
    async with connect() as remote:
        with pytest.raises(DataLossError, match="another range"):
            await remote.fetch(blob(), Buffer(bytearray(DATA[:100])))


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_a_server_in_trouble_is_asked_again(
    server: FakeRegistry, connect: Connect, status: int
) -> None:
    server.on("manifests", once(fixed(status), once(fixed(status), server.honest)))
    async with connect() as remote:
        assert await remote.resolve() == document()
    assert len(server.requests) == 3


async def test_a_server_says_when_to_come_back(server: FakeRegistry, tmp_path: Path) -> None:
    server.on("manifests", once(fixed(429, Retry_After="3600"), server.honest))
    retries = Retries(first_wait=0.001, longest_wait=0.2)
    connector = RegistryConnector((tmp_path,), retries=retries)
    began = time.monotonic()
    async with connector.connect(reference.parse(f"{server.host}/app:v1"), None) as remote:
        await remote.resolve()
    assert 0.2 <= time.monotonic() - began < PATIENCE


async def test_bytes_that_nobody_asked_for_are_not_quoted_at_length(
    server: FakeRegistry, connect: Connect
) -> None:
    async def talkative(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            await response.write(b"\0\n" * 50_000)
        return response

    server.on("manifests", talkative)
    async with connect() as remote:
        with pytest.raises(UnavailableError) as caught:
            await remote.resolve()
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()


async def test_nobody_listening_is_unavailable(connect: Connect) -> None:
    async with connect(host="127.0.0.1:1") as remote:
        with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1"):
            await remote.resolve()


async def test_an_answer_that_does_not_come_is_given_up(
    server: FakeRegistry, connect: Connect
) -> None:
    forever = asyncio.Event()

    async def hang(_: web.Request) -> web.StreamResponse:
        await forever.wait()
        raise AssertionError

    server.on("manifests", hang)
    async with connect() as remote:
        with pytest.raises(UnavailableError, match="no progress"):
            await remote.resolve()


async def test_a_drip_is_no_progress(server: FakeRegistry, connect: Connect) -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(DATA))})
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            for _ in range(200):
                await response.write(b"x")
                await asyncio.sleep(0.01)
        return response

    server.on("blobs", drip)
    async with connect() as remote:
        with pytest.raises(UnavailableError, match="no progress"):
            await remote.fetch(blob(), Buffer())


# Several hosts.


@pytest.fixture
async def mirror() -> AsyncIterator[FakeRegistry]:
    async with serving() as registry:
        yield registry


def configure(root: Path, server: FakeRegistry, *mirrors: str, more: str = "") -> None:
    here = root / server.host
    here.mkdir()
    hosts = "".join(f'[host."http://{mirror}"]\n{more}\n' for mirror in mirrors)
    (here / "hosts.toml").write_text(hosts)


async def test_mirrors_are_asked_first_and_told_whose_content_is_meant(
    server: FakeRegistry, mirror: FakeRegistry, connect: Connect, tmp_path: Path
) -> None:
    mirror.add_manifest("app", "v1", manifest.OCI_MANIFEST, MANIFEST)
    configure(tmp_path, server, mirror.host, more='header = {x-key = "1"}')
    async with connect() as remote:
        await remote.resolve()
    assert server.requests == []
    assert mirror.requests[0].query["ns"] == server.host
    assert mirror.sent("x-key") == ["1"]


@pytest.mark.parametrize("handler", [fixed(404), fixed(500), fixed(401)])
async def test_the_next_host_serves_what_a_mirror_does_not(
    server: FakeRegistry,
    mirror: FakeRegistry,
    connect: Connect,
    tmp_path: Path,
    handler: Handler,
) -> None:
    configure(tmp_path, server, mirror.host, "127.0.0.1:1")
    mirror.on("v2", handler)
    sink = Buffer()
    async with connect() as remote:
        assert await remote.resolve() == document()
        assert await remote.document(document()) == MANIFEST
        await remote.fetch(blob(), sink)
    assert sink.data == DATA
    assert mirror.requests
    assert "ns" not in server.requests[0].query


async def test_one_error_says_what_each_host_said(
    server: FakeRegistry, mirror: FakeRegistry, connect: Connect, tmp_path: Path
) -> None:
    configure(tmp_path, server, mirror.host)
    mirror.on("v2", fixed(503))
    async with connect("app:v9") as remote:
        with pytest.raises(NotFoundError) as caught:
            await remote.resolve()
    text = str(caught.value)
    assert f"http://{mirror.host}/v2: {mirror.host} answers 503" in text
    assert f"http://{server.host}/v2: {server.host} answers 404" in text


async def test_capabilities_are_respected(
    server: FakeRegistry, mirror: FakeRegistry, connect: Connect, tmp_path: Path
) -> None:
    configure(tmp_path, server, mirror.host, more='capabilities = ["pull"]')
    mirror.add_blob(DATA)
    async with connect() as remote:
        await remote.resolve()
        assert mirror.requests == []
        await remote.fetch(blob(), Buffer())
    assert server.asked("blobs") == []


async def test_no_host_for_a_purpose_is_the_configurations_fault(
    server: FakeRegistry, mirror: FakeRegistry, connect: Connect, tmp_path: Path
) -> None:
    configure(tmp_path, server, mirror.host, more='capabilities = ["push"]')
    path = tmp_path / server.host / "hosts.toml"
    path.write_text("fallback = false\n" + path.read_text())
    async with connect() as remote:
        with pytest.raises(FailedPreconditionError, match="no host to resolve"):
            await remote.resolve()


async def test_a_mirror_that_lied_is_not_asked_again(
    server: FakeRegistry, mirror: FakeRegistry, connect: Connect, tmp_path: Path
) -> None:
    configure(tmp_path, server, mirror.host)
    mirror.on("blobs", body(bytes(len(DATA))))
    async with connect() as remote:
        wrong, right = Buffer(), Buffer()
        await remote.fetch(blob(), wrong)
        assert wrong.data != DATA
        assert remote.distrust(blob().digest)
        await remote.fetch(blob(), right)
        assert right.data == DATA
        assert not remote.distrust(blob().digest)


async def test_what_an_earlier_pull_left_may_be_what_was_wrong(connect: Connect) -> None:
    async with connect() as remote:
        await remote.fetch(blob(), Buffer(bytearray(100)))
        assert remote.distrust(blob().digest)
        sink = Buffer()
        await remote.fetch(blob(), sink)
        assert sink.data == DATA


# Authentication.

ALICE = Credentials(username="alice", password="wonder:land")


def guarded(server: FakeRegistry, wanted: str, challenge: str) -> None:
    async def guard(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") == wanted:
            return await server.honest(request)
        return web.Response(status=401, headers={"WWW-Authenticate": challenge})

    server.on("/v2/", guard)


def tokens(server: FakeRegistry, reply: object) -> None:
    async def token(_: web.Request) -> web.StreamResponse:
        return web.json_response(reply)

    server.on("/token", token)


def bearer(server: FakeRegistry) -> str:
    return f'Bearer realm="http://{server.host}/token?x=1",service="registry"'


async def test_basic_credentials_answer_a_basic_challenge(
    server: FakeRegistry, connect: Connect
) -> None:
    guarded(server, "Basic YWxpY2U6d29uZGVyOmxhbmQ=", 'Basic realm="x"')
    async with connect(credentials=ALICE) as remote:
        await remote.document(await remote.resolve())
    assert len(server.requests) == 3


async def test_a_token_is_asked_for_once(server: FakeRegistry, connect: Connect) -> None:
    guarded(server, "Bearer T", bearer(server))
    tokens(server, {"token": "T", "expires_in": 300})
    async with connect(credentials=ALICE) as remote:
        await remote.document(await remote.resolve())
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(remote.fetch(blob(), Buffer()))
    (asked,) = [request for request in server.requests if request.path == "/token"]
    assert asked.headers["Authorization"] == "Basic YWxpY2U6d29uZGVyOmxhbmQ="
    assert dict(asked.query) == {"x": "1", "service": "registry", "scope": "repository:app:pull"}


async def test_anonymous_tokens_do_not_mention_anybody(
    server: FakeRegistry, connect: Connect
) -> None:
    guarded(server, "Bearer T", bearer(server) + ',scope="repository:app:pull,other"')
    tokens(server, {"access_token": "T"})
    async with connect() as remote:
        await remote.resolve()
    (asked,) = [request for request in server.requests if request.path == "/token"]
    assert "Authorization" not in asked.headers
    assert asked.query["scope"] == "repository:app:pull,other"


async def test_an_identity_token_is_exchanged(server: FakeRegistry, connect: Connect) -> None:
    guarded(server, "Bearer T", bearer(server))
    forms: list[dict[str, object]] = []

    async def exchange(request: web.Request) -> web.StreamResponse:
        forms.append(dict(await request.post()))
        return web.json_response({"access_token": "T"})

    server.on("/token", exchange)
    async with connect(credentials=Credentials(identity_token="I")) as remote:
        await remote.resolve()
    assert forms == [
        {
            "grant_type": "refresh_token",
            "client_id": "ferry",
            "refresh_token": "I",
            "service": "registry",
            "scope": "repository:app:pull",
        }
    ]


async def test_a_registry_token_is_used_as_it_is(server: FakeRegistry, connect: Connect) -> None:
    guarded(server, "Bearer R", bearer(server))
    async with connect(credentials=Credentials(registry_token="R")) as remote:
        await remote.resolve()
    assert server.asked("/token") == []


async def test_a_token_that_ran_out_is_renewed(server: FakeRegistry, connect: Connect) -> None:
    issued = iter(["old", "new"])
    valid: list[str] = []

    async def token(_: web.Request) -> web.StreamResponse:
        valid[:] = [next(issued)]
        return web.json_response({"token": valid[0]})

    async def guard(request: web.Request) -> web.StreamResponse:
        if valid and request.headers.get("Authorization") == f"Bearer {valid[0]}":
            return await server.honest(request)
        return web.Response(status=401, headers={"WWW-Authenticate": bearer(server)})

    server.on("/v2/", guard)
    server.on("/token", token)
    async with connect() as remote:
        found = await remote.resolve()
        valid.clear()
        assert await remote.document(found) == MANIFEST


async def test_wrong_credentials_are_refused_once(server: FakeRegistry, connect: Connect) -> None:
    guarded(server, "never", 'Basic realm="x"')
    async with connect(credentials=ALICE) as remote:
        with pytest.raises(PermissionDeniedError, match="answers 401"):
            await remote.resolve()
    assert len(server.requests) == 2


async def test_a_refused_token_request_says_so(server: FakeRegistry, connect: Connect) -> None:
    guarded(server, "never", bearer(server))
    server.on("/token", fixed(401))
    async with connect(credentials=ALICE) as remote:
        with pytest.raises(PermissionDeniedError, match="/token answers 401"):
            await remote.resolve()


async def test_a_huge_token_reply_is_cut(server: FakeRegistry, connect: Connect) -> None:
    guarded(server, "never", bearer(server))
    server.on("/token", endless("application/json"))
    async with connect(credentials=ALICE) as remote:
        with pytest.raises(UnavailableError, match=r"token .* too long"):
            await remote.resolve()


async def test_authorization_stays_with_its_host(
    server: FakeRegistry, mirror: FakeRegistry, connect: Connect
) -> None:
    mirror.add_blob(DATA)
    guarded(server, "Basic YWxpY2U6d29uZGVyOmxhbmQ=", 'Basic realm="x"')
    server.on("/blobs/", fixed(307, Location=f"http://{mirror.host}/v2/app/blobs/{sha256(DATA)}"))
    sink = Buffer(bytearray(DATA[:5]))
    async with connect(credentials=ALICE) as remote:
        await remote.resolve()
        await remote.fetch(blob(), sink)
    assert sink.data == DATA
    assert server.sent("Authorization")[-1] is not None
    assert mirror.sent("Authorization") == [None]
    assert mirror.sent("Range") == ["bytes=5-"]


async def test_tokens_outlive_a_pull(server: FakeRegistry) -> None:
    guarded(server, "Bearer T", bearer(server))
    tokens(server, {"token": "T"})
    connector = RegistryConnector()
    name = reference.parse(f"{server.host}/app:v1")
    for credentials in (None, None, ALICE):
        async with connector.connect(name, credentials) as remote:
            await remote.resolve()
    assert len(server.asked("/token")) == 2
