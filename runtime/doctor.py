"""What this node can and cannot do: findings with the reason and the cure for each "no"."""

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from runtime.cgroups import Driver, home
from runtime.cgroups.detect import CgroupLayout, Layout
from runtime.network import NetworkStatus
from runtime.oci import Handler
from runtime.spec import HostFacts
from runtime.spec.capabilities import KNOWN
from runtime.tools import Tool

# Without these, limits that Kubernetes sets on every pod do nothing.
_LIMITS: Final = ("cpu", "cpuset", "memory", "pids")
_LOWEST_SCORE: Final = -1000


class Grade(enum.StrEnum):
    """How bad a finding is: fine, something less works, or pods cannot run."""

    OK = "ok"
    LIMITED = "limited"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at; `mend` is a command or a sentence, empty if all is well."""

    subject: str
    grade: Grade
    text: str
    mend: str = ""

    def line(self) -> str:
        """Return one line for people."""
        return f"{self.subject}: {self.text}" + (f"; {self.mend}" if self.mend else "")


def of_tool(tool: Tool) -> Finding:
    """Judge one program."""
    if not tool.problem:
        return Finding(subject=tool.name, grade=Grade.OK, text=f"{tool.version} at {tool.path}")
    grade = Grade.BROKEN if tool.required else Grade.LIMITED
    return Finding(subject=tool.name, grade=grade, text=tool.problem, mend=tool.mend)


def of_monitors() -> Finding:
    """Tell of monitors that stay in the cgroup of the daemon's own unit."""
    return Finding(
        subject="monitors",
        grade=Grade.LIMITED,
        text="they share ferryd's cgroup: systemctl kill ferryd would end them and their logs",
        mend=f"systemctl restart {home.UNIT} ferryd",
    )


def of_handlers(handlers: Mapping[str, Handler]) -> list[Finding]:
    """Judge the handlers there are; "" is the default."""
    if not handlers:
        return [
            Finding(
                subject="handlers",
                grade=Grade.BROKEN,
                text="no OCI runtime works here",
                mend="install runc or crun (deploy/install-tools.sh)",
            )
        ]
    default = handlers.get("")
    findings = [] if default else [_no_default(handlers)]
    for name, handler in sorted(handlers.items()):
        if name:
            role = ", the default" if handler is default else ""
            text = f"{handler.features.version} at {handler.binary}{role}".lstrip()
            findings.append(Finding(subject=f"handler {name}", grade=Grade.OK, text=text))
    return findings


def _no_default(handlers: Mapping[str, Handler]) -> Finding:
    return Finding(
        subject="handlers",
        grade=Grade.BROKEN,
        text=f"the configured default cannot be used here, only {', '.join(sorted(handlers))}",
        mend='set runtimes.default to "auto"',
    )


def of_kernel(release: str, filesystems: str, *, loadable: bool = False) -> Finding:
    """Judge the kernel by its release and the text of /proc/filesystems.

    `loadable` is whether it finds overlayfs as a module, which the first mount loads.
    """
    if "overlay" in filesystems.split() or loadable:
        return Finding(subject="kernel", grade=Grade.OK, text=f"{release}, with overlayfs")
    return Finding(
        subject="kernel",
        grade=Grade.BROKEN,
        text=f"{release} has no overlayfs",
        mend="load it: `modprobe overlay`, and at every boot: /etc/modules-load.d/ferry.conf",
    )


def of_cgroups(found: CgroupLayout, driver: Driver, *, bus: bool) -> Iterator[Finding]:
    """Judge the control groups, and each limit that they lack.

    `bus` is whether D-Bus is there, through which OCI runtimes ask systemd.
    """
    text = f"{found.layout.value}, driver {driver.value}"
    if driver is Driver.SYSTEMD and not bus:
        yield Finding(
            subject="cgroups",
            grade=Grade.BROKEN,
            text=f"{text}: OCI runtimes reach systemd through D-Bus, which does not run",
            mend="`apt-get install dbus`, or set cgroups.driver to cgroupfs",
        )
    else:
        yield Finding(subject="cgroups", grade=Grade.OK, text=text)
    v2 = found.layout is Layout.V2
    for name in sorted(set(_LIMITS) - found.controllers):
        yield Finding(
            subject=f"cgroup {name}",
            grade=Grade.LIMITED,
            text="this limit does nothing here",
            mend=f"give it to {found.root}/cgroup.subtree_control"
            if v2
            else f"mount it: `mkdir {found.root}/{name} && mount -t cgroup -o {name} {name}"
            f" {found.root}/{name}`",
        )


def of_host(facts: HostFacts, handler: Handler | None) -> Iterator[Finding]:
    """Judge what requests may ask for and this node, with its default handler, cannot do."""
    if missing := sorted(set(KNOWN) - set(facts.capabilities)):
        yield _less(
            "capabilities", f"this daemon lacks {', '.join(missing)}, and so do its containers"
        )
    if facts.oom_score_floor > _LOWEST_SCORE:
        yield _less(
            "oom_score_adj",
            f"what is below {facts.oom_score_floor} becomes that: CAP_SYS_RESOURCE is missing",
        )
    if not facts.swap_accounting:
        yield _less("swap", "cannot be limited", "boot with swapaccount=1, or with cgroup v2")
    if not (facts.recursive_readonly and (handler is None or handler.features.recursive_readonly)):
        yield _less(
            "recursive read-only mounts",
            "are refused",
            "Linux 5.12 and runc 1.1 or crun 1.4 have them",
        )
    if handler is not None and not handler.features.seccomp:
        yield _less("seccomp", f"{handler.name} was built without it: profiles cannot be applied")


def _less(subject: str, text: str, mend: str = "") -> Finding:
    return Finding(subject=subject, grade=Grade.LIMITED, text=text, mend=mend)


def of_apparmor(problem: str) -> Finding:
    """Judge AppArmor on a kernel that has it, and no profile for RuntimeDefault."""
    text = f"RuntimeDefault confines nothing: {problem}"
    return _less("AppArmor", text, "or name a loaded profile as Localhost")


def of_user_namespaces(obstacle: str, handlers: Mapping[str, Handler]) -> Finding:
    """Judge user namespaces of pods by what stands in their way, on the node or in a handler."""
    subject = "user namespaces"
    if obstacle:
        return _less(subject, obstacle)
    without = sorted(
        name
        for name, handler in handlers.items()
        if name and not (handler.features.user_namespaces and handler.features.idmap_mounts)
    )
    if without:
        text = f"not with {' and '.join(without)}, which cannot map the ids of mounts"
        return _less(subject, text, "runc 1.2 and crun 1.9 can")
    return Finding(subject=subject, grade=Grade.OK, text="pods may have them")


def of_devices(problems: Sequence[str]) -> Iterator[Finding]:
    """Tell what is wrong with the files that describe devices (CDI)."""
    for problem in problems:
        yield _less("CDI", problem)


def of_network(status: NetworkStatus) -> Finding:
    """Judge the pod network."""
    grade = Grade.OK if status.ready else Grade.BROKEN
    text = f"{status.reason}: {status.message}" if status.message else status.reason
    return Finding(subject="network", grade=grade, text=text)
