import asyncio
from pathlib import Path

import pytest

from runtime.network.cni import Verb
from runtime.network.cni.chain import Chain
from runtime.network.cni.selection import Selection
from store.errors import UnavailableError
from tests.fakes.cni import MemoryPlugins, configure


@pytest.fixture
def plugins() -> MemoryPlugins:
    return MemoryPlugins()


@pytest.fixture
def selection(tmp_path: Path, plugins: MemoryPlugins) -> Selection:
    return Selection(tmp_path / "net.d", Chain(plugins))


async def test_a_directory_that_comes_and_goes(selection: Selection, tmp_path: Path) -> None:
    assert (selection.status.ready, selection.status.reason) == (False, "NotSetUp")
    await selection.refresh()
    assert selection.status.reason == "NoConfiguration"
    assert selection.status.message == f"no network configuration in {tmp_path}/net.d"
    configure(tmp_path / "net.d")
    await selection.refresh()
    assert str(selection.status.reason) == "CniReady"
    assert selection.status.ready
    assert selection.status.message == "network podnet of 10-fake.conflist"
    (tmp_path / "net.d/10-fake.conflist").unlink()
    await selection.refresh()
    assert selection.chosen is None
    assert repr(selection) == f"<Selection {tmp_path}/net.d: NoConfiguration>"


async def test_bad_files_are_named_whether_another_is_in_force_or_not(
    selection: Selection, tmp_path: Path
) -> None:
    (tmp_path / "net.d").mkdir()
    (tmp_path / "net.d/05-bad.conf").write_text("{")
    await selection.refresh()
    assert selection.status.reason == "BadConfiguration"
    assert f"cannot use {tmp_path}/net.d/05-bad.conf: no JSON" in selection.status.message
    configure(tmp_path / "net.d")
    await selection.refresh()
    assert selection.status.ready
    assert f"cannot use {tmp_path}/net.d/05-bad.conf: no JSON" in selection.status.message


async def test_missing_plugins_are_named(
    selection: Selection, plugins: MemoryPlugins, tmp_path: Path
) -> None:
    configure(tmp_path / "net.d", "late")
    await selection.refresh()
    assert selection.chosen is None
    assert selection.status.reason == "PluginMissing"
    assert selection.status.message == "10-fake.conflist: late not found in memory"
    plugins.types.add("late")
    await selection.refresh()
    assert selection.status.ready


async def test_versions_are_asked_for_once(
    selection: Selection, plugins: MemoryPlugins, tmp_path: Path
) -> None:
    configure(tmp_path / "net.d", version="1.1.0")
    plugins.spoken["addresses"] = ("1.0.0",)
    await selection.refresh()
    assert selection.status.reason == "VersionMismatch"
    assert selection.status.message == (
        "10-fake.conflist: plugin addresses speaks 1.0.0, the configuration 1.1.0"
    )
    plugins.spoken["addresses"] = ("1.1.0",)
    await selection.refresh()
    asked = len([call for call in plugins.calls if call.verb is Verb.VERSION])
    await selection.refresh()
    assert len([call for call in plugins.calls if call.verb is Verb.VERSION]) == asked == 2
    assert selection.status.ready


async def test_a_plugin_that_is_not_ready_stays_chosen(
    selection: Selection,
    plugins: MemoryPlugins,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    configure(tmp_path / "net.d", version="1.1.0")
    plugins.failures["addresses", Verb.STATUS] = UnavailableError("agent down")
    await selection.refresh()
    await selection.refresh()
    assert selection.chosen is not None
    assert selection.status.reason == "PluginNotReady"
    assert selection.status.message == "cannot connect pods: plugin addresses STATUS: agent down"
    assert caplog.text.count("PluginNotReady") == 1
    plugins.failures.clear()
    await selection.refresh()
    assert selection.status.ready


async def test_those_who_ask_at_once_share_a_look(
    selection: Selection, plugins: MemoryPlugins, tmp_path: Path
) -> None:
    configure(tmp_path / "net.d", version="1.1.0")
    await selection.refresh()
    plugins.calls.clear()
    async with asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(selection.refresh())
    # One had begun when the others asked: what it saw may be old.
    assert plugins.verbs() == ["addresses STATUS"] * 2


async def test_a_look_that_is_cut_off_is_not_shared(selection: Selection, tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as group:
        first, second, third = [group.create_task(selection.refresh()) for _ in range(3)]
        for task in (first, second):
            for _ in range(3):  # until it is its turn
                await asyncio.sleep(0)
            task.cancel()
        configure(tmp_path / "net.d")
    assert third.done()
    assert selection.status.ready
