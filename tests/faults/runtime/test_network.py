"""Every step of connecting and disconnecting a pod fails once: nothing is left, a retry works."""

import asyncio
import errno
import os
from pathlib import Path

import pytest

from runtime.network import AttachRequest, PortMapping
from runtime.network.wires import BridgeConfig
from store.errors import Error, UnavailableError
from tests.fakes.network import MemoryNetwork, MemoryWires

REFUSED = OSError(errno.EPERM, "cannot make the interface fy0: Operation not permitted")


@pytest.fixture
def request_(tmp_path: Path) -> AttachRequest:
    (tmp_path / "net").touch()
    port = PortMapping(protocol="tcp", container_port=80, host_port=8080)
    return AttachRequest(sandbox_id="a", netns=tmp_path / "net", ports=(port,))


@pytest.fixture
async def network() -> MemoryNetwork:
    made = MemoryNetwork()
    await made.recover(())
    return made


def nothing_left(network: MemoryNetwork) -> bool:
    rest = list(network.records.pods.walk()), network.wires.connected, network.wires.down
    return rest == ([], {}, set()) and "0 used" in repr(network) and "0 ports" in repr(network)


async def test_connect_fails(network: MemoryNetwork, request_: AttachRequest) -> None:
    network.wires.failures["connect"] = REFUSED
    with pytest.raises(Error, match="cannot connect sandbox a: cannot make the interface fy0"):
        await network.attach(request_)
    assert nothing_left(network)
    await network.attach(request_)


async def test_connect_fails_halfway(network: MemoryNetwork, request_: AttachRequest) -> None:
    network.wires.halfway = REFUSED
    with pytest.raises(Error, match="cannot connect sandbox a"):
        await network.attach(request_)
    assert nothing_left(network)
    await network.attach(request_)


@pytest.mark.parametrize("step", ["disconnect", "delete"])
async def test_the_undo_fails_too(
    network: MemoryNetwork, request_: AttachRequest, step: str
) -> None:
    network.wires.halfway = REFUSED
    network.wires.failures[step] = OSError(errno.EIO, os.strerror(errno.EIO))
    with pytest.raises(Error, match="Operation not permitted"):
        await network.attach(request_)
    # What may still be in use stays on record, and goes with a later detach.
    assert network.records.pods.find("ferry0", "a") is not None
    await network.detach("a")
    await network.close()
    assert nothing_left(network)


async def test_disconnect_fails(network: MemoryNetwork, request_: AttachRequest) -> None:
    await network.attach(request_)
    network.wires.failures["disconnect"] = OSError(errno.EIO, os.strerror(errno.EIO))
    with pytest.raises(Error, match="cannot disconnect sandbox a: Input/output error"):
        await network.detach("a")
    assert network.records.pods.find("ferry0", "a") is not None
    await network.detach("a")
    await network.close()
    assert nothing_left(network)


async def test_a_cancelled_attach_is_undone_after_its_thread(
    network: MemoryNetwork, request_: AttachRequest
) -> None:
    network.wires.hold.clear()
    async with asyncio.TaskGroup() as group:
        attach = group.create_task(network.attach(request_))
        await asyncio.to_thread(network.wires.connecting.wait, 10)
        attach.cancel()
        await asyncio.sleep(0)
        assert not attach.done()
        network.wires.hold.set()
    assert attach.cancelled()
    assert nothing_left(network)
    await network.attach(request_)


async def test_set_up_fails_and_works_later(request_: AttachRequest) -> None:
    network = MemoryNetwork()
    network.wires.failures["set_up"] = UnavailableError("nft: No such file or directory")
    await network.recover(())
    status = network.status()
    assert (status.ready, status.reason) == (False, "BridgeSetUpFailed")
    network.wires.failures["set_up"] = REFUSED
    with pytest.raises(UnavailableError, match="Operation not permitted"):
        await network.attach(request_)
    assert nothing_left(network)
    await network.check()
    assert network.status().ready
    await network.attach(request_)


@pytest.mark.parametrize("step", ["ports", "disconnect"])
async def test_recovery_goes_on_after_an_error(request_: AttachRequest, step: str) -> None:
    network = MemoryNetwork()
    await network.recover(())
    await network.attach(request_)
    again = MemoryNetwork(network.records, network.wires)
    network.wires.failures[step] = OSError(errno.EIO, os.strerror(errno.EIO))
    await again.recover(())
    assert again.status().ready
    last = MemoryNetwork(network.records, network.wires)
    await last.recover(())
    await last.close()
    assert nothing_left(last)


async def test_what_recovery_could_not_free_is_freed_later(
    network: MemoryNetwork, request_: AttachRequest
) -> None:
    await network.attach(request_)
    again = MemoryNetwork(network.records, network.wires)
    network.wires.failures["disconnect"] = OSError(errno.EIO, os.strerror(errno.EIO))
    await again.recover(())
    assert again.holds("a")
    await again.check()
    await again.close()
    assert nothing_left(again)


async def test_close_survives_what_can_not_be_deleted(
    network: MemoryNetwork, request_: AttachRequest, caplog: pytest.LogCaptureFixture
) -> None:
    await network.attach(request_)
    await network.detach("a")
    network.wires.failures["delete"] = OSError(errno.EIO, os.strerror(errno.EIO))
    await network.close()
    assert "Input/output error" in caplog.text


async def test_teardown_says_what_failed() -> None:
    wires = MemoryWires()
    network = MemoryNetwork(wires=wires, config=BridgeConfig(name="b0"))
    await network.recover(())
    wires.failures["tear_down"] = REFUSED
    with pytest.raises(Error, match=r"cannot remove the bridge b0: .*not permitted"):
        await network.teardown()
    assert not network.status().ready
