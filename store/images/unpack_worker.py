"""The unpack worker: `python -m store.images.unpack_worker`, its control socket as descriptor 0.

A small process with one thread, which has loaded what unpacking needs and forks one child for each
layer: a fork of it costs about a millisecond, one of the daemon ten times that. It owns its
children: it kills the one whose job is cancelled, reaps each, and says so on the job's socket.
When the daemon closes the control socket or dies it ends, and its children with it.
"""

import contextlib
import gc
import os
import select
import signal
import socket
from dataclasses import dataclass

from store.images import cage, unpack_job
from store.images import unpack_messages as messages


@dataclass(frozen=True, slots=True)
class _Job:
    pid: int
    pidfd: int
    socket: socket.socket


class Worker:
    """Serves jobs until the other side of `control` is closed."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._poll = select.poll()
        self._running: dict[int, _Job] = {}
        self._listening: dict[int, _Job] = {}
        self._poll.register(control, select.POLLIN)

    def serve(self) -> None:
        """Return when the daemon is gone."""
        while True:
            for fd, _ in self._poll.poll():
                if fd in self._running:
                    self._reap(self._running.pop(fd))
                elif fd in self._listening:
                    self._cancel(self._listening.pop(fd))
                elif fd == self._control.fileno() and not self._accept():
                    return

    def _accept(self) -> bool:
        message, fds, _, _ = socket.recv_fds(
            self._control, messages.LARGEST, 3, socket.MSG_CMSG_CLOEXEC
        )
        if not message:
            return False
        parent = os.getpid()
        pid = os.fork()  # noqa: TID251 - one thread and little memory: that is what this is for
        if pid == 0:
            _child(messages.decode_request(message), fds, parent)
        job = _Job(pid, os.pidfd_open(pid), socket.socket(fileno=fds[0]))
        for fd in fds[1:]:
            os.close(fd)
        self._running[job.pidfd] = job
        self._listening[job.socket.fileno()] = job
        self._poll.register(job.pidfd, select.POLLIN)
        self._poll.register(job.socket, select.POLLRDHUP)
        return True

    def _cancel(self, job: _Job) -> None:
        self._poll.unregister(job.socket)
        signal.pidfd_send_signal(job.pidfd, signal.SIGKILL)

    def _reap(self, job: _Job) -> None:
        _, status = os.waitpid(job.pid, 0)
        self._poll.unregister(job.pidfd)
        os.close(job.pidfd)
        if self._listening.pop(job.socket.fileno(), None) is not None:
            self._poll.unregister(job.socket)
        with contextlib.suppress(OSError), job.socket:
            job.socket.send(messages.encode(messages.Exited(status)), socket.MSG_DONTWAIT)


def _child(request: messages.Unpack, fds: list[int], parent: int) -> None:
    """Do the job and end, whatever happens."""
    code = 1
    try:
        cage.die_with(parent)
        job_fd, blob, root = cage.keep_only(fds)
        job = socket.socket(fileno=job_fd)
        try:
            cage.enter(root, request.limits)
            unpack_job.run(job, blob, request)
            code = 0
        except Exception as error:  # noqa: BLE001 - the daemon logs it, nobody here can
            unpack_job.fail(job, error)
    finally:
        os._exit(code)


def main() -> None:
    """Serve the control socket on descriptor 0."""
    control = socket.socket(fileno=os.dup(0))
    # Collections would touch, and so copy, every page that children share with us.
    gc.disable()
    gc.freeze()
    Worker(control).serve()


if __name__ == "__main__":
    main()
