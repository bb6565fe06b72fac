"""One connection to a monitor, any number of clients."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runtime.io import Wanted
from runtime.io.hub import STDERR, STDOUT, Client, Hub
from store.errors import ResourceExhaustedError
from tests.fakes.monitor_socket import MonitorSocket, monitor_socket
from tests.io import connected, until

BOTH = Wanted(stdin=True, stdout=True, stderr=True)


@pytest.fixture
async def monitor(tmp_path: Path) -> AsyncIterator[MonitorSocket]:
    async with monitor_socket(tmp_path) as made:
        yield made


@pytest.fixture
async def once(tmp_path: Path) -> AsyncIterator[MonitorSocket]:
    (tmp_path / "once").mkdir()
    async with monitor_socket(tmp_path / "once", once=True) as made:
        yield made


@pytest.fixture
async def hub(monitor: MonitorSocket, tmp_path: Path) -> AsyncIterator[Hub]:
    made = Hub(connected(tmp_path), once=False, closed=lambda: None)
    await monitor.joined.wait()
    yield made
    made.close()


async def read(client: Client, count: int, stream: int = STDOUT) -> bytes:
    data = b""
    async with asyncio.timeout(5):
        while len(data) < count:
            data += await client.feeds[stream].read()
    return data


async def test_all_clients_get_all_output_by_stream(hub: Hub, monitor: MonitorSocket) -> None:
    first, second = hub.join(BOTH), hub.join(Wanted(stdout=True))
    await monitor.write(b"out")
    await monitor.write(b"err", STDERR)
    assert await read(first, 3) == await read(second, 3) == b"out"
    assert await read(first, 3, STDERR) == b"err"
    assert STDERR not in second.feeds


async def test_who_comes_late_gets_what_comes_later(hub: Hub, monitor: MonitorSocket) -> None:
    early = hub.join(BOTH)
    await monitor.write(b"early ")
    assert await read(early, 6) == b"early "
    late = hub.join(BOTH)
    await monitor.write(b"late")
    assert await read(late, 4) == b"late"


async def test_the_end_of_the_container_is_the_end_for_all(
    hub: Hub, monitor: MonitorSocket
) -> None:
    client = hub.join(BOTH)
    await monitor.write(b"last")
    monitor.end()
    assert await client.end == 0
    assert await client.feeds[STDOUT].read() == b"last"
    assert await client.feeds[STDOUT].read() == b""
    assert not hub.open
    assert await hub.join(BOTH).end == 0


async def test_input_arrives_in_order_from_all(hub: Hub, monitor: MonitorSocket) -> None:
    big = bytes(range(256)) * 2000
    async with asyncio.TaskGroup() as group:
        writing = group.create_task(hub.write(big))
        received = b""
        while len(received) < len(big):
            received += await monitor.input.read()
    assert writing.result()
    assert received == big
    assert await hub.write(b"more")
    assert await monitor.input.read() == b"more"


async def test_the_input_of_others_stays_open(hub: Hub, monitor: MonitorSocket) -> None:
    hub.end_input()
    assert await hub.write(b"still")
    assert await monitor.input.read() == b"still"


async def test_input_that_ends_once_ends(once: MonitorSocket, tmp_path: Path) -> None:
    hub = Hub(connected(tmp_path / "once"), once=True, closed=lambda: None)
    assert await hub.write(b"only")
    hub.end_input()
    assert await once.input.read() == b"only"
    assert await once.input.read() == b""
    assert not await hub.write(b"more")
    hub.close()


async def test_a_silent_container_keeps_one_connection(hub: Hub, monitor: MonitorSocket) -> None:
    for _ in range(100):
        hub.leave(hub.join(BOTH))
    await asyncio.sleep(0)
    assert hub.open
    assert monitor.accepted == 1


async def test_output_that_nobody_wants_ends_the_connection(
    hub: Hub, monitor: MonitorSocket
) -> None:
    client = hub.join(BOTH)
    hub.leave(client)
    await monitor.write(b"to nobody")
    async with asyncio.timeout(5):
        while hub.open:  # noqa: ASYNC110 - nobody is left who could be told
            await asyncio.sleep(0.001)


async def test_where_input_ends_with_the_connection_it_stays(
    once: MonitorSocket, tmp_path: Path
) -> None:
    hub = Hub(connected(tmp_path / "once"), once=True, closed=lambda: None)
    await once.joined.wait()
    hub.leave(hub.join(Wanted(stdout=True)))
    await once.write(b"to nobody")
    client = hub.join(Wanted(stdout=True))
    await once.write(b"to somebody")
    async with asyncio.timeout(5):
        assert await until(client.feeds[STDOUT], b"to somebody")
    assert hub.open
    hub.close()


async def test_a_client_that_does_not_read_blocks_nobody(hub: Hub, monitor: MonitorSocket) -> None:
    stuck, good = hub.join(BOTH), hub.join(BOTH)
    total = 12 << 20
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        writing = group.create_task(monitor.write(bytes(total)))
        assert len(await read(good, total)) == total
        await writing
    with pytest.raises(ResourceExhaustedError, match="behind"):
        await stuck.end
    assert stuck.unread == 0
    assert not good.end.done()
    assert await stuck.feeds[STDOUT].read() == b""


async def test_a_client_that_catches_up_loses_nothing(hub: Hub, monitor: MonitorSocket) -> None:
    client = hub.join(BOTH)
    total = 6 << 20
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(monitor.write(bytes(total)))
        await asyncio.sleep(0.3)  # as long as patience lasts, and longer
        assert client.behind
        assert len(await read(client, total)) == total
    assert not client.behind


async def test_a_writer_hears_that_the_container_has_ended(
    hub: Hub, monitor: MonitorSocket
) -> None:
    for connection in monitor.connections:  # input is not taken any more
        asyncio.get_running_loop().remove_reader(connection)
    await asyncio.sleep(0)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        writing = group.create_task(hub.write(bytes(8 << 20)))
        await asyncio.sleep(0.01)
        assert not writing.done()
        monitor.end()
    assert not writing.result()
