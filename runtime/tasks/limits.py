"""New limits for a task, all of them or none."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from runtime import blocking
from runtime.cgroups import Cgroups, Limits
from runtime.cgroups.limits import check_usage
from runtime.rollback import Rollback
from runtime.spec import Resources
from runtime.tasks import Task
from store.errors import Error, FailedPreconditionError, NotFoundError


@asynccontextmanager
async def limited(cgroups: Cgroups, task: Task, resources: Resources) -> AsyncIterator[None]:
    """Let the block change the limits of `task`; if it fails, put back what they were.

    Raises:
        FailedPreconditionError: the task uses more memory than it might, or has no cgroup.
        Error: the block's, with what could not be put back.
    """

    def look() -> Limits:
        check_usage(cgroups, task.cgroup, resources.memory_limit, refuse)
        return cgroups.limits(task.cgroup, resources.unified)

    def refuse(used: int) -> str:
        return (
            f"cannot update container {task.id}: it uses {used} bytes of memory, more than the "
            f"new limit of {resources.memory_limit}"
        )

    try:
        before = await blocking.run("read limits", task.id, look)
    except NotFoundError as error:
        raise FailedPreconditionError(f"cannot update container {task.id}: {error}") from error
    restore = partial(cgroups.restore, before)
    undo = Rollback()
    undo.push("put limits back", blocking.run, "put limits back", task.id, restore)
    try:
        async with undo:
            yield
            undo.keep()
    except Error as error:
        if undo.failures:
            raise Error(f"{error}; some limits are new now: {undo.failures[0]}") from error
        raise
