import asyncio
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from runtime.network.connection import Condemned, Connection
from runtime.network.wires import PodLink
from tests.fakes.network import MemoryWires
from tests.waiting import PATIENCE, until

POD = PodLink(link="fy0", addresses=("10.0.0.2",))


class Recorder(MemoryWires):
    """Wires that tell what was deleted, and when it was done."""

    def __init__(self) -> None:
        super().__init__()
        self.deleted: list[list[str]] = []
        self.done = threading.Event()

    def delete(self, names: Iterable[str]) -> None:
        self.deleted.append(sorted(names))
        self.done.set()
        super().delete(())


def test_off_is_final(tmp_path: Path) -> None:
    wires = MemoryWires()
    connection = Connection(wires, POD, replaces=False)
    connection.off()
    connection.on(tmp_path)
    assert wires.connected == {}


def test_an_old_interface_is_deleted_first(tmp_path: Path) -> None:
    wires = MemoryWires()
    wires.connected["fy0"] = POD
    with pytest.raises(AssertionError):
        Connection(wires, POD, replaces=False).on(tmp_path)
    Connection(wires, POD, replaces=True).on(tmp_path)
    assert wires.connected == {"fy0": POD}


async def test_only_what_is_due_is_deleted() -> None:
    wires = Recorder()
    condemned = Condemned(wires, grace=0.01)
    condemned.add("a")
    condemned._due["b"] = asyncio.get_running_loop().time() + 3600
    assert await asyncio.to_thread(wires.done.wait, PATIENCE)
    assert wires.deleted == [["a"]]
    assert condemned.discard("b")
    assert not condemned.discard("b")
    condemned.take()


async def test_taken_names_are_deleted_by_nobody_else() -> None:
    wires = Recorder()
    condemned = Condemned(wires, grace=0.01)
    condemned.add("a")
    assert repr(condemned) == "<Condemned: ['a']>"
    assert condemned.take() == {"a"}
    condemned.add("b")
    assert await asyncio.to_thread(wires.done.wait, PATIENCE)
    assert wires.deleted == [["b"]]


async def test_a_failed_deletion_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    wires = Recorder()
    wires.failures["delete"] = OSError(5, "cannot delete fy0: Input/output error")
    Condemned(wires, grace=0).add("fy0")
    assert await asyncio.to_thread(wires.done.wait, PATIENCE)
    await until(lambda: "Input/output error" in caplog.text)
