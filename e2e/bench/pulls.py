"""B8: pull and unpack, each time with a daemon of its own on a fresh ext4."""

import contextlib
import hashlib
import os
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from e2e.bench.results import Metric, Results, Unit
from e2e.bench.subject import Subject, cpu_seconds, running
from e2e.client import connected
from e2e.images import cached_layout
from e2e.oci import Image, Layer, Tree
from e2e.packages import cache_folder

FILES_GZIP: Final = "bench/files:gzip"
FILES_ZSTD: Final = "bench/files:zstd"
LAYERS_GZIP: Final = "bench/layers:gzip"
NAMES: Final = {
    FILES_GZIP: "20,000 files, gzip",
    FILES_ZSTD: "20,000 files, zstd",
    LAYERS_GZIP: "8 layers of 20 MB, gzip",
}
_WORDS: Final = 4096


def _text(generator: random.Random, words: list[bytes], size: int) -> bytes:
    """Return about as much redundancy as programs and libraries have (a third is left packed)."""
    picked = generator.choices(words, k=size // 8)
    return b"".join(picked)[:size]


def files_tree(files: int, size: int, seed: int) -> Tree:
    """Return many files of `size` bytes, some links among them."""
    generator = random.Random(seed)  # noqa: S311 - the same image each time
    words = [generator.randbytes(generator.randint(4, 12)) for _ in range(_WORDS)]
    tree = Tree()
    for number in range(files):
        path = f"data/{number % 200:03}/file-{number:05}"
        if number % 50 == 49:
            tree.symlink(path, f"file-{number - 1:05}")
        elif number % 50 == 48:
            tree.hard_link(path, f"data/{(number - 1) % 200:03}/file-{number - 1:05}")
        else:
            tree.file(path, _text(generator, words, size))
    return tree


def images() -> Iterator[Image]:
    """Make the images: one layer of many files in two packings, and many layers."""
    many = files_tree(20_000, 16_000, 1).tar()
    for reference, compression in ((FILES_GZIP, "gzip"), (FILES_ZSTD, "zstd")):
        layer = Layer.of_tar(many, compression)
        yield Image(references=[reference], layers=[layer], indexed=False)
    layers = [Layer.of(files_tree(40, 500_000, seed)) for seed in range(2, 10)]
    yield Image(references=[LAYERS_GZIP], layers=layers)


def layout() -> Path:
    """Return the folder of an OCI layout with the images, making it where it is missing."""
    key = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    return cached_layout(cache_folder() / "images" / f"bench-{key}", images)


@contextlib.contextmanager
def fresh_ext4(folder: Path, size: int = 6 << 30) -> Iterator[Path]:
    """Mount an ext4 nobody has used: on a used one, recently deleted inodes slow every create."""
    image, target = folder / "disk.img", folder / "disk"
    target.mkdir(parents=True)
    with image.open("wb") as file:
        file.truncate(size)
    # Tables are written now, not by the kernel during the measurement.
    options = "lazy_itable_init=0,lazy_journal_init=0"
    subprocess.run(["mkfs.ext4", "-q", "-F", "-E", options, str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(target)], check=True)
    try:
        yield target
    finally:
        subprocess.run(["umount", "--lazy", str(target)], check=True)
        image.unlink()


async def pull(subject: Subject, folder: Path, reference: str, name: str, results: Results) -> None:
    """Pull `reference` with a new daemon; note the seconds and the processor time."""
    with ExitStack() as stack:
        disk = stack.enter_context(fresh_ext4(folder))
        service = running(stack, subject, disk / "daemon")
        os.sync()
        async with connected(service.address) as client:
            before, began = cpu_seconds(service.pid), time.perf_counter()
            await client.pull(reference)
            seconds = time.perf_counter() - began
            used = cpu_seconds(service.pid) - before
    results.add(Metric("B8 pull", name, Unit.SECONDS), subject.name, seconds)
    results.add(Metric("B8 pull", f"{name}: processor", Unit.SECONDS), subject.name, used)
