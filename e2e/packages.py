"""Packages of the distribution, unpacked beside the system: what the tests' programs come from.

Nothing is installed: apt resolves the packages with all their dependencies as for an empty system
and only downloads them, into a cache outside the tree. `python -m e2e.packages` fetches them where
there is a network; tests that run in a scope find them here.
"""

import fcntl
import hashlib
import os
import platform
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Final

WANTED: Final = (
    "bash",
    "busybox",  # not busybox-static: that one's shell needs no files for its commands
    "catatonit",
    "docker-registry",
    "nginx-light",
    "python3",
    "redis-server",
    "util-linux",
)

_PT_DYNAMIC: Final = 2
_FOLDERS: Final = ("usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin")


class PackagesError(Exception):
    """Packages could not be fetched; the text says why."""


def cache_folder() -> Path:
    """Return the folder of everything that can be made again."""
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "ferry"
    return Path("/var/cache/ferry") if os.geteuid() == 0 else Path.home() / ".cache" / "ferry"


class Packages:
    """Programs and libraries of an unpacked set of packages."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def program(self, name: str) -> Path:
        """Return the program `name`, or raise PackagesError."""
        for folder in _FOLDERS:
            if (self.root / folder / name).is_file():
                return self.root / folder / name
        raise PackagesError(f"cannot find program {name}: not in the packages {self.root}")

    @cached_property
    def versions(self) -> str:
        """What the set consists of: a line for each package file, sorted."""
        return (self.root.parent / "packages.txt").read_text()

    @cached_property
    def _library_path(self) -> str:
        folders = [*self.root.glob("lib/*-linux-gnu"), *self.root.glob("usr/lib/*-linux-gnu")]
        return ":".join(map(str, folders))

    @cached_property
    def _loader(self) -> Path:
        for file in sorted(self.root.glob("**/*-linux-gnu/ld-linux-*.so.*")):
            return file
        raise PackagesError(f"cannot find a dynamic loader: not in the packages {self.root}")

    def run(
        self, *argv: str | Path, env: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run one of the set's programs with the set's own libraries; the caller checks."""
        command = (self._loader, "--library-path", self._library_path, *argv)
        environment = {"PATH": os.defpath, "LC_ALL": "C", **(env or {})}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def libraries(self, program: Path) -> dict[str, Path]:
        """Return what `program` loads, by its path in an image; nothing if it is static."""
        if not _is_dynamic(program):
            return {}
        listing = self.run("--list", program)
        if listing.returncode != 0 or "not found" in listing.stdout:
            raise PackagesError(
                f"cannot list libraries of {program}: {listing.stdout}{listing.stderr}"
            )
        found: dict[str, Path] = {}
        for line in listing.stdout.splitlines():
            name, _, file = line.strip().partition(" => ")
            if file:
                path = Path(file.split(" (0x")[0])
                found[self._place(name, path)] = path.resolve()
        return found

    def _place(self, name: str, path: Path) -> str:
        if name.startswith("/"):  # the interpreter, which the kernel looks for at this very path
            return name.lstrip("/")
        return str(path.relative_to(self.root))


def _is_dynamic(program: Path) -> bool:
    """Tell whether an ELF file has a dynamic section (program headers: elf(5))."""
    with program.open("rb") as file:
        header = file.read(64)
        offset, size, count = (
            *struct.unpack_from("<Q", header, 32),
            *struct.unpack_from("<HH", header, 54),
        )
        file.seek(offset)
        kinds = [struct.unpack_from("<I", file.read(size))[0] for _ in range(count)]
    return _PT_DYNAMIC in kinds


def _key() -> str:
    release = platform.freedesktop_os_release()
    parts = (release["ID"], release.get("VERSION_ID", "rolling"), platform.machine(), *WANTED)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def packages() -> Packages:
    """Return the packages the tests use, or raise PackagesError if they were never fetched."""
    folder = cache_folder() / "packages" / _key()
    if not folder.is_dir():
        raise PackagesError(f"cannot find {folder}: fetch the packages with `make fixtures`")
    return Packages(folder / "root")


def fetch() -> Packages:
    """Return the packages the tests use, downloading them first where they are missing."""
    folder = cache_folder() / "packages" / _key()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            _fetch_into(folder)
    return packages()


def _fetch_into(folder: Path) -> None:
    sys.stderr.write(f"packages: fetching {' '.join(WANTED)} into {folder}\n")
    work = Path(tempfile.mkdtemp(prefix=".new-", dir=folder.parent))
    try:
        work.chmod(0o755)
        archives = _download(work / "apt")
        for archive in archives:
            _run("dpkg-deb", "-x", str(archive), str(work / "root"))
        listing = "".join(f"{archive.name}\n" for archive in archives)
        (work / "packages.txt").write_text(listing)
        shutil.rmtree(work / "apt")
        work.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _download(state: Path) -> list[Path]:
    """Download with an empty list of installed packages, so that every dependency comes, too."""
    (state / "archives" / "partial").mkdir(parents=True)
    (state / "status").touch()
    options = {
        "Dir::State::status": state / "status",
        "Dir::State::extended_states": state / "extended",
        "Dir::Cache::archives": state / "archives",
        "Dir::Cache::pkgcache": "",
        "Dir::Cache::srcpkgcache": "",
        "Dir::Log": state / "log",
        "Debug::NoLocking": "1",
        "APT::Sandbox::User": "root",
        "Acquire::Retries": "3",
    }
    flags = [flag for name, value in options.items() for flag in ("-o", f"{name}={value}")]
    install = ["apt-get", "-q", *flags, "-y", "--no-install-recommends", "--download-only"]
    try:
        _run(*install, "install", *WANTED)
    except PackagesError:  # lists that are missing or too old name files that are gone
        _run("apt-get", "-q", "update")
        _run(*install, "install", *WANTED)
    return sorted((state / "archives").glob("*.deb"))


def _run(*argv: str) -> None:
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        tail = "\n".join((result.stdout + result.stderr).splitlines()[-8:])
        raise PackagesError(f"cannot run {' '.join(argv[:2])}: {tail}")


def main() -> int:
    """Fetch what is missing."""
    try:
        fetch()
    except PackagesError as error:
        sys.stderr.write(f"packages: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
