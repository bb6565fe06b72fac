import dataclasses
import functools
from pathlib import Path

import pytest

from cri import node
from cri.config import CgroupDriver, Cgroups, Config, Runtime, Runtimes, Tools
from runtime import apparmor, tools
from runtime.cgroups import Driver, detect, home
from runtime.cgroups.detect import CgroupLayout, Layout
from runtime.doctor import Grade
from runtime.kernel.users import UserPrograms
from store.errors import FailedPreconditionError

HYBRID = CgroupLayout(layout=Layout.HYBRID, v1=frozenset({"cpu"}), unified=("hugetlb",))
V1 = CgroupLayout(layout=Layout.V1, v1=frozenset({"cpu"}))


class Prefix:
    """A directory of programs that tell a version and nothing else."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "bin").mkdir()

    def add(self, name: str, says: str = "version 9.9.9") -> Path:
        path = self.root / "bin" / name
        path.write_text(f'#!/bin/sh\n[ "$1" = features ] && exit 1\necho "{name} {says}"\n')
        path.chmod(0o755)
        return path

    def config(self, runtimes: Runtimes | None = None) -> Config:
        missing = {name: f"{self.root}/bin/{name}" for name in ("conmon", "catatonit", "nft")}
        return Config(
            tools=Tools(prefix=self.root, **missing), runtimes=runtimes or self.runtimes()
        )

    def runtimes(self, default: str = "auto") -> Runtimes:
        names = ("crun", "runc")
        handlers = {name: Runtime(binary=f"{self.root}/bin/{name}") for name in names}
        return Runtimes(default=default, handlers=handlers)


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prefix:
    monkeypatch.setattr(detect, "detect", lambda: V1)
    monkeypatch.setattr(home, "exposed", lambda: False)
    return Prefix(tmp_path)


async def test_monitors_in_the_daemons_own_cgroup_are_found(
    prefix: Prefix, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix.add("crun")
    monkeypatch.setattr(home, "exposed", lambda: True)
    found = await node.equipment(prefix.config())
    (finding,) = (one for one in found.findings if one.subject == "monitors")
    assert finding.grade is Grade.LIMITED
    assert finding.mend == "systemctl restart ferry-monitors.service ferryd"


async def test_crun_is_preferred_where_it_works(prefix: Prefix) -> None:
    for name in ("crun", "runc"):
        prefix.add(name)
    found = await node.equipment(prefix.config())
    assert list(found.handlers) == ["crun", "runc", ""]
    assert found.handlers[""].name == "crun"
    assert found.handlers["crun"].root == Path("/run/ferry/runtimes/crun")
    assert found.findings == ()


async def test_crun_is_not_used_where_the_layout_stops_it(
    prefix: Prefix, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detect, "detect", lambda: HYBRID)
    for name in ("crun", "runc"):
        prefix.add(name)
    found = await node.equipment(prefix.config())
    assert found.handlers[""].name == "runc"
    (finding,) = found.findings
    assert (finding.subject, finding.grade) == ("handler crun", Grade.LIMITED)
    assert "umount /sys/fs/cgroup/unified" in finding.text


async def test_crun_is_known_by_another_name_too(
    prefix: Prefix, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detect, "detect", lambda: HYBRID)
    prefix.add("runc")
    own = prefix.add("own")
    own.write_text("""#!/bin/sh\necho '{"annotations": {"run.oci.crun.version": "1.28"}}'\n""")
    handlers = {"runc": Runtime(), "own": Runtime(binary=str(own))}
    found = await node.equipment(prefix.config(Runtimes(default="runc", handlers=handlers)))
    assert set(found.handlers) == {"runc", ""}
    (finding,) = found.findings
    assert "umount /sys/fs/cgroup/unified" in finding.text


async def test_what_is_not_there_is_a_finding_and_no_handler(prefix: Prefix) -> None:
    prefix.add("runc")
    found = await node.equipment(prefix.config())
    assert set(found.handlers) == {"runc", ""}
    lines = [finding.line() for finding in node.findings(found)]
    assert "handler crun: cannot be used: not found, or it does not run" in lines
    assert "cgroups: v1, driver cgroupfs" in lines


