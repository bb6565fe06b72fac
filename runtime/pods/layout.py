"""Where a pod's things lie: pure paths below the daemon's root and state directories.

```
STATE/pods/<namespace>/<sandbox>/        ns/{net,ipc,uts,user}  shm/  hostname  resolv.conf
STATE/containers/<namespace>/<id>/       config.json  rootfs/  images/<n>/  monitor/
ROOT/volumes/<namespace>/<id>/<n>/       what the image declares as VOLUME
```

State may lie on a tmpfs: a reboot takes it, and nothing in it is needed after one.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SandboxFiles:
    """One sandbox's files."""

    directory: Path

    @property
    def namespaces(self) -> Path:
        """The directory of pinned namespaces."""
        return self.directory / "ns"

    @property
    def shm(self) -> Path:
        """The mount point of the pod's /dev/shm."""
        return self.directory / "shm"

    @property
    def hostname(self) -> Path:
        """What containers see as /etc/hostname."""
        return self.directory / "hostname"

    @property
    def resolv_conf(self) -> Path:
        """What containers see as /etc/resolv.conf."""
        return self.directory / "resolv.conf"

    def namespace(self, kind: str) -> Path:
        """Return the pin of one namespace."""
        return self.namespaces / kind


@dataclass(frozen=True, slots=True)
class ContainerFiles:
    """One container's files."""

    bundle: Path
    volumes: Path

    @property
    def rootfs(self) -> Path:
        """The mount point of the container's root filesystem."""
        return self.bundle / "rootfs"

    @property
    def images(self) -> Path:
        """The directory of mount points of image volumes."""
        return self.bundle / "images"

    @property
    def config(self) -> Path:
        """The OCI runtime spec."""
        return self.bundle / "config.json"


@dataclass(frozen=True, slots=True)
class Layout:
    """The daemon's directories."""

    root: Path
    state: Path

    @property
    def pods(self) -> Path:
        """Where every sandbox has its directory."""
        return self.state / "pods"

    @property
    def containers(self) -> Path:
        """Where every container has its bundle."""
        return self.state / "containers"

    @property
    def volumes(self) -> Path:
        """Where containers keep what their images declare as VOLUME."""
        return self.root / "volumes"

    def sandbox(self, namespace: str, id_: str) -> SandboxFiles:
        """Return the files of a sandbox."""
        return SandboxFiles(self.pods / namespace / id_)

    def container(self, namespace: str, id_: str) -> ContainerFiles:
        """Return the files of a container."""
        return ContainerFiles(self.containers / namespace / id_, self.volumes / namespace / id_)
