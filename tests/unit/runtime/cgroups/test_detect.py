from pathlib import Path

import pytest

from runtime.cgroups.detect import Layout, detect, parse
from store.errors import UnimplementedError

V2 = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
TMPFS = "30 24 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755\n"
V1 = (
    TMPFS
    + "31 30 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
    + "32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:1 - cgroup cgroup rw,cpu,cpuacct\n"
    + "33 30 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)
HYBRID = V1 + "34 30 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"


def test_v2() -> None:
    layout = parse(V2, ("cpu", "hugetlb", "memory"))
    assert (layout.layout, layout.version) == (Layout.V2, 2)
    assert layout.controllers == {"cpu", "hugetlb", "memory"}
    assert layout.crun_obstacle == ""


def test_v1() -> None:
    layout = parse(V1, ())
    assert (layout.layout, layout.version) == (Layout.V1, 1)
    assert layout.controllers == {"cpu", "cpuacct", "memory"}
    assert layout.crun_obstacle == ""


def test_hybrid_names_both_cures_for_crun() -> None:
    layout = parse(HYBRID, ("hugetlb",))
    assert (layout.layout, layout.version) == (Layout.HYBRID, 1)
    assert layout.controllers == {"cpu", "cpuacct", "memory"}
    assert "umount /sys/fs/cgroup/unified" in layout.crun_obstacle
    assert "mount -t cgroup -o hugetlb hugetlb /sys/fs/cgroup/hugetlb" in layout.crun_obstacle


def test_hybrid_without_controllers_of_its_own_suits_crun() -> None:
    assert parse(HYBRID, ()).crun_obstacle == ""


def test_the_last_mount_on_a_point_counts() -> None:
    covered = V2.replace("cgroup2 cgroup2", "tmpfs tmpfs") + V2
    assert parse(covered, ("cpu",)).layout is Layout.V2


def test_nothing_is_refused() -> None:
    with pytest.raises(UnimplementedError, match="no cgroup is mounted"):
        parse("20 1 8:1 / / rw - ext4 /dev/sda rw\nshort\n", ())


def test_reading_the_table_and_the_controllers(tmp_path: Path) -> None:
    root = tmp_path / "cgroup"
    (root / "unified").mkdir(parents=True)
    (root / "unified/cgroup.controllers").write_text("hugetlb rdma\n")
    table = tmp_path / "mountinfo"
    table.write_text(HYBRID.replace("/sys/fs/cgroup", str(root)))
    layout = detect(root, table)
    assert layout.unified == ("hugetlb", "rdma")
    assert str(root / "unified") in layout.crun_obstacle
