"""The daemon that systemd runs on this machine, and what systemd and the kernel tell of it."""

import subprocess
import time
from pathlib import Path
from typing import Final

from e2e.processes import stat

ADDRESS: Final = Path("/run/ferry/ferry.sock")
UNIT: Final = "ferryd.service"
ROOT: Final = Path("/var/lib/ferry")
STATE: Final = Path("/run/ferry")
CGROUPS: Final = Path("/sys/fs/cgroup")
_DROP_IN: Final = Path("/etc/ferry/conf.d/50-test.toml")
_UNIT_DROP_IN: Final = Path(f"/run/systemd/system/{UNIT}.d/test.conf")
# Seconds. An emulated machine takes its time, and stands still when its host is busy.
PATIENCE: Final = 600
_PAUSE: Final = 0.2


def run(*argv: str) -> str:
    """Return what a program prints; it must succeed."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout.rstrip("\n")


def systemctl(*argv: str) -> str:
    """Return what systemctl prints."""
    return run("systemctl", *argv)


def shown(name: str, unit: str = UNIT) -> str:
    """Return a property of a unit."""
    return systemctl("show", f"--property={name}", "--value", unit)


def main_pid() -> int:
    """Return the daemon's process."""
    return int(shown("MainPID"))


def journal() -> str:
    """Return what the daemon has logged since the machine was started."""
    return run("journalctl", "--unit", UNIT, "--output", "cat", "--no-pager")


def until_another_runs(former: int) -> int:
    """Return the process of the daemon that systemd has started in place of `former`."""
    deadline = time.monotonic() + PATIENCE
    while shown("ActiveState") != "active" or main_pid() in (0, former):
        assert time.monotonic() < deadline, f"no other daemon runs:\n{journal()[-4000:]}"
        time.sleep(_PAUSE)
    return main_pid()


def set_watchdog(seconds: int) -> None:
    """Restart the daemon with this patience of systemd's."""
    _UNIT_DROP_IN.parent.mkdir(parents=True, exist_ok=True)
    _UNIT_DROP_IN.write_text(f"[Service]\nWatchdogSec={seconds}\n")
    systemctl("daemon-reload")
    systemctl("restart", UNIT)


def configure(text: str) -> None:
    """Write what differs from the installed configuration; it is read at the next restart."""
    _DROP_IN.parent.mkdir(parents=True, exist_ok=True)
    _DROP_IN.write_text(text)


def use_driver(driver: str) -> None:
    """Restart the daemon with this cgroup driver, unless it has it."""
    wanted = f'[cgroups]\ndriver = "{driver}"\n'
    if not _DROP_IN.exists() or _DROP_IN.read_text() != wanted:
        configure(wanted)
        systemctl("restart", UNIT)


def units() -> set[str]:
    """Return every slice and scope that systemd knows."""
    listing = systemctl("list-units", "--all", "--plain", "--no-legend", "--type=slice,scope")
    return {line.split()[0] for line in listing.splitlines() if line}


def cgroup_of(pid: int) -> Path:
    """Return the directory of a process's cgroup."""
    (line,) = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return CGROUPS / line.removeprefix("0::/")


def started(pid: int) -> str:
    """Return when a process was started, in the kernel's ticks: two with one number differ."""
    return stat(pid)[19]
