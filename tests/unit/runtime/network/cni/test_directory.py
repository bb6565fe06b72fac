import json
import os
from pathlib import Path

import pytest

from runtime.network.cni import Json
from runtime.network.cni.directory import Reading, present, read
from tests.cni import chain


def put(path: Path, name: str = "net", **more: Json) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(chain({"type": "bridge"}) | {"name": name} | more))


def test_a_missing_directory_holds_nothing(tmp_path: Path) -> None:
    assert read(tmp_path / "none") == Reading()
    assert not present(tmp_path / "none")
    (tmp_path / "file").touch()
    assert read(tmp_path / "file") == Reading()


def test_the_first_valid_file_by_name_is_in_force(tmp_path: Path) -> None:
    put(tmp_path / "20-b.conflist", "second")
    put(tmp_path / "10-a.json", "first")
    put(tmp_path / "05-a.conflist~", "edited")
    (tmp_path / "01.conf").mkdir()
    found = read(tmp_path)
    assert found.source == "10-a.json"
    assert found.configuration is not None
    assert found.configuration.name == "first"
    assert found.problems == ()


def test_bad_files_are_named_and_skipped(tmp_path: Path) -> None:
    (tmp_path / "01.conf").write_text("{")
    (tmp_path / "02.conf").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "03.conf")
    (tmp_path / "04.conf").write_bytes(b" " * (1 << 20) + b"{}")
    put(tmp_path / "05.conf", "good")
    (tmp_path / "06.conf").write_text("never looked at")
    found = read(tmp_path)
    assert found.source == "05.conf"
    whys = ("no JSON", "No such file or directory", "it is no file", "larger than 1048576")
    for number, (problem, why) in enumerate(zip(found.problems, whys, strict=True), 1):
        assert problem.startswith(f"cannot use {tmp_path}/0{number}.conf: ")
        assert why in problem


def test_a_bad_file_shows_that_somebody_wants_cni(tmp_path: Path) -> None:
    (tmp_path / "10.conflist").write_text("{")
    assert read(tmp_path).configuration is None
    assert present(tmp_path)


def test_loopback_alone_is_no_network(tmp_path: Path) -> None:
    lone = {"cniVersion": "1.0.0", "name": "lo", "type": "loopback"}
    (tmp_path / "00-loopback.conf").write_text(json.dumps(lone))
    assert read(tmp_path) == Reading()
    assert not present(tmp_path)
    put(tmp_path / "10.conflist")
    assert read(tmp_path).source == "10.conflist"


def test_plugins_are_added_from_the_networks_own_directory(tmp_path: Path) -> None:
    put(tmp_path / "10.conflist", "net")
    (tmp_path / "net").mkdir()
    (tmp_path / "net/20.conf").write_text('{"type": "late"}')
    (tmp_path / "net/10.conf").write_text('{"type": "early"}')
    (tmp_path / "net/10.conflist").write_text("{")
    found = read(tmp_path).configuration
    assert found is not None
    assert [plugin.type for plugin in found.plugins] == ["bridge", "early", "late"]
    put(tmp_path / "10.conflist", "net", loadOnlyInlinedPlugins=True)
    found = read(tmp_path).configuration
    assert found is not None
    assert [plugin.type for plugin in found.plugins] == ["bridge"]
    put(tmp_path / "10.conflist", "net")
    (tmp_path / "net/10.conf").write_text("{}")
    (problem,) = read(tmp_path).problems
    assert f"10.conflist: {tmp_path}/net/10.conf: type is missing" in problem


def test_a_list_without_plugins_anywhere_is_bad(tmp_path: Path) -> None:
    (tmp_path / "10.conflist").write_text('{"cniVersion": "1.0.0", "name": "net"}')
    assert read(tmp_path).problems == (f"cannot use {tmp_path}/10.conflist: it has no plugins",)


@pytest.mark.root
def test_a_directory_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (problem,) = read(tmp_path / "loop").problems
    assert problem.startswith(f"cannot read {tmp_path}/loop: Too many levels")
