"""Random directory trees with one of everything."""

import os
import random
import shutil
import stat
from pathlib import Path


def grow(root: Path, seed: int) -> None:
    """Fill a directory with one of everything, at random."""
    chance = random.Random(seed)  # noqa: S311 - trees, not secrets
    directories = [root]
    files: list[Path] = []
    for number in range(60):
        parent = chance.choice(directories)
        path = parent / f"{number}-{'é' * chance.randint(0, 60)}{'x' * chance.randint(0, 40)}"
        match chance.choice(["file", "file", "directory", "symlink", "hard", "fifo", "device"]):
            case "directory":
                path.mkdir()
                directories.append(path)
            case "symlink":
                path.symlink_to(chance.choice(["../x", "/etc/passwd", "y" * 150]))
            case "hard" if files:
                os.link(chance.choice(files), path)
            case "fifo":
                os.mkfifo(path)
            case "device":
                os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(chance.randint(1, 4000), number))
            case _:
                fill(path, chance)
                files.append(path)
    for path in sorted(root.rglob("*"), reverse=True):
        dress(path, chance)
    dress(root, chance)


def fill(path: Path, chance: random.Random) -> None:
    with path.open("wb") as file:
        for _ in range(chance.randint(0, 3)):
            if chance.random() < 0.4:
                file.seek(chance.randint(0, 1 << 20), os.SEEK_CUR)
            file.write(chance.randbytes(chance.randint(0, 40_000)))
        file.truncate(file.tell() + chance.choice([0, 0, 70_000]))


def dress(path: Path, chance: random.Random) -> None:
    owner = chance.choice([(0, 0), (1000, 1000), (3_000_000, 65534)])
    os.chown(path, *owner, follow_symlinks=False)
    if not path.is_symlink():
        path.chmod(chance.choice([0o644, 0o755, 0o4755, 0o2711, 0o1777, 0o600, 0]))
        if (path.is_file() or path.is_dir()) and chance.random() < 0.3:
            os.setxattr(path, "user.note", chance.randbytes(20))
    when = chance.randint(-(10**9), 4 * 10**9) * 10**9 + chance.randint(0, 10**9 - 1)
    os.utime(path, ns=(when, when), follow_symlinks=False)


def change(root: Path, seed: int) -> None:
    """Change a tree at random: remove, replace, rewrite, rename, dress, add."""
    chance = random.Random(seed)  # noqa: S311 - trees, not secrets
    for number in range(25):
        paths = sorted(root.rglob("*"))
        path = chance.choice(paths)
        match chance.randint(0, 5):
            case 0:
                remove(path)
            case 1 if path.is_file() and not path.is_symlink():
                path.write_bytes(chance.randbytes(chance.randint(0, 5000)))
            case 2:
                dress(path, chance)
            case 3:
                remove(path)
                path.mkdir()
                (path / f"in-{number}").write_bytes(b"new")
            case 4 if not path.is_dir():
                # overlayfs moves no directories of lower layers.
                path.rename(path.with_name(f"renamed-{number}"))
            case _:
                remove(path)
                path.write_bytes(b"replaced")


def remove(path: Path) -> None:
    """Remove whatever is at `path`."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
