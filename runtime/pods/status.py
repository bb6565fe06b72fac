"""What CRI shows of a container, derived from its record and its task."""

from dataclasses import replace

from runtime.pods import ContainerState, ContainerStatus, Filter, PodContainer
from runtime.pods.tables import matches
from runtime.tasks import State, Task

_STATES = {
    State.CREATING: ContainerState.CREATED,
    State.CREATED: ContainerState.CREATED,
    State.RUNNING: ContainerState.RUNNING,
    State.PAUSED: ContainerState.RUNNING,
    State.STOPPED: ContainerState.EXITED,
    State.UNKNOWN: ContainerState.UNKNOWN,
}


def reason(task: Task) -> str:
    """Return the one word the kubelet and its users look at."""
    if task.state is State.UNKNOWN:
        return "Unknown"
    if task.state is not State.STOPPED:
        return ""
    if task.failure:
        return "ContainerCannotRun"
    if task.oom_killed:
        return "OOMKilled"
    return "Completed" if task.exit_code == 0 else "Error"


def status(id_: str, created_at: int, container: PodContainer, task: Task) -> ContainerStatus:
    """Return the whole status; `started_at` is set in every state but CREATED."""
    if container.damage:
        task = replace(task, state=State.UNKNOWN, message=container.damage)
    ended = task.state is State.STOPPED
    return ContainerStatus(
        id=id_,
        container=container,
        state=_STATES[task.state],
        created_at=created_at,
        started_at=task.started_at or (task.exited_at if ended else 0),
        finished_at=task.exited_at if ended else 0,
        exit_code=task.exit_code if ended else 0,
        reason=reason(task),
        message=task.failure or task.message,
        pid=task.process.pid if task.process and task.state in {State.RUNNING, State.PAUSED} else 0,
    )


def narrowed(found: list[ContainerStatus], filter_: Filter) -> list[ContainerStatus]:
    """Return the statuses that match every field that is set; each of them costs one pass."""
    if filter_.sandbox_id:
        found = [one for one in found if one.container.sandbox_id.startswith(filter_.sandbox_id)]
    if filter_.id:
        found = [one for one in found if one.id.startswith(filter_.id)]
    if filter_.state:
        found = [one for one in found if one.state.value == filter_.state]
    if filter_.labels:
        found = [one for one in found if matches(one.container.config.labels, filter_.labels)]
    return found
