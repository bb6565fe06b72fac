"""After a reboot nothing runs any more; records say so, and what was left is cleared."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cri.api.runtime.v1 import api_pb2 as pb
from e2e.client import Container, Pod, connected
from e2e.conftest import DaemonMaker
from e2e.daemon import Daemon
from e2e.images import BUSYBOX
from e2e.leaks import Snapshot, leaks
from e2e.processes import parent
from e2e.registry import Registry

pytestmark = [pytest.mark.root, pytest.mark.ferry]

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
NOTREADY = pb.PodSandboxState.Value("SANDBOX_NOTREADY")
EXITED = pb.ContainerState.Value("CONTAINER_EXITED")


@pytest.fixture
def another_boot(tmp_path: Path, node: None) -> Iterator[Path]:
    """A boot id that this scope sees once the test binds it over the kernel's."""
    other = tmp_path / "boot_id"
    other.write_text("00000000-1111-2222-3333-444444444444\n")
    yield other
    subprocess.run(["umount", str(BOOT_ID)], check=False, stderr=subprocess.DEVNULL)


def lose_power(daemon: Daemon, processes: list[int], boot_id: Path) -> None:
    """End everything at once, empty the state directory, and count as another boot."""
    daemon.kill()
    for process in processes:
        os.kill(process, signal.SIGKILL)
    for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
        if (mount := line.split()[1]).startswith(str(daemon.state)):
            subprocess.run(["umount", "--lazy", mount], check=True)
    subprocess.run(["rm", "-rf", *map(str, daemon.state.iterdir())], check=True)
    subprocess.run(["mount", "--bind", str(boot_id), str(BOOT_ID)], check=True)


@pytest.mark.parametrize("network", ["POD", "NODE"])
async def test_nothing_runs_after_a_reboot(
    make_daemon: DaemonMaker, registry: Registry, logs: Path, another_boot: Path, network: str
) -> None:
    daemon = make_daemon()
    async with connected(daemon.address) as client:
        image = await client.pull(registry.reference(BUSYBOX))
        sleeper = Container(name="main", image=image, command=["sleep", "600"])
        async with client.pod(Pod(name="warm", logs=logs)) as warm:
            await client.run(warm, sleeper)
        before = Snapshot.take(daemon.root, daemon.state)
        running = await client.run_pod(Pod(name="before", logs=logs, network=network))
        container = await client.run(running, sleeper)
        pid = await client.pid(container)
        monitor = parent(pid)

    lose_power(daemon, [monitor, pid], another_boot)
    daemon.start()

    async with connected(daemon.address) as client:
        assert (await client.pod_status(running.id)).state == NOTREADY
        status = await client.status(container)
        assert status.state == EXITED
        assert status.finished_at >= status.started_at > 0
        assert status.exit_code != 0
        assert await client.image(image) is not None
        # The kubelet makes the pod anew, under the next attempt, beside the old one.
        again = await client.run_pod(Pod(name="before", logs=logs, network=network, attempt=1))
        assert await client.output(await client.run(again, sleeper), "hostname")
        for sandbox in (again.id, running.id):
            await client.stop_pod(sandbox)
            await client.remove_pod(sandbox)
    subprocess.run(["umount", str(BOOT_ID)], check=True)
    assert await leaks(before, daemon.root, daemon.state) == []
