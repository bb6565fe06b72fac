"""CNI when the daemon is killed, and when what connected a pod is no longer there."""

import asyncio
import contextlib
from collections.abc import Awaitable
from pathlib import Path

import pytest
from grpc import aio

from e2e.client import Client, Pod, connected, get
from e2e.cni import (
    CONFIGURATION,
    PORTMAP,
    Place,
    bridge,
    condition,
    remove,
    serving_pod,
    until_reason,
)
from e2e.conftest import DaemonMaker
from e2e.daemon import Daemon
from e2e.leaks import Snapshot, leaks
from e2e.registry import Registry

pytestmark = [pytest.mark.root, pytest.mark.ferry]

PORT = 18081


@pytest.fixture
def own(make_daemon: DaemonMaker, place: Place) -> Daemon:
    place.write()
    return make_daemon(place.settings())


async def test_pods_keep_their_network_when_the_daemon_is_killed(
    own: Daemon, registry: Registry, place: Place, logs: Path
) -> None:
    pod = Pod(name="kept", logs=logs, ports=[(PORT, 8080)])
    async with connected(own.address) as client:
        sandbox, _ = await serving_pod(client, registry, pod)
        before = (await client.pod_status(sandbox)).network.ip
    await asyncio.to_thread(own.restart, crash=True)
    assert await get("127.0.0.1", PORT, "/after") == "kept /after\n"
    async with connected(own.address) as client:
        assert (await client.pod_status(sandbox)).network.ip == before
        assert (await condition(client)).reason == "CniReady"
        await remove(client, sandbox)
    assert not place.leased()


async def killed_while_running(own: Daemon, moment: Awaitable[object], *pods: Pod) -> None:
    """Kill the daemon at a moment after it was asked to run pods, and start it anew."""

    async def run(client: Client, pod: Pod) -> None:
        with contextlib.suppress(aio.AioRpcError):
            await client.run_pod(pod)

    async with connected(own.address) as client, asyncio.TaskGroup() as group:
        for pod in pods:
            group.create_task(run(client, pod))
        await moment
        await asyncio.to_thread(own.kill)
    await asyncio.to_thread(own.start)


async def test_kills_in_the_middle_leave_no_address(own: Daemon, place: Place, logs: Path) -> None:
    async with connected(own.address) as client:
        # The first host port of a node brings chains that stay.
        warm = Pod(name="warm", logs=logs, ports=[(PORT, 8080)])
        await remove(client, (await client.run_pod(warm)).id)
    before = Snapshot.take(own.state, processes=False)
    for number in range(4):
        pods = [
            Pod(name=f"cut-{number}-{each}", logs=logs, ports=[(PORT + each, 8080)])
            for each in range(number * 4 + 1)
        ]
        await killed_while_running(own, asyncio.sleep(0.01 + number * 0.3), *pods)
        async with connected(own.address) as client:
            for left in await client.list_pods():
                await remove(client, left.id)
        assert not place.leased()
    assert not await leaks(before, own.state, processes=False)


async def told_of(client: Client, words: str) -> None:
    """Return once the condition's message has these words."""
    async with asyncio.timeout(20):
        while words not in (await condition(client)).message:
            await asyncio.sleep(0.05)


async def there(path: Path) -> str:
    """Return what a plugin writes to a file, once it does."""
    async with asyncio.timeout(20):
        while not path.exists() or not path.read_text():
            await asyncio.sleep(0.01)
    return path.read_text()


def lives(pid: int) -> bool:
    """Tell whether a process is at work; one that nobody has reaped yet has no command line."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_a_plugin_that_outlives_the_daemon_is_ended_before_its_del(
    make_daemon: DaemonMaker, place: Place, logs: Path
) -> None:
    started, order = place.path / "started", place.path / "order"
    late = f"echo $$ >{started}; while :; do echo add >>{order}; sleep 0.02; done"
    place.write(place.script("late", ADD=late, DEL=f"echo del >>{order}"))
    own = make_daemon(place.settings())
    await killed_while_running(own, there(started), Pod(name="late", logs=logs))
    assert not lives(int(started.read_text()))
    verbs = order.read_text().split()
    assert "del" in verbs
    assert "add" not in verbs[verbs.index("del") :]
    assert not place.leased()
    async with connected(own.address) as client:
        for left in await client.list_pods():
            await remove(client, left.id)


async def test_a_del_that_fails_is_repeated_by_the_next_daemon(
    make_daemon: DaemonMaker, place: Place, logs: Path
) -> None:
    mended, done = place.path / "mended", place.path / "done"
    place.write(
        place.script("bad", ADD="exit 3", DEL=f"[ -e {mended} ] || exit 4; echo done >>{done}")
    )
    own = make_daemon(place.settings())
    pod = Pod(name="owed", logs=logs, ports=[(PORT, 8080)])
    async with connected(own.address) as client:
        with pytest.raises(aio.AioRpcError, match="plugin bad ADD: it ended with 3"):
            await client.run_pod(pod)
    assert not place.leased()
    await asyncio.to_thread(own.restart, crash=True)
    assert not done.exists()
    mended.touch()
    await asyncio.to_thread(own.restart, crash=True)
    assert await there(done) == "done\n"
    place.put(bridge(place.leases), PORTMAP, network="mended")
    async with connected(own.address) as client:
        for left in await client.list_pods():
            await remove(client, left.id)
        await told_of(client, "network mended")
        await remove(client, (await client.run_pod(pod)).id)


async def test_pods_are_disconnected_by_what_connected_them(
    own: Daemon, place: Place, logs: Path
) -> None:
    async with connected(own.address) as client:
        first, second = [
            (await client.run_pod(Pod(name=name, logs=logs))).id for name in ("first", "second")
        ]
        kept = {
            (await client.pod_status(second)).network.ip,
            *(each.ip for each in (await client.pod_status(second)).network.additional_ips),
        }
        other = bridge(place.path / "others", "ferrycni1")
        place.put(other, place.script("angry", DEL="exit 4"), network="other")
        await told_of(client, "network other")
        await remove(client, first)
        assert place.leased() == kept
        (place.configurations / CONFIGURATION).unlink()
        place.configurations.rmdir()
        await until_reason(client, "NoConfiguration")
        await remove(client, second)
        assert not place.leased()
