"""The streaming server's front: tokens, negotiation, refusals, limits."""

import asyncio
from dataclasses import replace

import pytest

from cri.streaming import PortForwardRequest, Settings
from runtime.io import AttachRequest, ExecRequest, Wanted
from store import errors
from tests import programs
from tests.leaks import kept, settled
from tests.streaming import (
    SPDY_UPGRADE,
    VERSION,
    connected,
    path,
    spdy_client,
    spdy_command,
    websocket_headers,
)
from tests.unit.cri.streaming.conftest import ALL, SETTINGS, Place

UPGRADE = list(SPDY_UPGRADE.items())


async def refused(url: str, headers: list[tuple[str, str]], method: str = "POST") -> int:
    async with connected(url) as raw:
        return (await raw.request(method, path(url), headers)).status


async def test_urls_are_on_loopback_and_secret(place: Place) -> None:
    first, second = place.exec(programs.SPEAK), place.exec(programs.SPEAK)
    assert first.startswith("http://127.0.0.1:")
    assert first != second
    assert len(path(first).removeprefix("/exec/")) == 32  # 192 bits
    assert path(place.attach()).startswith("/attach/")
    assert path(place.forward()).startswith("/portforward/")


async def test_a_token_is_good_for_one_session(place: Place) -> None:
    url = place.exec(programs.SPEAK)
    async with spdy_client(url, "v4.channel.k8s.io") as client:
        assert (await spdy_command(client, ["stdin", "stdout", "stderr"])).stdout == b"out\n"
    assert await refused(url, [*UPGRADE, (VERSION, "v4.channel.k8s.io")]) == 404


async def test_a_refused_upgrade_leaves_the_token_good(place: Place) -> None:
    url = place.exec(programs.SPEAK)
    assert await refused(url, [*UPGRADE, (VERSION, "v9.channel.k8s.io")]) == 403
    async with spdy_client(url, "v4.channel.k8s.io") as client:
        assert (await spdy_command(client, ["stdin", "stdout", "stderr"])).stdout == b"out\n"


async def test_a_token_is_good_for_its_own_route_only(place: Place) -> None:
    url = place.exec(programs.SPEAK).replace("/exec/", "/attach/")
    assert await refused(url, [*UPGRADE, (VERSION, "v4.channel.k8s.io")]) == 404


async def test_none_of_the_clients_protocols_says_which_would_do(place: Place) -> None:
    url = place.exec(programs.SPEAK)
    async with connected(url) as raw:
        headers = [*UPGRADE, (VERSION, "v9.channel.k8s.io, v5.channel.k8s.io")]
        answer = await raw.request("POST", path(url), headers)
    assert answer.status == 403
    assert answer.headers["x-accepted-stream-protocol-versions"] == [
        "v4.channel.k8s.io",
        "v3.channel.k8s.io",
        "v2.channel.k8s.io",
        "channel.k8s.io",
    ]


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("POST", UPGRADE, 400),
        ("POST", [(VERSION, "v4.channel.k8s.io")], 400),
        ("POST", [*UPGRADE, (VERSION, "v4.channel.k8s.io"), ("Content-Length", "3")], 408),
        ("PUT", [*UPGRADE, (VERSION, "v4.channel.k8s.io")], 405),
        ("POST", websocket_headers("v5.channel.k8s.io"), 405),
        ("GET", websocket_headers("v9.channel.k8s.io"), 403),
        ("GET", websocket_headers()[:2] + websocket_headers()[3:], 426),
        ("GET", websocket_headers()[:3], 400),
    ],
)
async def test_refusals(
    place: Place, method: str, headers: list[tuple[str, str]], status: int
) -> None:
    assert await refused(place.exec(programs.SPEAK), headers, method) == status


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 405),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", None),
        (b"GET /exec/x HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 20_000, 431),
        (b"GET /exec/x HTTP/1.1\r\n\r\n", 400),
        (b"POST /exec/x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /exec/x", 408),
        (b"", 408),
    ],
)
async def test_what_is_no_request_is_answered(
    place: Place, sent: bytes, status: int | None
) -> None:
    async with connected(place.attach()) as raw, asyncio.timeout(5):
        raw.writer.write(sent)
        answer = await raw.answer()
        assert answer.status == status or status is None
        assert answer.headers["connection"] == ["close"]
        assert answer.status >= 400


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (ExecRequest(namespace="n", container_id="", argv=("x",), wanted=ALL), "container_id"),
        (ExecRequest(namespace="n", container_id="a", argv=(), wanted=ALL), "cmd"),
        (
            ExecRequest(
                namespace="n",
                container_id="a",
                argv=("x",),
                wanted=Wanted(stderr=True, terminal=True),
            ),
            "tty and stderr",
        ),
        (AttachRequest(namespace="n", container_id="a", wanted=Wanted()), "stdin, stdout"),
        (PortForwardRequest(namespace="n", sandbox_id=""), "pod_sandbox_id"),
        (PortForwardRequest(namespace="n", sandbox_id="a", ports=(80, 65536)), "65536"),
    ],
)
async def test_what_can_never_work_gets_no_url(
    place: Place, request_: ExecRequest | AttachRequest | PortForwardRequest, field: str
) -> None:
    with pytest.raises(errors.InvalidArgumentError, match=field):
        place.server.url(request_)


