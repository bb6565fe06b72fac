"""User namespaces on the running kernel: who owns what, and what is left of a failure."""

import fcntl
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.kernel import IdRange, NamespaceRequest, UserMapping, users
from runtime.kernel.mounts import LinuxMounts
from runtime.kernel.namespaces import LinuxNamespaces
from runtime.kernel.users import UserPrograms, held, obstacle
from store.errors import DeadlineExceededError, FailedPreconditionError, InvalidArgumentError
from tests.userns import MAPPING, PROGRAMS

pytestmark = pytest.mark.root

_NS_GET_USERNS = 0xB701
_HOLD = """
import sys, time
from tests.userns import MAPPING, PROGRAMS
from runtime.kernel.users import held
with held(PROGRAMS, MAPPING) as made:
    print(made.parent.name, flush=True)
    time.sleep(60)
"""


def owner(namespace: Path) -> int:
    """Return the inode of the user namespace that owns another."""
    descriptor = os.open(namespace, os.O_RDONLY)
    try:
        found = fcntl.ioctl(descriptor, _NS_GET_USERNS)
        try:
            return os.fstat(found).st_ino
        finally:
            os.close(found)
    finally:
        os.close(descriptor)


def children() -> str:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text()


def program(directory: Path, script: str) -> UserPrograms:
    path = directory / "unshare"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return UserPrograms(unshare=path, cat=PROGRAMS.cat)


def test_ids_are_mapped_as_asked_and_the_process_goes() -> None:
    before = children()
    with held(PROGRAMS, MAPPING) as made:
        assert (made.parent / "uid_map").read_text().split() == ["0", "200000", "65536"]
        assert (made.parent / "gid_map").read_text().split() == ["0", "300000", "65536"]
        assert (made / "user").readlink() != Path("/proc/self/ns/user").readlink()
        assert (made / "net").readlink() == Path("/proc/self/ns/net").readlink()
    assert not made.exists()
    assert children() == before


def test_a_pods_namespaces_belong_to_its_users(tmp_path: Path) -> None:
    directory = tmp_path / "pod"
    namespaces = LinuxNamespaces(programs=PROGRAMS)
    sysctls = {"kernel.shm_rmid_forced": "1", "net.ipv4.ip_forward": "1", "fs.mqueue.msg_max": "9"}
    request = NamespaceRequest(
        directory=directory, users=MAPPING, hostname="mapped", sysctls=sysctls
    )
    namespaces.create(request)
    made = (directory / "user").stat().st_ino
    for kind in ("net", "ipc", "uts"):
        assert owner(directory / kind) == made
    script = (
        "hostname; cat /proc/sys/{kernel/shm_rmid_forced,net/ipv4/ip_forward,fs/mqueue/msg_max}"
    )
    inside = subprocess.run(
        [
            "nsenter",
            *(f"--{kind}={directory}/{kind}" for kind in ("net", "ipc", "uts")),
            *("bash", "-c", f"{script}; ip -o link show lo"),
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert inside.split()[:4] == ["mapped", "1", "1", "9"]
    assert "LOOPBACK,UP" in inside
    namespaces.remove(directory)
    assert not directory.exists()


def test_a_refused_sysctl_leaves_nothing(tmp_path: Path) -> None:
    before = children()
    request = NamespaceRequest(
        directory=tmp_path / "pod", users=MAPPING, sysctls={"net.ipv4.ip_default_ttl": "x"}
    )
    with pytest.raises(InvalidArgumentError, match="ip_default_ttl"):
        LinuxNamespaces(programs=PROGRAMS).create(request)
    assert not (tmp_path / "pod").exists()
    assert LinuxMounts().mounted(tmp_path) == []
    assert children() == before


def test_without_the_programs_there_are_none(tmp_path: Path) -> None:
    with pytest.raises(FailedPreconditionError, match="unshare or cat is missing"):
        LinuxNamespaces().create(NamespaceRequest(directory=tmp_path / "pod", users=MAPPING))
    assert not (tmp_path / "pod").exists()


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("echo not permitted >&2; exit 1", "cannot make a user namespace: not permitted"),
        ("exit 0", "no reason"),
        ("kill -9 $$", "no reason"),
        ("echo y; sleep 60", "no reason"),
    ],
)
def test_a_failing_program_is_quoted(tmp_path: Path, script: str, text: str) -> None:
    before = children()
    with (
        pytest.raises(FailedPreconditionError, match=text),
        held(program(tmp_path, script), MAPPING),
    ):
        pytest.fail("entered")
    assert children() == before


def test_a_hanging_or_missing_program_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(users, "_TIMEOUT", 0.2)
    with (
        pytest.raises(DeadlineExceededError, match=r"within 0\.2 s"),
        held(program(tmp_path, "exec sleep 60"), MAPPING),
    ):
        pytest.fail("entered")
    missing = UserPrograms(unshare=tmp_path / "missing", cat=PROGRAMS.cat)
    with (
        pytest.raises(FailedPreconditionError, match="missing: No such file"),
        held(missing, MAPPING),
    ):
        pytest.fail("entered")


def test_a_mapping_the_kernel_refuses_is_named() -> None:
    wrong = UserMapping(uids=MAPPING.uids, gids=IdRange(first=2**32 - 5, length=10))
    with pytest.raises(FailedPreconditionError, match=r"gid_map.*Invalid"), held(PROGRAMS, wrong):
        pytest.fail("entered")


def test_the_process_ends_with_a_killed_daemon() -> None:
    daemon = subprocess.Popen([sys.executable, "-c", _HOLD], stdout=subprocess.PIPE, text=True)
    assert daemon.stdout is not None
    holder = os.pidfd_open(int(daemon.stdout.readline()))
    daemon.send_signal(signal.SIGKILL)
    daemon.wait()
    daemon.stdout.close()
    poll = select.poll()
    poll.register(holder, select.POLLIN)
    ended = poll.poll(10_000)
    os.close(holder)
    assert ended


def test_nothing_is_left_after_thirty_pods(tmp_path: Path) -> None:
    namespaces = LinuxNamespaces(programs=PROGRAMS)
    before, descriptors = children(), len(list(Path("/proc/self/fd").iterdir()))
    for number in range(30):
        namespaces.create(NamespaceRequest(directory=tmp_path / str(number), users=MAPPING))
    for number in range(30):
        namespaces.remove(tmp_path / str(number))
    assert list(tmp_path.iterdir()) == []
    assert LinuxMounts().mounted(tmp_path) == []
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
    assert children() == before


def test_an_obstacle_is_told_by_reason(tmp_path: Path) -> None:
    assert obstacle(PROGRAMS, tmp_path) == ""
    assert obstacle(PROGRAMS, Path("/proc")) == "the file system of /proc has no idmapped mounts"
    failing = program(tmp_path, "echo switched off >&2; exit 1")
    assert obstacle(failing, tmp_path) == "cannot make a user namespace: switched off"
    assert "No such file" in obstacle(PROGRAMS, tmp_path / "missing")
