import json
import os
from pathlib import Path

import pytest

from runtime.cdi.directories import CdiDirectories
from store.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError


@pytest.fixture
def low(tmp_path: Path) -> Path:
    (tmp_path / "low").mkdir()
    return tmp_path / "low"


@pytest.fixture
def high(tmp_path: Path) -> Path:
    (tmp_path / "high").mkdir()
    return tmp_path / "high"


@pytest.fixture
def devices(low: Path, high: Path) -> CdiDirectories:
    return CdiDirectories((low, high))


def write(path: Path, value: str, *names: str, kind: str = "v.com/gpu") -> None:
    """Describe devices that each set an environment variable; the file appears at once."""
    described = [{"name": name, "containerEdits": {"env": [f"{name}={value}"]}} for name in names]
    common = {"env": [f"ALL={value}"]}
    document = {"cdiVersion": "0.6.0", "kind": kind, "devices": described, "containerEdits": common}
    new = path.with_suffix(".new")
    new.write_text(json.dumps(document))
    new.rename(path)


def test_no_name_asks_for_nothing(tmp_path: Path) -> None:
    assert CdiDirectories((tmp_path / "missing",)).resolve(()).env == ()


def test_a_files_own_edits_come_once_before_its_devices(devices: CdiDirectories, low: Path) -> None:
    write(low / "a.json", "1", "x", "y")
    write(low / "b.yaml", "2", "z", kind="w.com/nic")
    env = devices.resolve(("v.com/gpu=y", "w.com/nic=z", "v.com/gpu=x")).env
    assert env == ("ALL=1", "y=1", "ALL=2", "z=2", "x=1")


def test_changes_are_seen_at_the_next_use(devices: CdiDirectories, low: Path) -> None:
    with pytest.raises(NotFoundError, match=r"cannot find CDI device v\.com/gpu=x in .*low and "):
        devices.resolve(("v.com/gpu=x",))
    write(low / "a.json", "1", "x")
    assert devices.resolve(("v.com/gpu=x",)).env == ("ALL=1", "x=1")
    write(low / "a.json", "2", "x")
    assert devices.resolve(("v.com/gpu=x",)).env == ("ALL=2", "x=2")
    (low / "a.json").unlink()
    with pytest.raises(NotFoundError):
        devices.resolve(("v.com/gpu=x",))


def test_what_has_not_changed_is_not_read_again(devices: CdiDirectories, low: Path) -> None:
    path = low / "a.json"
    write(path, "1", "x")
    devices.resolve(("v.com/gpu=x",))
    status = path.stat()
    path.write_bytes(b" " * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert devices.resolve(("v.com/gpu=x",)).env == ("ALL=1", "x=1")


def test_the_later_directory_counts_device_by_device(
    devices: CdiDirectories, low: Path, high: Path
) -> None:
    write(low / "a.json", "1", "x", "y")
    write(high / "b.json", "2", "x")
    assert devices.resolve(("v.com/gpu=x",)).env == ("ALL=2", "x=2")
    assert devices.resolve(("v.com/gpu=y",)).env == ("ALL=1", "y=1")


def test_two_files_of_one_rank_make_a_device_unusable_and_no_other(
    devices: CdiDirectories, low: Path, high: Path
) -> None:
    write(low / "a.json", "1", "x", "y")
    write(low / "b.json", "2", "x")
    with pytest.raises(FailedPreconditionError, match=r"a\.json and .*b\.json both describe it"):
        devices.resolve(("v.com/gpu=x",))
    assert devices.resolve(("v.com/gpu=y",)).env == ("ALL=1", "y=1")
    write(high / "c.json", "3", "x")
    assert devices.resolve(("v.com/gpu=x",)).env == ("ALL=3", "x=3")


def test_a_bad_file_is_named_only_where_it_matters(devices: CdiDirectories, low: Path) -> None:
    write(low / "a.json", "1", "x")
    (low / "b.json").write_text("{")
    (low / "c.txt").write_text("not looked at")
    (low / "d.yaml").symlink_to("nowhere")
    assert devices.resolve(("v.com/gpu=x",)).env == ("ALL=1", "x=1")
    with pytest.raises(NotFoundError, match=r"cannot find CDI device v\.com/gpu=z .*b\.json: "):
        devices.resolve(("v.com/gpu=z",))


def test_what_is_wrong_is_told_and_logged_once(
    devices: CdiDirectories, low: Path, high: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(low / "a.json", "1", "x", "y")
    write(low / "b.json", "2", "x")
    assert devices.problems() == [
        f"cannot use CDI device v.com/gpu=x: {low}/a.json and {low}/b.json both describe it"
    ]
    (high / "c.yml").write_text("cdiVersion: 0.6.0\nkind: gpu\n")
    first, _ = devices.problems()
    assert first.startswith(f"cannot use {high}/c.yml: ")
    assert devices.problems()[0] == first
    assert [record.getMessage() for record in caplog.records] == [first]
    (low / "b.json").unlink()
    (high / "c.yml").unlink()
    assert devices.problems() == []


def test_errors_name_the_devices(devices: CdiDirectories, low: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="CDI device 'gpu'"):
        devices.resolve(("gpu",))
    write(low / "a.json", "1", "x")
    text = (low / "a.json").read_text()
    node = '"deviceNodes": [{"path": "/dev/nosuch"}], "env"'
    (low / "a.json").write_text(text.replace('"env"', node, 1))
    with pytest.raises(NotFoundError, match=r"CDI devices v\.com/gpu=x: .*/dev/nosuch"):
        devices.resolve(("v.com/gpu=x",))
    (low / "a.json").write_text(text.replace('"env"', node.replace("/dev/nosuch", str(low)), 1))
    with pytest.raises(InvalidArgumentError, match=r"v\.com/gpu=x: .*not a device"):
        devices.resolve(("v.com/gpu=x",))
