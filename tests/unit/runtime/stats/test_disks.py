import os
from pathlib import Path

import pytest

from runtime.stats import disks


def test_devices_have_the_kernels_names(tmp_path: Path) -> None:
    links = tmp_path / "dev/block"
    links.mkdir(parents=True)
    (links / "8:0").symlink_to("../../devices/pci0000:00/block/sda")
    (links / "104:0").symlink_to("../../devices/block/cciss!c0d0")
    devices = disks.Devices(tmp_path)
    assert devices.name(8, 0) == "/dev/sda"
    assert devices.name(104, 0) == "/dev/cciss/c0d0"
    assert devices.name(9, 9) == "9:9"
    (links / "8:0").unlink()
    assert devices.name(8, 0) == "/dev/sda"


def test_a_filesystem_is_what_statfs_says(tmp_path: Path) -> None:
    number = tmp_path.stat().st_dev
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(
        "22 1 0:5 / /dev rw - devtmpfs udev rw\n"
        f"23 1 {os.major(number)}:{os.minor(number)} / / rw shared:1 - ext4 /dev/vda1 rw\n"
    )
    found = disks.filesystem(tmp_path, mountinfo)
    expected = os.statvfs(tmp_path)
    assert (found.device, found.mountpoint) == ("/dev/vda1", str(tmp_path))
    assert found.size == expected.f_blocks * expected.f_frsize
    assert found.inodes == expected.f_files
    assert 0 <= found.inodes_free <= found.inodes


def test_a_filesystem_that_nothing_shows_goes_by_its_number(tmp_path: Path) -> None:
    (tmp_path / "mountinfo").write_text("22 1 0:5 / /dev rw - devtmpfs udev rw\n")
    number = tmp_path.stat().st_dev
    found = disks.filesystem(tmp_path, tmp_path / "mountinfo")
    assert found.device == f"{os.major(number)}:{os.minor(number)}"


def test_a_path_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        disks.filesystem(tmp_path / "none")
