from pathlib import Path

import pytest

from runtime.cgroups import home


def tree(root: Path, *directories: str) -> None:
    for directory in directories:
        (root / directory).mkdir(parents=True, exist_ok=True)
        (root / directory / "cgroup.procs").touch()


V2 = "0::/system.slice/ferryd.service\n"
V1 = """\
12:pids:/system.slice/ferryd.service
11:freezer:/
4:cpu,cpuacct:/system.slice/ferryd.service
3:memory:/system.slice/ferryd.service
1:name=systemd:/system.slice/ferryd.service
0::/system.slice/ferryd.service
"""


@pytest.mark.parametrize(
    ("own", "there", "found"),
    [
        (V2, ["system.slice/ferry-monitors.service"], ["system.slice/ferry-monitors.service"]),
        (V2, [], []),
        ("0::/\n", ["ferry-monitors.service"], []),
        ("0::/user.slice/session-1.scope\n", ["user.slice/ferry-monitors.service"], []),
        (
            V1,
            [
                "pids/system.slice/ferry-monitors.service",
                "cpu,cpuacct/system.slice/ferry-monitors.service",
                "systemd/system.slice/ferry-monitors.service",
                "unified/system.slice/ferry-monitors.service",
                "freezer/ferry-monitors.service",
            ],
            [
                "pids/system.slice/ferry-monitors.service",
                "cpu,cpuacct/system.slice/ferry-monitors.service",
                "systemd/system.slice/ferry-monitors.service",
                "unified/system.slice/ferry-monitors.service",
            ],
        ),
    ],
    ids=["v2", "not installed", "not a unit", "a session", "hybrid"],
)
def test_the_unit_beside_this_process(
    tmp_path: Path, own: str, there: list[str], found: list[str]
) -> None:
    (tmp_path / "own").write_text(own)
    tree(tmp_path / "root", *there)
    beside = home.beside(own=tmp_path / "own", root=tmp_path / "root")
    assert beside == tuple(tmp_path / "root" / directory / "cgroup.procs" for directory in found)
    exposed = home.exposed(own=tmp_path / "own", root=tmp_path / "root")
    assert exposed == (own == V2 and not there)


def test_without_control_groups(tmp_path: Path) -> None:
    assert home.beside(own=tmp_path / "none", root=tmp_path) == ()
    assert not home.exposed(own=tmp_path / "none", root=tmp_path)
