"""What a number needs beside it to mean something: where, with what, under which load."""

import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path

from e2e.bench.peer import Programs

_TOOLS = ("crun", "runc", "conmon")


def _first_line(*argv: str) -> str:
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    return (result.stdout or result.stderr).partition("\n")[0]


def _filesystem(folder: Path) -> str:
    return _first_line("stat", "-f", "-c", "%T", str(folder))


def _cgroups() -> str:
    """Say the version, and whether favordynmods is on: it makes every runtime's joins cheaper."""
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    v2 = any(line.split()[1:3] == ["/sys/fs/cgroup", "cgroup2"] for line in mounts)
    favored = any("favordynmods" in line for line in mounts)
    return f"v{2 if v2 else 1}, favordynmods {'on' if favored else 'off'}"


def gather(folder: Path, prefix: str, programs: Programs | None) -> Mapping[str, object]:
    """Return the facts of this run."""
    processor = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "kernel": platform.release(),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
        "processor": processor[0] if processor else "",
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "cgroups": _cgroups(),
        "filesystem": _filesystem(folder),
        "load before": os.getloadavg(),
        "tools": {name: _first_line(f"{prefix}/bin/{name}", "--version") for name in _TOOLS},
        "peer": f"containerd {programs.version}" if programs else None,
        "peer network": "CNI bridge (ipMasq) + host-local + portmap",
    }
