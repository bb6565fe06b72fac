"""What a pod goes through: init containers, sidecars, hooks, restarts, its end."""

import re
import time
from pathlib import Path

import pytest

from e2e.client import get
from e2e.images import BUSYBOX, NGINX, REDIS, WEB
from e2e.kubelet.api import Pod
from e2e.kubelet.conftest import Node
from e2e.kubelet.manifests import container, empty_dir, host_path, mount, pod, probe, shell

# Says when it starts and, a moment after it was asked to end, that it ends.
NOTED = """\
echo "$NAME starts" >>/notes/notes
trap 'sleep 0.2; echo "$NAME ends" >>/notes/notes; exit 0' TERM
while :; do sleep 0.1 & wait; done
"""


def noted(kube: Node, name: str, script: str = NOTED, **fields: object) -> dict[str, object]:
    """Describe a container that writes into the test's folder what happens to it."""
    return {
        **shell(name, kube.image(BUSYBOX), script),
        "env": [{"name": "NAME", "value": name}],
        "volumeMounts": [mount("notes", "/notes")],
        **fields,
    }


async def test_real_programs_become_ready_and_answer(kube: Node) -> None:
    servers = [
        container("nginx", kube.image(NGINX)),
        container("redis", kube.image(REDIS)),
        container("web", kube.image(WEB)),
    ]
    found = await kube.run(pod("servers", [*servers, shell("main", kube.image(BUSYBOX))]))
    assert found.status.phase == "Running"
    assert [each.restart_count for each in found.status.container_statuses] == [0, 0, 0, 0]
    assert all(
        re.fullmatch("[a-z]+://[0-9a-f]{64}", each.container_id)
        for each in found.status.container_statuses
    )
    assert await get(found.status.pod_ip, 80) == "nginx\n"
    assert await get(found.status.pod_ip, 8080, "/x") == "servers-node /x\n"
    ping = ("redis-cli", "ping")
    assert await kube.exec(found.metadata.name, *ping, container="redis") == "PONG\n"


async def test_init_containers_and_sidecars_keep_their_order(kube: Node, tmp_path: Path) -> None:
    begun = probe("exec", {"command": ["grep", "-q", "sidecar starts", "/notes/notes"]})
    inits = [
        noted(kube, "first", "echo first >>/notes/notes"),
        noted(kube, "sidecar", restartPolicy="Always", startupProbe=begun),
        noted(kube, "second", "echo second >>/notes/notes"),
    ]
    manifest = pod(
        "order",
        [noted(kube, "main")],
        initContainers=inits,
        volumes=[host_path("notes", tmp_path)],
        terminationGracePeriodSeconds=20,
    )
    found = await kube.run(manifest)
    finished = found.container("first").state.terminated
    assert finished is not None
    assert (finished.exit_code, finished.reason) == (0, "Completed")
    assert found.container("sidecar").state.running
    await kube.delete(found.metadata.name)
    assert (tmp_path / "notes").read_text().splitlines() == [
        *("first", "sidecar starts", "second", "main starts"),
        *("main ends", "sidecar ends"),
    ]


async def test_a_sidecar_that_ends_is_started_again_alone(kube: Node) -> None:
    sidecar = shell("sidecar", kube.image(BUSYBOX), restartPolicy="Always")
    main = shell("main", kube.image(BUSYBOX))
    found = await kube.run(pod("restarted", [main], initContainers=[sidecar]))
    await kube.kill(found.metadata.name, "sidecar")
    again = await kube.api.until(
        found.metadata.name, lambda pod: pod.ready and pod.container("sidecar").restart_count
    )
    assert again.container("sidecar").restart_count == 1
    assert again.container() == found.container()


async def test_hooks_run_around_a_container_life(kube: Node, tmp_path: Path) -> None:
    def hook(text: str) -> dict[str, object]:
        return {"exec": {"command": ["sh", "-c", f"sleep 0.2; echo {text} >>/notes/notes"]}}

    lifecycle = {"postStart": hook("post"), "preStop": hook("pre")}
    manifest = pod(
        "hooks",
        [noted(kube, "main", lifecycle=lifecycle)],
        volumes=[host_path("notes", tmp_path)],
        terminationGracePeriodSeconds=20,
    )
    found = await kube.run(manifest)
    await kube.delete(found.metadata.name)
    notes = (tmp_path / "notes").read_text().splitlines()
    assert notes == ["main starts", "post", "pre", "main ends"]


