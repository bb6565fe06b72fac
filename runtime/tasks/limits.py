"""New limits for a task, all of them or none.

What they were is kept in a file while the OCI runtime writes new ones: a daemon that dies in the
middle leaves it to the next, which puts them back.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from runtime import blocking
from runtime.cgroups import Cgroups, Limits
from runtime.cgroups.limits import check_usage
from runtime.rollback import Rollback
from runtime.spec import Resources
from runtime.tasks import Task
from store.errors import Error, FailedPreconditionError, NotFoundError
from store.files import atomic_write

_JOURNAL: Final = "limits.json"

_log = logging.getLogger(__name__)


@asynccontextmanager
async def limited(
    cgroups: Cgroups, task: Task, resources: Resources, apply: Callable[[], Awaitable[None]]
) -> AsyncIterator[None]:
    """Let `apply` change the limits of `task` for the block; if one fails, put back what was.

    Raises:
        FailedPreconditionError: the task uses more memory than it might, or has no cgroup.
        Error: of `apply` or the block, with what could not be put back.
    """
    try:
        look = partial(_look, cgroups, task, resources)
        before = await blocking.run("read limits", task.id, look)
    except NotFoundError as error:
        raise FailedPreconditionError(f"cannot update container {task.id}: {error}") from error
    journal = _journal(task)
    restore = partial(_put_back, cgroups, before, journal)
    undo = Rollback()
    undo.push("put limits back", blocking.run, "put limits back", task.id, restore)
    try:
        async with undo:
            atomic_write(journal, msgspec.json.encode(before))
            await apply()
            journal.unlink()  # they are whole: should the daemon die now, its client asks again
            yield
            undo.keep()
    except Error as error:
        if undo.failures:
            raise Error(f"{error}; some limits are new now: {undo.failures[0]}") from error
        raise


def put_back_interrupted(cgroups: Cgroups, task: Task) -> None:
    """Put back the limits that a daemon was changing when it died. Blocking; errors are logged."""
    journal = _journal(task)
    if not journal.exists():
        return
    try:
        before = msgspec.json.decode(journal.read_bytes(), type=Limits)
        _put_back(cgroups, before, journal)
    except (Error, OSError, msgspec.DecodeError) as error:
        _log.warning("limits of task %s/%s stay as they are: %s", task.namespace, task.id, error)
    else:
        _log.info("put back the limits of task %s/%s", task.namespace, task.id)


def _journal(task: Task) -> Path:
    return task.directory / _JOURNAL


def _look(cgroups: Cgroups, task: Task, resources: Resources) -> Limits:
    """Return the limits there are; refuse if the task uses more memory than it might."""

    def refuse(used: int) -> str:
        return (
            f"cannot update container {task.id}: it uses {used} bytes of memory, more than the "
            f"new limit of {resources.memory_limit}"
        )

    check_usage(cgroups, task.cgroup, resources.memory_limit, refuse)
    return cgroups.limits(task.cgroup, resources.unified)


def _put_back(cgroups: Cgroups, before: Limits, journal: Path) -> None:
    cgroups.restore(before)
    journal.unlink(missing_ok=True)
