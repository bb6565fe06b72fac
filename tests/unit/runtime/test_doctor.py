from dataclasses import replace
from pathlib import Path

import pytest

from runtime.cgroups import Driver
from runtime.cgroups.detect import CgroupLayout, Layout
from runtime.doctor import (
    Finding,
    Grade,
    of_apparmor,
    of_cgroups,
    of_devices,
    of_handlers,
    of_host,
    of_kernel,
    of_network,
    of_tool,
    of_user_namespaces,
)
from runtime.network import NetworkStatus
from runtime.oci import Features, Handler
from runtime.spec import HostFacts
from runtime.spec.capabilities import KNOWN
from runtime.tools import Tool


def handler(name: str, version: str) -> Handler:
    return Handler(
        name=name,
        binary=Path(f"/opt/{name}"),
        root=Path("/run"),
        features=Features(version=version),
    )


CRUN, RUNC = handler("crun", "1.28"), handler("runc", "1.3.6")


@pytest.mark.parametrize(
    ("tool", "line", "grade"),
    [
        (Tool(name="nft", path=Path("/nft"), version="1.1"), "nft: 1.1 at /nft", Grade.OK),
        (
            Tool(name="nft", problem="missing", mend="install it", required=True),
            "nft: missing; install it",
            Grade.BROKEN,
        ),
        (Tool(name="criu", problem="too old", mend="mend"), "criu: too old; mend", Grade.LIMITED),
    ],
)
def test_a_tool_is_judged_by_what_needs_it(tool: Tool, line: str, grade: Grade) -> None:
    finding = of_tool(tool)
    assert (finding.line(), finding.grade) == (line, grade)


def test_handlers_are_listed_and_the_default_is_marked() -> None:
    assert of_handlers({"runc": RUNC, "crun": CRUN, "": CRUN}) == [
        Finding(subject="handler crun", grade=Grade.OK, text="1.28 at /opt/crun, the default"),
        Finding(subject="handler runc", grade=Grade.OK, text="1.3.6 at /opt/runc"),
    ]


def test_a_handler_that_does_not_tell_its_version_is_there() -> None:
    (finding,) = of_handlers({"own": handler("own", ""), "": CRUN})
    assert finding.text == "at /opt/own"


def test_without_any_handler_no_pod_runs() -> None:
    (finding,) = of_handlers({})
    assert (finding.grade, finding.text) == (Grade.BROKEN, "no OCI runtime works here")
    assert "deploy/install-tools.sh" in finding.mend


def test_a_default_that_does_not_work_comes_with_those_that_do() -> None:
    first, second = of_handlers({"runc": RUNC})
    assert first == Finding(
        subject="handlers",
        grade=Grade.BROKEN,
        text="the configured default cannot be used here, only runc",
        mend='set runtimes.default to "auto"',
    )
    assert second.subject == "handler runc"


@pytest.mark.parametrize(
    ("status", "text", "grade"),
    [
        (NetworkStatus(ready=True, reason="BridgeReady"), "BridgeReady", Grade.OK),
        (NetworkStatus(ready=False, reason="No", message="why"), "No: why", Grade.BROKEN),
    ],
)
def test_the_network_is_judged_by_its_status(
    status: NetworkStatus, text: str, grade: Grade
) -> None:
    assert of_network(status) == Finding(subject="network", grade=grade, text=text)


def test_a_kernel_needs_overlayfs() -> None:
    assert of_kernel("6.1", "nodev\tproc\nnodev\toverlay\n").line() == (
        "kernel: 6.1, with overlayfs"
    )
    assert of_kernel("6.1", "", loadable=True).grade is Grade.OK
    finding = of_kernel("6.1", "nodev\tproc\n\text4\n")
    assert (finding.grade, finding.text) == (Grade.BROKEN, "6.1 has no overlayfs")
    assert "modprobe overlay" in finding.mend


