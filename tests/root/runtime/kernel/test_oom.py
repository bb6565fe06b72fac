"""The kernel's own words about a process that it has killed for memory."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.cgroups.detect import Layout, detect
from runtime.kernel import oom
from runtime.kernel.processes import start_time

pytestmark = pytest.mark.root

_ROOT = Path("/sys/fs/cgroup")
_LIMITS = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.max", "memory.swap.max")


@pytest.fixture
def small() -> Iterator[Path]:
    """A cgroup with little memory."""
    v2 = detect().layout is Layout.V2
    home = (_ROOT if v2 else _ROOT / "memory") / "ferry-test-oom"
    home.mkdir()
    for limit in _LIMITS:
        if (home / limit).exists():
            (home / limit).write_text(str(8 << 20))
    yield home
    home.rmdir()


def test_the_log_tells_of_a_victim_and_of_nobody_else(small: Path) -> None:
    script = "read go; x=xxxxxxxx; while :; do x=$x$x; done"
    process = subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE)
    started = start_time(process.pid)
    assert started is not None
    (small / "cgroup.procs").write_text(str(process.pid))
    process.communicate(b"go\n")
    assert process.returncode == -9
    victim = oom.Suspect.of(process.pid, started, "")
    assert oom.killed(oom.records(), victim)
    assert not oom.killed(oom.records(), oom.Suspect.of(process.pid + 1, started, ""))
    later = oom.Suspect(pid=victim.pid, cgroup="", since=victim.since + 60_000_000)
    assert not oom.killed(oom.records(), later)
