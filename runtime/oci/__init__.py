"""OCI runtimes (runc, crun and what behaves like them): the contract.

One program start for each call, never `state`: whether a container lives is known from pidfds and
exit files. A runtime's own words are quoted in every error.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from runtime.spec import Resources


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What `runc features` / `crun features` say, as far as ferry asks."""

    version: str = ""
    recursive_readonly: bool = False
    idmap_mounts: bool = False
    user_namespaces: bool = False
    seccomp: bool = False
    apparmor: bool = False
    selinux: bool = False
    checkpoint: bool = False
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """One entry of `[runtimes.NAME]`: a binary, its options, and what it can do.

    `annotations` are the patterns of annotation names that it may see.
    """

    name: str
    binary: Path
    root: Path
    systemd_cgroup: bool = False
    options: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()
    features: Features = field(default_factory=Features)

    def argv(self, *arguments: str) -> tuple[str, ...]:
        """Return the command line with the global options in front of `arguments`."""
        systemd = ("--systemd-cgroup",) if self.systemd_cgroup else ()
        return (str(self.binary), f"--root={self.root}", *systemd, *self.options, *arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecOutput:
    """What a finished exec left. Each stream is cut at the limit that was asked for."""

    stdout: bytes
    stderr: bytes
    exit_code: int


class OciRuntime(Protocol):
    """The verbs ferry needs beside `create`, which the monitor runs."""

    async def start(self, handler: Handler, container_id: str) -> None:
        """Let a created container run its program."""
        ...

    def started(self, handler: Handler, container_id: str) -> bool:
        """Tell whether a living container's program has been let run; starts no program."""
        ...

    async def delete(self, handler: Handler, container_id: str, *, force: bool = False) -> None:
        """Remove what the runtime keeps of a stopped container, its cgroup too; idempotent."""
        ...

    async def update(self, handler: Handler, container_id: str, resources: Resources) -> None:
        """Apply new limits, all or none; the error is the runtime's."""
        ...

    async def exec(
        self,
        handler: Handler,
        container_id: str,
        argv: tuple[str, ...],
        *,
        timeout: float,
        limit: int,
    ) -> ExecOutput:
        """Run a program in the container and collect its output.

        `timeout` in seconds, 0 for none; `limit` in bytes for each stream.

        Raises:
            DeadlineExceededError: after the timeout; by then the whole process tree is gone.
            FailedPreconditionError: the container does not run, or the program cannot be executed.
        """
        ...
