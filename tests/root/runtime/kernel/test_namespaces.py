import os
import socket
import threading
from pathlib import Path

import pytest

from runtime.kernel import NamespaceRequest, Namespaces, options, syscalls
from runtime.kernel.mounts import LinuxMounts
from runtime.kernel.namespaces import LinuxNamespaces, PodDefaults
from runtime.kernel.threads import enter, in_thread
from runtime.kernel.users import UserPrograms
from store.errors import InvalidArgumentError
from store.snapshots import Mount
from tests.contracts.kernel import NamespacesContract
from tests.listing import descriptors

pytestmark = pytest.mark.root

PROGRAMS = UserPrograms(unshare=Path("/usr/bin/unshare"), cat=Path("/bin/cat"))


class TestLinuxNamespaces(NamespacesContract):
    @pytest.fixture
    def namespaces(self) -> Namespaces:
        return LinuxNamespaces(programs=PROGRAMS)


def inside(directory: Path, *paths: str) -> list[str]:
    """Read files of /proc in all three namespaces of a sandbox."""

    def read() -> list[str]:
        for kind in (syscalls.CLONE_NEWIPC, syscalls.CLONE_NEWUTS):
            name = "ipc" if kind == syscalls.CLONE_NEWIPC else "uts"
            descriptor = os.open(directory / name, os.O_RDONLY)
            syscalls.setns(descriptor, kind)
            os.close(descriptor)
        return [Path(path).read_text().strip() for path in paths]

    return in_thread(read, directory / "net")


def own() -> list[str]:
    return [str(Path(f"/proc/thread-self/ns/{kind}").readlink()) for kind in ("net", "ipc", "uts")]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "pod"


def test_what_was_asked_for_is_set_inside_and_not_outside(directory: Path) -> None:
    before, hostname = own(), socket.gethostname()
    shm = Path("/proc/sys/kernel/shm_rmid_forced").read_text()
    sysctls = {
        "kernel.shm_rmid_forced": "1",
        "fs.mqueue.msg_max": "17",
        "net/ipv4/conf/all/forwarding": "1",
        "net.ipv4.ip_local_port_range": "1024 65000",
    }
    namespaces = LinuxNamespaces(PodDefaults(unprivileged_ports=True, unprivileged_ping=True))
    namespaces.create(NamespaceRequest(directory=directory, hostname="web-0", sysctls=sysctls))
    assert inside(
        directory,
        "/proc/sys/kernel/hostname",
        "/proc/sys/kernel/shm_rmid_forced",
        "/proc/sys/fs/mqueue/msg_max",
        "/proc/sys/net/ipv4/conf/all/forwarding",
        "/proc/sys/net/ipv4/ip_local_port_range",
        "/proc/sys/net/ipv4/ip_unprivileged_port_start",
        "/proc/sys/net/ipv4/ping_group_range",
    ) == ["web-0", "1", "17", "1", "1024\t65000", "0", "0\t2147483647"]
    assert own() == before
    assert socket.gethostname() == hostname
    assert Path("/proc/sys/kernel/shm_rmid_forced").read_text() == shm
    namespaces.remove(directory)
    assert not directory.exists()


def test_the_request_overrides_the_defaults(directory: Path) -> None:
    namespaces = LinuxNamespaces(PodDefaults(unprivileged_ports=True))
    sysctls = {"net.ipv4.ip_unprivileged_port_start": "80"}
    namespaces.create(NamespaceRequest(directory=directory, sysctls=sysctls))
    assert inside(directory, "/proc/sys/net/ipv4/ip_unprivileged_port_start") == ["80"]
    namespaces.remove(directory)


def test_loopback_is_up(directory: Path) -> None:
    namespaces = LinuxNamespaces()
    namespaces.create(NamespaceRequest(directory=directory))

    def connect() -> str:
        with socket.create_server(("127.0.0.1", 0)) as server:
            address: tuple[str, int] = server.getsockname()
            with socket.create_connection(address) as client:
                return str(client.getpeername()[0])

    assert in_thread(connect, directory / "net") == "127.0.0.1"
    namespaces.remove(directory)


