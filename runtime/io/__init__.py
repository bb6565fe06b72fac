"""Standard streams of running programs, and connections into pods: the contract.

Bytes move from a `Source` to a `Sink`; whoever copies between the two has back pressure, because a
write returns only when there is room again. Nobody who holds a stream owns a thread or a process:
leaving the block that gave it ends everything behind it.
"""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol


class Source(Protocol):
    """Where bytes come from. One reader at a time."""

    async def read(self) -> bytes:
        """Return what there is once there is something; nothing at the end."""
        ...

    def abandon(self) -> None:
        """Say that nobody reads any more: what still comes is lost; idempotent."""
        ...


class Sink(Protocol):
    """Where bytes go. One writer at a time."""

    async def write(self, data: bytes) -> bool:
        """Return once there is room for more; False if nobody reads any more."""
        ...

    def close(self) -> None:
        """Say that no more bytes come (half-close); idempotent."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A terminal's, in characters."""

    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which streams a client wants; a terminal has no stderr of its own."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    terminal: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecRequest:
    """A program to run in a container, by the container's full id."""

    namespace: str
    container_id: str
    argv: tuple[str, ...]
    wanted: Wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachRequest:
    """A container's own streams, by its full id."""

    namespace: str
    container_id: str
    wanted: Wanted


class Session(Protocol):
    """The streams of a program as one client has them; those not wanted are None."""

    @property
    def stdin(self) -> Sink | None:
        """Its standard input; closing it is the end of the file."""
        ...

    @property
    def stdout(self) -> Source | None:
        """Its standard output, or its terminal's."""
        ...

    @property
    def stderr(self) -> Source | None:
        """Its standard error."""
        ...

    def resize(self, size: Size) -> None:
        """Set the terminal's size; without a terminal nothing happens."""
        ...

    async def wait(self) -> int:
        """Return the exit code once the program has ended; 0 for a container's own program.

        After that the sources end as soon as they are read empty.

        Raises:
            FailedPreconditionError: the program could not be started; the runtime's own words.
            ResourceExhaustedError: this client was too slow for what it wanted to read.
        """
        ...


class Sessions(Protocol):
    """Programs' streams."""

    def exec(self, request: ExecRequest) -> AbstractAsyncContextManager[Session]:
        """Run a program for the block; leaving the block kills it with all it has started.

        Raises:
            NotFoundError: there is no such container.
            FailedPreconditionError: the container does not run.
        """
        ...

    def attach(self, request: AttachRequest) -> AbstractAsyncContextManager[Session]:
        """Join a running container's streams for the block; any number may at the same time.

        Output is what comes from now on. A client that does not read loses its place, and keeps
        neither the container nor the other clients waiting. A container made with `stdin_once`
        has its input closed when the first client that wanted it ends.

        Raises:
            NotFoundError: there is no such container.
            FailedPreconditionError: it does not run, or has (not) a terminal as was asked for.
            UnavailableError: its monitor does not answer.
        """
        ...


class Connection(Source, Sink, Protocol):
    """A TCP connection into a pod. `Sink.close` is a half-close; leaving its block ends it."""

    def abort(self) -> None:
        """End it with a reset instead, so that the program in the pod sees a failure."""
        ...


class Ports(Protocol):
    """TCP ports of pods."""

    def connect(
        self, namespace: str, sandbox_id: str, port: int
    ) -> AbstractAsyncContextManager[Connection]:
        """Connect to a port on the pod's loopback for the block.

        Raises:
            NotFoundError: there is no such pod.
            FailedPreconditionError: the pod is not ready.
            UnavailableError: nobody listens there.
        """
        ...
