"""Threads that change what they are: namespaces, or who their files belong to.

Such a thread lives for one call and ends; no other thread ever leaves the node's namespaces, so
whatever goes wrong the daemon stays where it is. A fresh thread costs about 0.1 ms.
"""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from runtime.kernel import Users, syscalls

T = TypeVar("T")


def in_thread(work: Callable[[], T], netns: Path | None = None) -> T:
    """Run `work` in a thread that lives for this call only, and return or raise what it does.

    Args:
        work: may change the namespaces of its thread.
        netns: a pinned network namespace to enter first.
    """
    call = _Call(work, netns)
    call.start()
    call.join()
    return call.result()


def as_root_of(users: Users | None, work: Callable[[], T]) -> T:
    """Run `work` as the root of a user namespace, but with all our power; of none: just run it.

    On mounts that show the ids of a user namespace nobody else can make files.
    """
    if users is None:
        return work()

    def act() -> T:
        syscalls.act_as(users.uid, users.gid)
        return work()

    return in_thread(act)


def enter(netns: Path) -> None:
    """Move the calling thread into a pinned network namespace; only for threads about to end."""
    join(netns, syscalls.CLONE_NEWNET)


def join(namespace: Path, kind: int) -> None:
    """Move the calling thread into a namespace of a kind; only for threads about to end."""
    descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.setns(descriptor, kind)
    finally:
        os.close(descriptor)


class _Call(threading.Thread, Generic[T]):
    """One call in a thread of its own."""

    def __init__(self, work: Callable[[], T], netns: Path | None) -> None:
        super().__init__(name="namespaces", daemon=True)
        self._work = work
        self._netns = netns
        self._value: list[T] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            if self._netns is not None:
                enter(self._netns)
            self._value.append(self._work())
        except BaseException as error:  # noqa: BLE001 - it is raised again in the caller's thread
            self._error = error

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return self._value[0]
