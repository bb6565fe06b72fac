"""The kubelet: its configuration, its process, its log."""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from e2e.daemon import Service

NODE: Final = "node"
ADDRESS: Final = "192.0.2.10"
"""The node's address, on an interface of its own."""

_ENTER: Final = Path(__file__).with_name("enter.sh")
_LINKS: Final = ("kubelet0", "kubelet1")
# klog: severity, date, time, thread, file and line; what matters is an error, or an error's text.
_ERROR: Final = re.compile(r"^E\d{4} |rpc error")


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
    reaches the runtime. `gates` are feature gates, for the next start.
    """

    def __init__(self, folder: Path, program: Path, runtime: Path) -> None:
        super().__init__(folder)
        self._program = program
        self._runtime = runtime
        self.gates: Mapping[str, bool] = {}
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
        """Write the configuration and start; see `Service.start`."""
        document = configuration(self.root, self._runtime) | {"featureGates": dict(self.gates)}
        self.config.write_text(json.dumps(document, indent=1))
        return super().start()

    def argv(self) -> list[str]:
        scratch = self.state / "scratch"
        scratch.mkdir(exist_ok=True)
        return [
            *("unshare", "--mount", "--propagation", "unchanged", str(_ENTER), str(scratch)),
            *(str(self._program), "--config", str(self.config)),
            *("--root-dir", str(self.root), "--cert-dir", str(self.folder / "pki")),
            *("--hostname-override", NODE, "--node-ip", ADDRESS, "--v", "2"),
        ]

    def lines(self, since: int = 0) -> Sequence[str]:
        """Return the log's lines from offset `since` on."""
        with self.log.open("rb") as log:
            log.seek(since)
            return log.read().decode(errors="replace").splitlines()

    def errors(self, since: int = 0) -> Iterator[str]:
        """Yield the errors that were logged from offset `since` on."""
        return (line for line in self.lines(since) if _ERROR.search(line))


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
    for top in Path("/sys/fs/cgroup").glob("**/kubepods*"):
        for folder in (*sorted(top.glob("**/"), reverse=True), top):
            if folder.is_dir():
                folder.rmdir()