async def test_a_configured_default_is_not_replaced_by_another(prefix: Prefix) -> None:
    prefix.add("runc")
    found = await node.equipment(prefix.config(prefix.runtimes("crun")))
    assert set(found.handlers) == {"runc"}
    broken = [finding for finding in node.findings(found) if finding.subject == "handlers"]
    assert [finding.mend for finding in broken] == ['set runtimes.default to "auto"']


async def test_every_missing_program_is_named_before_the_start(prefix: Prefix) -> None:
    found = await node.equipment(prefix.config())
    with pytest.raises(FailedPreconditionError) as raised:
        found.require()
    assert str(raised.value) == (
        "cannot start: conmon: missing: needed for every container; install it with `apt-get"
        " install conmon` or deploy/install-tools.sh. nft: missing: needed for the built-in"
        " network; install it with `apt-get install nftables` or deploy/install-tools.sh"
    )
    with pytest.raises(FailedPreconditionError, match="cannot start: conmon: missing"):
        found.program("conmon")
    conmon = prefix.add("conmon")
    prefix.add("nft")
    found = await node.equipment(prefix.config())
    found.require()
    assert found.program("conmon") == conmon


@pytest.mark.parametrize("driver", [Driver.CGROUPFS, Driver.SYSTEMD])
async def test_the_configured_driver_is_used(prefix: Prefix, driver: Driver) -> None:
    prefix.add("runc")
    cgroups = Cgroups(driver=CgroupDriver(driver.value))
    found = await node.equipment(dataclasses.replace(prefix.config(), cgroups=cgroups))
    assert found.driver is driver
    assert found.handlers["runc"].systemd_cgroup is (driver is Driver.SYSTEMD)


def test_programs_find_those_of_the_prefix_first() -> None:
    path = node.environment(Config())["PATH"].split(":")
    assert path[0] == "/opt/ferry/bin"
    assert {"/usr/sbin", "/usr/bin"} <= set(path)


def test_the_boot_id_is_the_kernels() -> None:
    assert node.boot_id() == Path("/proc/sys/kernel/random/boot_id").read_text()[:-1]


async def test_user_namespaces_need_two_programs(
    prefix: Prefix, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix.add("runc")
    monkeypatch.setattr(tools, "search_path", str)
    without = await node.equipment(prefix.config())
    assert without.user_programs is None
    assert "apt-get install util-linux" in await node.users_obstacle(without, prefix.root)
    unshare, cat = prefix.add("unshare"), prefix.add("cat")
    found = await node.equipment(prefix.config())
    assert found.user_programs == UserPrograms(unshare=unshare, cat=cat)
    assert "cannot make a user namespace" in await node.users_obstacle(found, prefix.root)


async def test_the_default_profile_is_loaded_where_there_is_apparmor(
    prefix: Prefix, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix.add("runc")
    profiles = prefix.root / "profiles"
    profiles.write_text("")
    for name in ("load_default", "missing_default"):
        bound = functools.partial(getattr(apparmor, name), profiles=profiles)
        monkeypatch.setattr(apparmor, name, bound)
    monkeypatch.setattr(tools, "search_path", str)
    assert (await node.equipment(prefix.config())).host.apparmor_default == ""
    monkeypatch.setattr(apparmor, "enabled", lambda: True)
    without = await node.equipment(prefix.config())
    assert without.host.apparmor_default == ""
    (finding,) = (one for one in without.findings if one.subject == "AppArmor")
    assert "apparmor_parser is missing" in finding.text
    parser = prefix.add("apparmor_parser")
    parser.write_text(f"#!/bin/sh\necho 'ferry-default (enforce)' >{profiles}\n")
    await node.equipment(prefix.config())
    assert profiles.read_text() == ""  # who only looks, loads nothing
    await node.prepare(prefix.config())
    assert (await node.equipment(prefix.config())).host.apparmor_default == "ferry-default"