async def test_at_most_a_thousand_urls_wait(place: Place) -> None:
    for _ in range(1000):
        place.attach()
    with pytest.raises(errors.ResourceExhaustedError, match="1000"):
        place.attach()


class TestFewWaiting:
    @pytest.fixture
    def settings(self) -> Settings:
        return replace(SETTINGS, waiting=8, request=30.0)

    async def test_who_waits_longest_makes_room(self, place: Place) -> None:
        url = place.exec(programs.SPEAK)
        idle = []
        async with connected(url) as first:
            for _ in range(40):
                opened = connected(url)
                idle.append(opened)
                await opened.__aenter__()
            async with asyncio.timeout(5):
                assert await first.reader.read() == b""
            async with spdy_client(url, "v4.channel.k8s.io") as client:
                command = await spdy_command(client, ["stdin", "stdout", "stderr"])
                assert command.stdout == b"out\n"
            for opened in idle:
                await opened.__aexit__(None, None, None)


class TestIdle:
    @pytest.fixture
    def settings(self) -> Settings:
        return replace(SETTINGS, idle=0.3)

    async def test_a_session_in_which_nothing_moves_ends(self, place: Place) -> None:
        async with spdy_client(place.exec(programs.HANG), "v4.channel.k8s.io") as client:
            for kind in ("error", "stdin", "stdout", "stderr"):
                await client.open({"streamtype": kind})
            await place.sessions.until_running(1)
            async with asyncio.timeout(5):
                while not client.gone:
                    await client.step()
        await place.sessions.until_running(0)


class TestBaseUrl:
    @pytest.fixture
    def settings(self) -> Settings:
        return replace(SETTINGS, base_url="https://node.example:10010/streams/")

    async def test_clients_are_told_what_is_configured(self, place: Place) -> None:
        assert place.attach().startswith("https://node.example:10010/streams/attach/")


@pytest.mark.parametrize("address", ["::1", "0.0.0.0"])
async def test_other_addresses(address: str, place: Place) -> None:
    settings = replace(SETTINGS, address=address)
    server = type(place.server)(settings, place.sessions, place.server._ports, place.operations)
    async with server:
        url = server.url(AttachRequest(namespace="test", container_id="a", wanted=ALL))
        host = "[::1]" if address == "::1" else "127.0.0.1"
        assert url.startswith(f"http://{host}:")
        assert await refused(url, UPGRADE) == 400


async def test_an_address_that_cannot_be_bound_is_named(place: Place) -> None:
    settings = replace(SETTINGS, address="192.0.2.1")
    server = type(place.server)(settings, place.sessions, place.server._ports, place.operations)
    with pytest.raises(errors.FailedPreconditionError, match=r"192\.0\.2\.1"):
        async with server:
            pass


async def test_the_end_of_the_server_is_the_end_of_its_sessions(place: Place) -> None:
    before = kept()
    server = type(place.server)(SETTINGS, place.sessions, place.server._ports, place.operations)
    async with server:
        request = ExecRequest(namespace="test", container_id="a", argv=programs.HANG, wanted=ALL)
        opened = spdy_client(server.url(request), "v4.channel.k8s.io")
        client = await opened.__aenter__()
        for kind in ("error", "stdin", "stdout", "stderr"):
            await client.open({"streamtype": kind})
        await place.sessions.until_running(1)
        assert [one.kind for one in place.operations.list()] == ["exec session"]
    await place.sessions.until_running(0)
    await opened.__aexit__(None, None, None)
    assert (await settled(before)).within(before)