def test_each_limit_that_does_nothing_is_named() -> None:
    full = frozenset({"cpu", "cpuset", "memory", "pids", "hugetlb"})
    (only,) = of_cgroups(CgroupLayout(layout=Layout.V1, v1=full), Driver.CGROUPFS, bus=False)
    assert only == Finding(subject="cgroups", grade=Grade.OK, text="v1, driver cgroupfs")
    v1 = CgroupLayout(layout=Layout.V1, v1=full - {"pids"})
    _, pids = of_cgroups(v1, Driver.CGROUPFS, bus=False)
    assert pids.line() == (
        "cgroup pids: this limit does nothing here; mount it: `mkdir /sys/fs/cgroup/pids &&"
        " mount -t cgroup -o pids pids /sys/fs/cgroup/pids`"
    )
    v2 = CgroupLayout(layout=Layout.V2, unified=("memory", "pids"))
    _, cpu, cpuset = of_cgroups(v2, Driver.SYSTEMD, bus=True)
    assert (cpu.subject, cpuset.subject) == ("cgroup cpu", "cgroup cpuset")
    assert cpu.mend == "give it to /sys/fs/cgroup/cgroup.subtree_control"


@pytest.mark.parametrize(
    ("driver", "bus", "grade"),
    [
        (Driver.CGROUPFS, False, Grade.OK),
        (Driver.SYSTEMD, True, Grade.OK),
        (Driver.SYSTEMD, False, Grade.BROKEN),
    ],
)
def test_the_systemd_driver_needs_the_bus(driver: Driver, bus: bool, grade: Grade) -> None:  # noqa: FBT001 - a fact
    full = ("cpu", "cpuset", "memory", "pids")
    (finding,) = of_cgroups(CgroupLayout(layout=Layout.V2, unified=full), driver, bus=bus)
    assert finding.grade is grade
    assert finding.text.startswith(f"v2, driver {driver.value}")
    assert ("apt-get install dbus" in finding.mend) is (grade is Grade.BROKEN)


FULL = HostFacts(
    cgroup_version=1,
    capabilities=KNOWN,
    oom_score_floor=-1000,
    swap_accounting=True,
    recursive_readonly=True,
)


def test_a_node_that_can_do_everything_has_nothing_to_say() -> None:
    seccomp = Handler(
        name="crun",
        binary=Path("/crun"),
        root=Path("/run"),
        features=Features(seccomp=True, recursive_readonly=True),
    )
    assert list(of_host(FULL, seccomp)) == []
    assert list(of_host(FULL, None)) == []


def test_what_a_node_cannot_do_is_said() -> None:
    less = HostFacts(
        cgroup_version=1,
        capabilities=tuple(name for name in KNOWN if name != "CAP_SYS_RESOURCE"),
        oom_score_floor=0,
        swap_accounting=False,
        recursive_readonly=False,
    )
    lines = [finding.line() for finding in of_host(less, RUNC)]
    assert lines == [
        "capabilities: this daemon lacks CAP_SYS_RESOURCE, and so do its containers",
        "oom_score_adj: what is below 0 becomes that: CAP_SYS_RESOURCE is missing",
        "swap: cannot be limited; boot with swapaccount=1, or with cgroup v2",
        "recursive read-only mounts: are refused; Linux 5.12 and runc 1.1 or crun 1.4 have them",
        "seccomp: runc was built without it: profiles cannot be applied",
    ]
    assert {finding.grade for finding in of_host(less, RUNC)} == {Grade.LIMITED}


def test_apparmor_without_the_default_profile_confines_nothing() -> None:
    assert of_apparmor("no parser").line() == (
        "AppArmor: RuntimeDefault confines nothing: no parser;"
        " or name a loaded profile as Localhost"
    )


def test_what_is_wrong_with_devices_is_said() -> None:
    assert list(of_devices([])) == []
    (finding,) = of_devices(["cannot use /etc/cdi/x.json: why"])
    assert finding.line() == "CDI: cannot use /etc/cdi/x.json: why"


def test_user_namespaces_are_judged_by_what_is_in_their_way() -> None:
    able = replace(CRUN, features=Features(user_namespaces=True, idmap_mounts=True))
    old = replace(RUNC, features=Features(user_namespaces=True))
    fine = of_user_namespaces("", {"crun": able, "": able})
    assert (fine.grade, fine.text) == (Grade.OK, "pods may have them")
    missing = of_user_namespaces("switched off", {"crun": able})
    assert (missing.grade, missing.text) == (Grade.LIMITED, "switched off")
    partly = of_user_namespaces("", {"crun": able, "runc": old, "": old})
    assert partly.grade is Grade.LIMITED
    assert partly.line() == (
        "user namespaces: not with runc, which cannot map the ids of mounts;"
        " runc 1.2 and crun 1.9 can"
    )