@pytest.mark.parametrize("value", ["not a number", "9" * 40])
def test_a_value_the_kernel_refuses_leaves_nothing(directory: Path, value: str) -> None:
    request = NamespaceRequest(directory=directory, sysctls={"net.ipv4.ip_default_ttl": value})
    with pytest.raises(InvalidArgumentError, match=r"'net.ipv4.ip_default_ttl' to '.*Invalid"):
        LinuxNamespaces().create(request)
    assert not directory.exists()
    assert LinuxMounts().mounted(directory) == []


def test_a_failure_halfway_leaves_no_pin_and_the_process_at_home(directory: Path) -> None:
    before = own()
    directory.mkdir()
    (directory / "uts").mkdir()
    with pytest.raises(FileExistsError):
        LinuxNamespaces().create(NamespaceRequest(directory=directory))
    assert LinuxMounts().mounted(directory) == []
    assert own() == before


def test_pins_are_not_taken_along_by_a_recursive_bind(tmp_path: Path, directory: Path) -> None:
    namespaces, mounts = LinuxNamespaces(), LinuxMounts()
    namespaces.create(NamespaceRequest(directory=directory))
    copy = tmp_path / "copy"
    copy.mkdir()
    mounts.mount(Mount(type="none", source=str(directory), options=("rbind",)), copy)
    assert mounts.mounted(copy) == [copy]
    mounts.unmount(copy)
    namespaces.remove(directory)


def test_an_unpin_reaches_other_mount_namespaces(tmp_path: Path, directory: Path) -> None:
    namespaces, mounts = LinuxNamespaces(), LinuxMounts()
    mounts.mount(Mount(type="tmpfs", source="x", options=("shared",)), tmp_path)
    namespaces.create(NamespaceRequest(directory=directory))
    copied, removed = threading.Event(), threading.Event()
    seen: list[list[Path]] = []

    def other() -> None:
        syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_FS)
        seen.append(mounts.mounted(directory))
        copied.set()
        removed.wait(10)
        seen.append(mounts.mounted(directory))

    thread = threading.Thread(target=other)
    thread.start()
    assert copied.wait(10)
    namespaces.remove(directory)
    removed.set()
    thread.join()
    assert seen == [[directory / kind for kind in ("ipc", "net", "uts")], []]
    assert mounts.unmount(tmp_path)


def test_nothing_is_left_after_a_hundred_pods(tmp_path: Path) -> None:
    namespaces = LinuxNamespaces()
    before = descriptors()
    for number in range(100):
        namespaces.create(NamespaceRequest(directory=tmp_path / str(number)))
    for number in range(100):
        namespaces.remove(tmp_path / str(number))
    assert list(tmp_path.iterdir()) == []
    assert LinuxMounts().mounted(tmp_path) == []
    assert descriptors() <= before
    assert "namespaces" not in {thread.name for thread in threading.enumerate()}


def test_alive_tells_a_leftover_file_from_a_pin(directory: Path) -> None:
    directory.mkdir()
    (directory / "net").touch()
    assert not LinuxNamespaces().alive(directory, ("net",))
    LinuxNamespaces().remove(directory)
    assert not directory.exists()


def test_enter_raises_for_what_is_no_namespace(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="setns"):
        in_thread(lambda: None, tmp_path / "file")
    with pytest.raises(FileNotFoundError):
        enter(tmp_path / "missing")


def test_a_pin_outlives_a_remount_of_nothing(directory: Path) -> None:
    namespaces = LinuxNamespaces()
    namespaces.create(NamespaceRequest(directory=directory, ipc=False, uts=False))
    fields = next(
        line.split()
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if options.unescape(line.split()[4]) == str(directory / "net")
    )
    assert fields[6] == "unbindable"
    namespaces.remove(directory)