async def test_a_failing_hook_ends_the_container(kube: Node) -> None:
    kube.expect("PostStart", "CrashLoopBackOff")
    lifecycle = {"postStart": {"exec": {"command": ["sh", "-c", "echo no good; exit 5"]}}}
    main = shell("main", kube.image(BUSYBOX), lifecycle=lifecycle)
    name = kube.apply(pod("bad-hook", [main]))
    found = await kube.api.until(name, lambda pod: pod.container().restart_count)
    assert found.container().last_state.terminated


async def test_what_fails_is_started_again_and_again_with_pauses(kube: Node) -> None:
    kube.expect("CrashLoopBackOff")
    script = 'echo "attempt $(cat /notes/n)"; echo >>/notes/n; exit 3'
    main = noted(kube, "main", script, volumeMounts=[mount("notes", "/notes")])
    name = kube.apply(pod("failing", [main], volumes=[empty_dir("notes")]))

    def paused(pod: Pod) -> bool:
        waiting = pod.container().state.waiting
        return pod.container().restart_count >= 2 and waiting is not None

    found = await kube.api.until(name, paused)
    waiting, last = found.container().state.waiting, found.container().last_state.terminated
    assert waiting is not None
    assert last is not None
    assert waiting.reason == "CrashLoopBackOff"
    assert (last.exit_code, last.reason) == (3, "Error")


@pytest.mark.parametrize(
    ("policy", "script", "phase"),
    [("Never", "exit 4", "Failed"), ("OnFailure", "exit 0", "Succeeded")],
)
async def test_a_pod_that_is_not_restarted_ends(
    kube: Node, policy: str, script: str, phase: str
) -> None:
    main = shell("main", kube.image(BUSYBOX), script)
    name = kube.apply(pod(f"once-{phase.lower()}", [main], restartPolicy=policy))
    found = await kube.api.until(name, lambda pod: pod.status.phase == phase)
    ended = found.container().state.terminated
    assert ended is not None
    assert (ended.exit_code, ended.reason) == {
        "Failed": (4, "Error"),
        "Succeeded": (0, "Completed"),
    }[phase]
    assert found.container().restart_count == 0


async def test_too_much_memory_is_reported_as_such(kube: Node) -> None:
    limits = {"limits": {"memory": "24Mi"}}
    greedy = shell("main", kube.image(BUSYBOX), "exec tail /dev/zero", resources=limits)
    name = kube.apply(pod("greedy", [greedy], restartPolicy="Never"))
    found = await kube.api.until(name, lambda pod: pod.status.phase == "Failed")
    ended = found.container().state.terminated
    assert ended is not None
    assert (ended.exit_code, ended.reason) == (137, "OOMKilled")


async def test_last_words_reach_the_status(kube: Node) -> None:
    image = kube.image(BUSYBOX)
    words = {
        "file": shell("file", image, "printf left >/dev/termination-log; echo no; exit 1"),
        "path": shell("path", image, "printf there >/words", terminationMessagePath="/words"),
        "logs": shell(
            "logs",
            image,
            "echo first; echo last; exit 1",
            terminationMessagePolicy="FallbackToLogsOnError",
        ),
        "silent": shell("silent", image, "echo ignored; exit 1"),
    }
    name = kube.apply(pod("words", list(words.values()), restartPolicy="Never"))
    found = await kube.api.until(name, lambda pod: pod.status.phase == "Failed")
    said = {key: ended.message for key in words if (ended := found.container(key).state.terminated)}
    assert said == {"file": "left", "path": "there", "logs": "first\nlast\n", "silent": ""}


async def test_a_pod_has_its_grace_period_to_end(kube: Node, tmp_path: Path) -> None:
    polite = pod(
        "polite",
        [noted(kube, "main")],
        volumes=[host_path("notes", tmp_path)],
        terminationGracePeriodSeconds=60,
    )
    deaf = pod(
        "deaf",
        [shell("main", kube.image(BUSYBOX), 'trap "" TERM; while :; do sleep 0.1; done')],
        terminationGracePeriodSeconds=3,
    )
    names = [kube.apply(polite), kube.apply(deaf)]
    for name in names:
        await kube.api.until(name, lambda pod: pod.ready)
    began = time.monotonic()
    await kube.delete(*names)
    assert 3 <= time.monotonic() - began < 30
    assert (tmp_path / "notes").read_text().splitlines() == ["main starts", "main ends"]


async def test_a_changed_manifest_replaces_the_pod(kube: Node) -> None:
    first = await kube.run(pod("changed", [shell("main", kube.image(BUSYBOX))]))
    kube.apply(
        pod("changed", [shell("main", kube.image(BUSYBOX)), shell("more", kube.image(BUSYBOX))])
    )
    second = await kube.api.until(
        first.metadata.name, lambda pod: pod.ready and pod.container("more").state.running
    )
    assert second.metadata.uid != first.metadata.uid
    assert second.container().container_id != first.container().container_id
