"""The machine's disks: a Debian 13 with this source tree installed, and what its tests read.

`system` makes a plain Debian with debootstrap, once for each list of packages, and keeps it in the
cache. `installed` copies it and runs the project's own `deploy/install.sh` in the copy: natively,
because pip would take ten minutes in an emulated machine. In the machine install.sh runs again,
finds all but the service done, and starts that.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from e2e.daemon import REPOSITORY
from e2e.images import BUSYBOX, layout
from e2e.packages import cache_folder
from e2e.registry import serving
from e2e.vm import agent
from e2e.vm.machine import Disk, MachineError

SUITE: Final = "trixie"
# What Debian's installer puts on a server, as far as it matters here.
_SYSTEM: Final = (
    "apparmor",
    "ca-certificates",
    "dbus",
    "initramfs-tools",
    "iproute2",
    "kmod",
    "linux-image-cloud-amd64",
    "procps",
    "python3",
    "systemd-sysv",
    "udev",
)
# What the tests need beside ferry.
_TESTS: Final = ("docker-registry",)
_KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_UNITS: Final = Path("etc/systemd/system")
# Whom this host trusts, which may be more than Debian does: a company's proxy.
_CERTIFICATES: Final = "/etc/ssl/certs/ca-certificates.crt"
_AGENT: Final = "usr/local/sbin/ferry-agent"
_AGENT_UNIT: Final = f"""\
[Unit]
ConditionPathExists={agent.PORT}
[Service]
ExecStart=/{_AGENT}
Restart=always
Delegate=yes
KillMode=process
"""
# Timers and services that would only disturb.
_MASKED: Final = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "docker-registry.service",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "fstrim.timer",
    "getty@tty1.service",
)
_SIZE: Final = "3G"
# pytest in the machine: pure Python, so it needs no installation.
_PYTEST: Final = (
    "hypothesis",
    "iniconfig",
    "packaging",
    "pluggy",
    "pytest",
    "pytest-asyncio",
    "sortedcontainers",
)


def _run(*argv: str | Path) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-12:])
        raise MachineError(f"cannot run {' '.join(map(str, argv[:3]))}: {tail}")
    return done.stdout


def _say(text: str) -> None:
    sys.stderr.write(f"vm: {text}\n")


def _mirror() -> str:
    """Return the archive that this machine's apt uses, else Debian's own."""
    listing = _run("apt-get", "indextargets", "--format", "$(CREATED_BY) $(REPO_URI)")
    found = [line.split()[1] for line in listing.splitlines() if line.startswith("Packages ")]
    archives = [uri for uri in found if uri.rstrip("/").endswith("/debian")]
    return archives[0] if archives else "http://deb.debian.org/debian"


def system() -> Path:
    """Return the folder of a plain Debian, made where it is missing."""
    key = hashlib.sha256(repr((SUITE, _SYSTEM, _TESTS)).encode()).hexdigest()[:16]
    folder = cache_folder() / "vm" / key
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            work = folder.with_suffix(".new")
            shutil.rmtree(work, ignore_errors=True)
            _say(f"making Debian {SUITE} in {folder}")
            packages = ",".join((*_SYSTEM, *_TESTS))
            argv = ("--variant=minbase", f"--keyring={_KEYRING}", f"--include={packages}")
            _run("debootstrap", *argv, SUITE, work, _mirror())
            work.rename(folder)
    return folder


def _prepare(root: Path) -> None:
    """Add the agent, a name and a file system table."""
    shutil.copy(agent.__file__, root / _AGENT)
    (root / _AGENT).chmod(0o755)
    (root / _UNITS / "ferry-agent.service").write_text(_AGENT_UNIT)
    wants = root / _UNITS / "multi-user.target.wants"
    wants.mkdir(exist_ok=True)
    (wants / "ferry-agent.service").symlink_to("../ferry-agent.service")
    for unit in _MASKED:
        (root / _UNITS / unit).unlink(missing_ok=True)
        (wants / unit).unlink(missing_ok=True)
        (root / _UNITS / unit).symlink_to("/dev/null")
    (root / "etc/fstab").write_text("/dev/vda / ext4 rw,noatime 0 1\n")
    (root / "etc/hostname").write_text("node\n")
    (root / "etc/machine-id").write_text("")
    (root / "host").mkdir(exist_ok=True)


def source(folder: Path) -> None:
    """Copy the source tree as git sees it, with what is not committed yet."""
    listing = _run("git", "-C", REPOSITORY, "ls-files", "-z", "-co", "--exclude-standard")
    for name in filter(None, listing.split("\0")):
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)


def _pinned(lock: Path) -> list[str]:
    """Return the lock file's entries for what pytest needs."""
    entries = lock.read_text().replace("\\\n", " ").splitlines()
    return [entry for entry in entries if entry.split("==")[0] in _PYTEST]


def share(folder: Path) -> None:
    """Fill a folder with what the machine reads: the source, a registry's files, pytest."""
    source(folder / "ferry")
    wanted = folder / "pytest.lock"
    wanted.write_text("\n".join(_pinned(REPOSITORY / "requirements-dev.lock")) + "\n")
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    strict = ("--no-deps", "--only-binary=:all:", "--require-hashes", "--no-compile")
    _run(*pip, *strict, "--target", folder / "site", "-r", wanted)
    with serving(folder.parent / "filling") as registry:
        registry.push(layout(), BUSYBOX)
    shutil.copytree(folder.parent / "filling" / "data", folder / "registry")


def installed(root: Path, share: Path) -> None:
    """Install the source tree in the folder of a Debian, as `make install` does."""
    script = f"""
set -e
mount --make-rprivate /
mount -t proc proc {root}/proc
mount --bind /dev {root}/dev
mount --bind {share} {root}/host
mount --bind {_CERTIFICATES} {root}{_CERTIFICATES}
cp /etc/resolv.conf {root}/etc/resolv.conf
export PIP_CERT={_CERTIFICATES}
chroot {root} bash -c 'apt-get -q update && cp -r /host/ferry /root/ferry'
chroot {root} bash -c 'cd /root/ferry && deploy/install.sh --no-start'
rm {root}/etc/resolv.conf
"""
    _run("unshare", "--mount", "bash", "-c", script)


def image(root: Path, target: Path, label: str, size: str) -> None:
    """Make a file system of a folder."""
    _run(
        "mke2fs",
        "-q",
        "-F",
        "-t",
        "ext4",
        "-L",
        label,
        "-O",
        "^has_journal",
        "-d",
        root,
        target,
        size,
    )


def make(folder: Path) -> Disk:
    """Make both disks in `folder`, which may be thrown away afterwards."""
    root, shared = folder / "root", folder / "share"
    _run("cp", "-a", system(), root)
    _prepare(root)
    _say("packing the source tree, a registry and pytest")
    share(shared)
    _say("installing the source tree")
    installed(root, shared)
    (kernel,), (initrd,) = root.glob("boot/vmlinuz-*"), root.glob("boot/initrd.img-*")
    disk = Disk(
        image=folder / "disk.img",
        kernel=folder / "vmlinuz",
        initrd=folder / "initrd",
        share=folder / "share.img",
    )
    shutil.copy(kernel, disk.kernel)
    shutil.copy(initrd, disk.initrd)
    image(root, disk.image, "root", _SIZE)
    used = int(_run("du", "-sm", shared).split()[0])
    image(shared, disk.share, "host", f"{used * 5 // 4 + 64}M")
    shutil.rmtree(root)
    return disk
