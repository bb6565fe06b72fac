"""OCI bundles for tests: busybox alone in a root filesystem."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

TOOLS = Path("/opt/ferry/bin")
APPLETS = ("sh", "sleep", "true", "false", "cat", "echo", "yes", "setsid", "kill", "head", "stty")


def tool(name: str) -> Path | None:
    """Find one of the node's tools, as the daemon would."""
    found = shutil.which(name, path=f"{TOOLS}:/usr/bin:/bin:/usr/sbin:/sbin")
    return None if found is None else Path(found)


def shell(script: str) -> tuple[str, ...]:
    """Return a command line for busybox's shell."""
    return ("/bin/sh", "-c", script)


def make_rootfs(path: Path) -> Path:
    """Make a root filesystem with busybox and a few of its names, unless it is there."""
    if path.exists():
        return path
    busybox = tool("busybox")
    assert busybox is not None, "no busybox"
    for name in ("bin", "proc", "sys", "dev", "tmp"):
        (path / name).mkdir(parents=True)
    shutil.copy(busybox, path / "bin" / "busybox")
    for applet in APPLETS:
        (path / "bin" / applet).symlink_to("busybox")
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What a container runs, and in which setting."""

    args: tuple[str, ...]
    terminal: bool = False
    stdin: bool = False
    memory: int = 0
    namespaces: tuple[str, ...] = ("pid", "ipc", "uts", "mount")


def make_bundle(path: Path, program: Program, *, cgroup: str, rootfs: Path) -> Path:
    """Write a bundle; the root filesystem may be shared by many."""
    path.mkdir(parents=True)
    memory = {"limit": program.memory, "swap": program.memory} if program.memory else {}
    config = {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": program.terminal,
            "user": {"uid": 0, "gid": 0},
            "args": list(program.args),
            "env": ["PATH=/bin"],
            "cwd": "/",
            "noNewPrivileges": True,
        },
        "root": {"path": str(rootfs), "readonly": True},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
            {
                "destination": "/dev/pts",
                "type": "devpts",
                "source": "devpts",
                "options": ["newinstance", "ptmxmode=0666"],
            },
        ],
        "linux": {
            "cgroupsPath": cgroup,
            "resources": {"memory": memory} if memory else {},
            "namespaces": [{"type": kind} for kind in program.namespaces],
        },
    }
    (path / "config.json").write_text(json.dumps(config))
    return path
