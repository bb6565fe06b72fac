"""Programs built from Go modules, once, into the cache: what the distribution does not package.

A module's go.mod names the programs (`tool` lines) and go.sum every byte they are made of; its
digest names the folder they are kept in.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from e2e.packages import cache_folder

_GO_LINE: Final = re.compile(r"^go (\d+)\.(\d+)", re.MULTILINE)


class GoError(Exception):
    """Programs could not be built; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """The programs of the module in the folder `module`; the cache keeps them under `name`."""

    name: str
    module: Path
    ldflags: str = "-s -w"

    @property
    def folder(self) -> Path:
        """Where they are once they are built."""
        key = hashlib.sha256((self.module / "go.sum").read_bytes()).hexdigest()[:16]
        return cache_folder() / self.name / key

    def why_not(self) -> str:
        """Say why they are neither there nor can be built here; nothing if they are or can."""
        if self.folder.is_dir():
            return ""
        wanted = _GO_LINE.search((self.module / "go.mod").read_text())
        assert wanted, f"no go line: {self.module / 'go.mod'}"
        version = _go_version()
        if version and version >= (int(wanted[1]), int(wanted[2])):
            return ""
        has = f"this is Go {version[0]}.{version[1]}" if version else "there is no Go here"
        return f"{self.name} is built with Go {wanted[1]}.{wanted[2]}, and {has}"

    def build(self) -> Path:
        """Return the folder of the programs, building them first where they are missing."""
        if self.folder.is_dir():
            return self.folder
        sys.stderr.write(f"{self.name}: building from Go modules (minutes, the first time)\n")
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=self.folder.parent) as work:
            self._build_into(Path(work) / "bin")
            (Path(work) / "bin").rename(self.folder)
        return self.folder

    def _build_into(self, folder: Path) -> None:
        result = subprocess.run(
            ["go", "build", f"-ldflags={self.ldflags}", "-o", f"{folder}/", "tool"],
            cwd=self.module,
            env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false"},
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise GoError(f"cannot build {self.name}: {result.stderr[-2000:]}")


def _go_version() -> tuple[int, int] | None:
    if shutil.which("go") is None:
        return None
    argv = ["go", "env", "GOVERSION"]
    output = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    found = re.search(r"go(\d+)\.(\d+)", output)
    return (int(found[1]), int(found[2])) if found else None
