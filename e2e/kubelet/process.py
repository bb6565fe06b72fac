"""The kubelet: its configuration, its process, its log."""

import asyncio
import json
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from e2e.daemon import START_SECONDS, Service

NODE: Final = "node"
ADDRESS: Final = "192.0.2.10"
"""The node's address, on an interface of its own."""

_ENTER: Final = Path(__file__).with_name("enter.sh")
_CGROUPS: Final = Path("/sys/fs/cgroup")
_CLEARING_SECONDS: Final = 60.0
_PORTS: Final = (10250, 10255)
_LINKS: Final = ("kubelet0", "kubelet1")


def configuration(root: Path, runtime: Path) -> dict[str, object]:
    """Return the configuration of a kubelet without an API server, quick to see changes."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "staticPodPath": str(root / "manifests"),
        "containerRuntimeEndpoint": f"unix://{runtime}",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "makeIPTablesUtilChains": False,
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "address": "127.0.0.1",
        "readOnlyPort": 10255,
        "podLogsDir": str(root / "logs"),
        "volumePluginDir": str(root / "volume-plugins"),
        "resolvConf": str(root / "resolv.conf"),
        "evictionHard": {},
        "imageGCHighThresholdPercent": 100,  # the tests' images stay
        "enforceNodeAllocatable": ["none"],
        "fileCheckFrequency": "1s",
        "syncFrequency": "2s",
        "containerLogMaxSize": "10Ki",
        "containerLogMonitorInterval": "3s",
        "crashLoopBackOff": {"maxContainerRestartPeriod": "3s"},
    }


class Kubelet(Service):
    """A kubelet in a mount namespace of its own, on the runtime that listens at `runtime`.

    Pods outlive it. Its root is a mount point while the block lasts, so that what it mounts there
    reaches the runtime.
    """

    def __init__(self, folder: Path, program: Path, runtime: Path) -> None:
        super().__init__(folder)
        self._program = program
        self._runtime = runtime
        self._changes: Mapping[str, object] = {}
        self.manifests = self.root / "manifests"
        self.logs = self.root / "logs"

    def __enter__(self) -> Self:
        self.manifests.mkdir(parents=True)
        (self.root / "resolv.conf").write_text("nameserver 192.0.2.53\n")
        subprocess.run(["mount", "--bind", self.root, self.root], check=True)
        return super().__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        subprocess.run(["umount", "--recursive", self.root], check=True)

    def start(self) -> float:
        """Write the configuration and start; see `Service.start`. Its ports answer then."""
        document = {**configuration(self.root, self._runtime), **self._changes}
        self.config.write_text(json.dumps(document, indent=1))
        began = time.monotonic()
        super().start()
        while not all(map(_listens, _PORTS)):
            assert time.monotonic() < began + START_SECONDS, f"does not listen:\n{self.tail()}"
            time.sleep(0.02)
        return time.monotonic() - began

    @contextmanager
    def changed(self, **changes: object) -> Iterator[None]:
        """Run with other values in the configuration for the block; restarts before and after."""
        self._configure(changes)
        try:
            yield
        finally:
            self._configure({})

    def _configure(self, changes: Mapping[str, object]) -> None:
        self.stop()
        self._changes = changes
        # It does not start on what it has written under another policy.
        for state in self.root.glob("*_manager_state"):
            state.unlink()
        self.start()

    def argv(self) -> list[str]:
        scratch = self.state / "scratch"
        scratch.mkdir(exist_ok=True)
        return [
            *("unshare", "--mount", "--propagation", "unchanged", str(_ENTER), str(scratch)),
            *(str(self._program), "--config", str(self.config)),
            *("--root-dir", str(self.root), "--cert-dir", str(self.folder / "pki")),
            *("--hostname-override", NODE, "--node-ip", ADDRESS, "--v", "2"),
            *("--housekeeping-interval", "1s"),  # of its own look at cgroups
        ]

    async def until_cleared(self) -> None:
        """Return once the kubelet has removed volumes, folders and cgroups of pods that ended."""
        async with asyncio.timeout(_CLEARING_SECONDS):
            while list((self.root / "pods").glob("*")) or list(_CGROUPS.glob("*/kubepods/**/pod*")):
                await asyncio.sleep(0.1)


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def network() -> Iterator[None]:
    """Give the node an address and a default route for the block, as a kubelet wants them."""
    near, far = _LINKS
    for command in (
        f"link add {near} type veth peer name {far}",
        f"address add {ADDRESS}/24 dev {near}",
        f"link set {near} up",
        f"link set {far} up",
        f"route add default dev {near}",
    ):
        subprocess.run(["ip", *command.split()], check=True)
    try:
        yield
    finally:
        subprocess.run(["ip", "link", "delete", near], check=True)


def remove_cgroups() -> None:
    """Remove what a kubelet leaves behind when it ends: its cgroups, which must be empty."""
    for top in _CGROUPS.glob("*/kubepods"):
        for folder in sorted(top.glob("**/"), reverse=True):
            folder.rmdir()
