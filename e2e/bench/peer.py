"""The peer: containerd with runc, crun and the CNI plugins that its users run it with.

It is built once from Go modules (`peer/go.mod` has the versions) into the cache, or found on the
machine. `python -m e2e.bench.peer` builds it, where there is a network.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from e2e import golang
from e2e.daemon import Service, toml

_MODULE: Final = golang.Programs(name="peer", module=Path(__file__).parent / "peer")
_PLUGINS: Final = ("bridge", "host-local", "loopback", "portmap")
# What the distributions' packages install.
_SYSTEM_PLUGINS: Final = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
_CNI_STATE: Final = Path("/var/lib/cni")
_TOOLS: Final = "/opt/ferry/bin"


class PeerError(Exception):
    """There is no peer; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """The peer's programs: containerd and its shim in one folder, CNI plugins in another."""

    containerd: Path
    plugins: Path

    @property
    def version(self) -> str:
        """What containerd says it is."""
        argv = [str(self.containerd / "containerd"), "--version"]
        output: str = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
        return output.split()[2].lstrip("v").partition("+")[0]


def find() -> Programs:
    """Return the peer as it was built, or else as the machine has it, or raise PeerError."""
    if (built := _MODULE.folder).is_dir():
        return Programs(containerd=built, plugins=built)
    installed = shutil.which("containerd")
    plugins = [folder for folder in _SYSTEM_PLUGINS if (folder / "bridge").exists()]
    if installed and plugins:
        return Programs(containerd=Path(installed).parent, plugins=plugins[0])
    raise PeerError(
        "no peer: neither built (python -m e2e.bench.peer, needs Go 1.26) nor installed (packages "
        "containerd and containernetworking-plugins)"
    )


def build() -> Programs:
    """Return the peer, building it first where it is missing and Go is there."""
    if _MODULE.why_not():
        return find()
    try:
        _MODULE.build()
    except golang.GoError as error:
        raise PeerError(str(error)) from error
    return find()


class Containerd(Service):
    """containerd as a node has it: overlayfs, a bridge with masquerade and port maps."""

    def __init__(
        self, folder: Path, programs: Programs, pause: str, *, hosts: Path | None = None
    ) -> None:
        super().__init__(folder)
        self._programs = programs
        self._hosts = hosts or folder / "certs.d"
        network = folder / "cni"
        network.mkdir()
        document = _network("peer0", "10.187.0.0/16", folder / "addresses")
        (network / "10-peer.conflist").write_text(json.dumps(document))
        self.config.write_text("version = 3\n" + self._configuration(network, pause))

    def argv(self) -> list[str]:
        return [str(self._programs.containerd / "containerd"), "--config", str(self.config)]

    def environment(self) -> dict[str, str]:
        path = f"{self._programs.containerd}:{_TOOLS}:{os.environ['PATH']}"
        # Faster decompressors in PATH would be used by themselves; a node rarely has them.
        plain = {"CONTAINERD_DISABLE_IGZIP": "1", "CONTAINERD_DISABLE_PIGZ": "1"}
        return {**super().environment(), **plain, "PATH": path}

    def _configuration(self, network: Path, pause: str) -> str:
        images, runtime = (
            "plugins.'io.containerd.cri.v1.images'",
            "plugins.'io.containerd.cri.v1.runtime'",
        )
        handlers: dict[str, dict[str, dict[str, object]]] = {
            name: {
                f"{runtime}.containerd.runtimes.{name}": {"runtime_type": "io.containerd.runc.v2"},
                f"{runtime}.containerd.runtimes.{name}.options": {
                    "BinaryName": f"{_TOOLS}/{name}",
                    "SystemdCgroup": False,
                },
            }
            for name in ("runc", "crun")
        }
        top = f"root = {json.dumps(str(self.root))}\nstate = {json.dumps(str(self.state / 's'))}\n"
        return top + toml(
            {
                "grpc": {"address": str(self.address)},
                images: {"snapshotter": "overlayfs"},
                f"{images}.registry": {"config_path": str(self._hosts)},
                f"{images}.pinned_images": {"sandbox": pause},
                runtime: {"restrict_oom_score_adj": True},
                f"{runtime}.cni": {
                    "bin_dirs": [str(self._programs.plugins)],
                    "conf_dir": str(network),
                },
                f"{runtime}.containerd": {"default_runtime_name": "crun"},
                **handlers["runc"],
                **handlers["crun"],
            }
        )

    def start(self) -> float:
        if not os.path.ismount(_CNI_STATE):
            _CNI_STATE.mkdir(exist_ok=True)
            subprocess.run(["mount", "-t", "tmpfs", "tmpfs", _CNI_STATE], check=True)
        return super().start()


def _network(bridge: str, subnet: str, addresses: Path) -> dict[str, object]:
    ranges = [[{"subnet": subnet}]]
    return {
        "cniVersion": "1.0.0",
        "name": bridge,
        "plugins": [
            {
                "type": "bridge",
                "bridge": bridge,
                "isGateway": True,
                "ipMasq": True,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "dataDir": str(addresses),
                    "ranges": ranges,
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
        ],
    }


def main() -> int:
    """Build the peer where it is missing."""
    try:
        programs = build()
    except PeerError as error:
        sys.stderr.write(f"peer: {error}\n")
        return 1
    print(f"containerd {programs.version} in {programs.containerd}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
