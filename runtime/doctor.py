"""What this node can and cannot do: findings with the reason and the cure for each "no"."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from runtime.network import NetworkStatus
from runtime.oci import Handler
from runtime.tools import Tool


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
            text = f"{handler.features.version} at {handler.binary}{role}"
            findings.append(Finding(subject=f"handler {name}", grade=Grade.OK, text=text))
    return findings


def _no_default(handlers: Mapping[str, Handler]) -> Finding:
    return Finding(
        subject="handlers",
        grade=Grade.BROKEN,
        text=f"the configured default cannot be used here, only {', '.join(sorted(handlers))}",
        mend='set runtimes.default to "auto"',
    )


def of_network(status: NetworkStatus) -> Finding:
    """Judge the pod network."""
    grade = Grade.OK if status.ready else Grade.BROKEN
    text = f"{status.reason}: {status.message}" if status.message else status.reason
    return Finding(subject="network", grade=grade, text=text)
