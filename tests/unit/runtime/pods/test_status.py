from dataclasses import replace
from pathlib import Path

import pytest

from runtime.pidfd import ProcessId
from runtime.pods import (
    ContainerConfig,
    ContainerMetadata,
    ContainerState,
    ImageRequest,
    PodContainer,
)
from runtime.pods.status import status
from runtime.spec import ProcessUser, Resources
from runtime.tasks import State, Task

TASK = Task(
    namespace="k8s.io",
    id="c1",
    handler="crun",
    bundle=Path("/b"),
    directory=Path("/d"),
    state=State.CREATED,
)
POD = PodContainer(
    sandbox_id="s1",
    config=ContainerConfig(metadata=ContainerMetadata(name="x"), image=ImageRequest(image="i")),
    image_id="i",
    image_ref="i",
    image_name="i",
    log_path="",
    stop_signal="SIGTERM",
    user=ProcessUser(),
    resources=Resources(),
)
ENDED = replace(TASK, state=State.STOPPED, started_at=5, exited_at=9)


@pytest.mark.parametrize(
    ("task", "state", "reason", "code"),
    [
        (replace(TASK, state=State.CREATING), ContainerState.CREATED, "", 0),
        (TASK, ContainerState.CREATED, "", 0),
        (replace(TASK, state=State.RUNNING), ContainerState.RUNNING, "", 0),
        (replace(TASK, state=State.PAUSED), ContainerState.RUNNING, "", 0),
        (ENDED, ContainerState.EXITED, "Completed", 0),
        (replace(ENDED, exit_code=3), ContainerState.EXITED, "Error", 3),
        (replace(ENDED, exit_code=137, oom_killed=True), ContainerState.EXITED, "OOMKilled", 137),
        (
            replace(ENDED, exit_code=128, failure="no such file"),
            ContainerState.EXITED,
            "ContainerCannotRun",
            128,
        ),
        (replace(TASK, state=State.UNKNOWN), ContainerState.UNKNOWN, "Unknown", 0),
    ],
)
def test_what_is_shown_follows_from_the_task(
    task: Task, state: ContainerState, reason: str, code: int
) -> None:
    shown = status("c1", 1, POD, task)
    assert (shown.state, shown.reason, shown.exit_code) == (state, reason, code)


def test_started_at_is_set_in_every_state_but_created() -> None:
    never = replace(ENDED, started_at=0, failure="no such file")
    assert status("c1", 1, POD, never).started_at == never.exited_at
    assert status("c1", 1, POD, TASK).started_at == 0


def test_the_runtimes_own_words_are_the_message() -> None:
    assert status("c1", 1, POD, replace(ENDED, failure="exec: no such file")).message == (
        "exec: no such file"
    )


def test_a_pid_is_shown_only_while_it_is_the_containers() -> None:
    running = replace(TASK, state=State.RUNNING, process=ProcessId(pid=7, started=1))
    assert status("c1", 1, POD, running).pid == 7
    assert status("c1", 1, POD, replace(running, state=State.STOPPED)).pid == 0
