"""The kubelet or ferryd ends while pods run: pods do not notice."""

import asyncio
import os
import select
import signal
from collections.abc import Mapping
from dataclasses import dataclass

from e2e.images import BUSYBOX, REDIS
from e2e.kubelet.api import Container, Pod
from e2e.kubelet.conftest import Node
from e2e.kubelet.manifests import container, pod, probe, shell

# Slowly enough for the test to end before the log is long enough to be rotated.
COUNTING = """\
trap 'exit 0' TERM
n=0
while :; do n=$((n+1)); echo $n; sleep 0.4; done
"""


@dataclass(frozen=True, slots=True)
class Sight:
    """What must stay as it is: addresses, containers by id and restarts, their processes."""

    ip: str
    containers: tuple[tuple[str, str, int], ...]
    pids: Mapping[str, int]


def numbered(each: Container) -> tuple[str, str, int]:
    return each.name, each.container_id, each.restart_count


async def look(kube: Node, pod: Pod) -> Sight:
    known = [*pod.status.container_statuses, *pod.status.init_container_statuses]
    running = [each for each in known if each.state.running]
    pids = {
        each.name: await kube.cri.pid(each.container_id.partition("://")[2]) for each in running
    }
    return Sight(pod.status.pod_ip, tuple(map(numbered, known)), pids)


async def run_some(kube: Node, name: str) -> tuple[Pod, Sight]:
    """Run a pod with probes, a sidecar and a log without end; return what is seen of it."""
    alive = probe("exec", {"command": ["true"]}, failureThreshold=3)
    ping = probe("exec", {"command": ["redis-cli", "ping"]}, failureThreshold=3)
    sidecar = shell("sidecar", kube.image(BUSYBOX), restartPolicy="Always", startupProbe=alive)
    first = shell("first", kube.image(BUSYBOX), "exit 0")
    main = shell("main", kube.image(BUSYBOX), COUNTING, livenessProbe=alive)
    redis = container("redis", kube.image(REDIS), readinessProbe=ping)
    found = await kube.run(pod(name, [main, redis], initContainers=[first, sidecar]))
    return found, await look(kube, found)


async def assert_unchanged(kube: Node, name: str, before: Sight) -> None:
    found = await kube.api.until(name, lambda pod: pod.ready)
    assert await look(kube, found) == before
    numbers = (await kube.log(name)).splitlines()
    assert numbers == [str(n + 1) for n in range(len(numbers))]


async def test_pods_do_not_notice_that_the_kubelet_restarts(kube: Node) -> None:
    found, before = await run_some(kube, "lasting")
    await asyncio.to_thread(kube.kubelet.restart)
    await assert_unchanged(kube, found.metadata.name, before)
    await asyncio.to_thread(kube.kubelet.restart, crash=True)
    await assert_unchanged(kube, found.metadata.name, before)
    assert await kube.exec(found.metadata.name, "redis-cli", "ping", container="redis") == "PONG\n"


async def test_a_pod_that_went_while_the_kubelet_was_away_is_ended(kube: Node) -> None:
    found = await kube.run(pod("orphan", [shell("main", kube.image(BUSYBOX))]))
    await asyncio.to_thread(kube.kubelet.stop)
    assert [each for each in await kube.cri.list() if each.state == 1]
    kube.forget(found.metadata.name)
    await asyncio.to_thread(kube.kubelet.start)
    await kube.until_dead(found.metadata.name)


async def test_pods_do_not_notice_that_ferryd_is_killed(kube: Node) -> None:
    kube.expect("CrashLoopBackOff")
    found, before = await run_some(kube, "enduring")
    failing = kube.apply(pod("dying", [shell("main", kube.image(BUSYBOX), "sleep 0.3; exit 7")]))
    leaving = await kube.run(pod("leaving", [shell("main", kube.image(BUSYBOX))]))
    await kube.api.until(failing, lambda pod: pod.container().restart_count)
    for number in range(2):
        # Killed while a pod comes, a pod goes, and a container ends again and again.
        with kube.outage():
            coming = kube.apply(pod(f"coming-{number}", [shell("main", kube.image(BUSYBOX))]))
            kube.forget(leaving.metadata.name)
            await asyncio.sleep(0.05 * number)  # so that another step is interrupted
            await asyncio.to_thread(kube.daemon.restart, crash=True)
            await kube.until_dead(leaving.metadata.name)
            leaving = await kube.api.until(coming, lambda pod: pod.ready)
            # A start whose answer was lost counts as a failed one, on any runtime.
            assert leaving.container().restart_count <= 1
            await assert_unchanged(kube, found.metadata.name, before)
    again = (await kube.api.pods())[failing].container().restart_count
    await kube.api.until(failing, lambda pod: pod.container().restart_count > again)


async def test_a_container_that_ends_while_ferryd_is_away_is_started_again(kube: Node) -> None:
    found = await kube.run(pod("unseen", [shell("main", kube.image(BUSYBOX))]))
    process = os.pidfd_open((await look(kube, found)).pids["main"])
    try:
        with kube.outage():
            await asyncio.to_thread(kube.daemon.kill)
            signal.pidfd_send_signal(process, signal.SIGKILL)
            await asyncio.to_thread(select.select, [process], [], [])
            await asyncio.to_thread(kube.daemon.start)
            again = await kube.api.until(
                found.metadata.name, lambda pod: pod.ready and pod.container().restart_count
            )
    finally:
        os.close(process)
    last = again.container().last_state.terminated
    assert last is not None
    assert (last.exit_code, last.reason) == (137, "Error")
