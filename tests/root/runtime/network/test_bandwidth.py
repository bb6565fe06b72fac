"""Bandwidth annotations on the built-in bridge: what passes, and what is left."""

import asyncio
import contextlib
import re
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runtime.kernel.threads import in_thread
from runtime.network import Attachment, AttachRequest
from runtime.network.wires import BridgeConfig
from store.errors import InvalidArgumentError
from tests.wired import Node, links, listening, node, run, tables

pytestmark = pytest.mark.root

CONFIG = BridgeConfig(name="ferry-test", subnets=("10.99.0.0/24",))
GATEWAY = "10.99.0.1"
INGRESS, EGRESS = "kubernetes.io/ingress-bandwidth", "kubernetes.io/egress-bandwidth"
# A tenth of a second's worth, or at least 128 KiB, passes at once: enough must follow to measure.
SIZE = 1_500_000
# Seconds without a byte, which TCP's retransmissions should never need.
PATIENCE = 60


@pytest.fixture
async def pods(tmp_path: Path) -> AsyncIterator[Node]:
    before = links(), tables()
    async with node(tmp_path / "pods", CONFIG) as made:
        yield made
    assert (links(), tables()) == before


async def attach(pods: Node, name: str, **limits: str) -> Attachment:
    names = {"ingress": INGRESS, "egress": EGRESS}
    return await pods.network.attach(
        AttachRequest(
            sandbox_id=name,
            netns=pods.netns(name),
            annotations={names[kind]: rate for kind, rate in limits.items()},
        )
    )


def rate(server_in: Path | None, address: str, client_in: Path | None) -> float:
    """Return how many bits per second arrive when one side sends as fast as it can."""
    with listening(server_in, 80) as server:
        client = in_thread(lambda: socket.create_connection((address, 80)), client_in)
        connection, _ = server.accept()
        with client, connection:
            began = time.monotonic()
            client.setblocking(False)  # noqa: FBT003 - the socket's own signature
            connection.settimeout(PATIENCE)
            left, arrived = SIZE, 0
            while arrived < SIZE:
                if left:
                    with contextlib.suppress(BlockingIOError):
                        left -= client.send(bytes(min(left, 1 << 16)))
                try:
                    arrived += len(connection.recv(1 << 16))
                except TimeoutError:
                    queues = run("tc", "-s", "qdisc", "show")
                    pytest.fail(
                        f"stuck after {arrived} of {SIZE} bytes, {left} not sent:\n{queues}"
                    )
            return SIZE * 8 / (time.monotonic() - began)


async def test_what_a_pod_receives_is_limited(pods: Node) -> None:
    a = await attach(pods, "a", ingress="10M")
    received = await asyncio.to_thread(rate, pods.netns("a"), a.addresses[0], None)
    assert 5e6 < received < 13e6
    sent = await asyncio.to_thread(rate, None, GATEWAY, pods.netns("a"))
    assert sent > 30e6
    assert not {name for name in links() if name.startswith("fs")}


async def test_what_a_pod_sends_is_limited(pods: Node) -> None:
    a = await attach(pods, "a", egress="10M")
    sent = await asyncio.to_thread(rate, None, GATEWAY, pods.netns("a"))
    assert 5e6 < sent < 13e6
    received = await asyncio.to_thread(rate, pods.netns("a"), a.addresses[0], None)
    assert received > 30e6


async def test_a_shaper_goes_with_its_pod(pods: Node) -> None:
    before = links()
    await attach(pods, "a", ingress="1G", egress="100G")
    (link,) = (name for name in links() - before if name.startswith("fy"))
    shaper = f"fs{link[2:]}"
    assert shaper in links()
    shaped = run("tc", "qdisc", "show")
    assert re.search(rf"tbf 1: dev {link} root .*rate 1Gbit burst 12500000b", shaped)
    assert re.search(rf"tbf 1: dev {shaper} root .*rate 100Gbit", shaped)
    await pods.network.detach("a")
    assert shaper not in links()


async def test_a_crash_leaves_no_shaper(pods: Node) -> None:
    before = links()
    await attach(pods, "kept", egress="10M")
    kept = links()
    await attach(pods, "lost", egress="10M")
    network = await pods.restart()
    await network.recover({"kept"})
    shapers = {name for name in links() if name.startswith("fs")}
    assert shapers == {name for name in kept - before if name.startswith("fs")}
    assert len(shapers) == 1


async def test_a_shaper_that_can_not_be_made_leaves_nothing(pods: Node) -> None:
    before = links()
    await attach(pods, "a", egress="10M")
    (shaper,) = (name for name in links() - before if name.startswith("fs"))
    await pods.network.detach("a")
    run("ip", "link", "add", shaper, "type", "bridge")
    with pytest.raises(
        Exception, match=f"cannot connect sandbox a: cannot make the shaper {shaper}"
    ):
        await attach(pods, "a", egress="10M")
    assert not {name for name in links() - before if name.startswith("f")}
    await attach(pods, "a", egress="10M")


async def test_what_is_no_quantity_is_refused(pods: Node) -> None:
    with pytest.raises(InvalidArgumentError, match=r"kubernetes\.io/egress-bandwidth: 'fast'"):
        await attach(pods, "a", egress="fast")
    assert list(pods.records.pods.walk()) == []
