"""B1: the benchmark that cri-tools have themselves, as a second opinion on B2.

It needs a critest binary (`--critest` or $CRITEST). It measures like its own authors: pods without
a security context, so with a shared process namespace, and Create with an ImageStatus before it.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from e2e.bench.results import Metric, Results
from e2e.bench.subject import Subject

# More than one at a time would have images removed while others use them, and end the program.
_IMAGES_AT_ONCE: Final = 1
_FILES: Final = {
    "container": "container_benchmark_data.json",
    "pod": "pod_benchmark_data.json",
    "image": "image_lifecycle_benchmark_data.json",
}


def parameters(samples: int) -> str:
    """Return critest's parameters (YAML takes JSON) for so many pods and containers."""
    return json.dumps(
        {
            "containersNumber": samples,
            "containersNumberParallel": 1,
            "containerBenchmarkTimeoutSeconds": 300,
            "podsNumber": samples,
            "podsNumberParallel": 1,
            "podBenchmarkTimeoutSeconds": 300,
            "imagesNumber": min(samples, 10),
            "imagesNumberParallel": _IMAGES_AT_ONCE,
            "imageBenchmarkTimeoutSeconds": 300,
        }
    )


def durations(file: Path) -> Iterator[tuple[str, float]]:
    """Yield the name and the milliseconds of each operation in one of critest's files."""
    document = json.loads(file.read_text())
    for point in document["datapoints"]:
        for name, took in zip(
            document["operationsNames"], point["operationsDurationsNs"], strict=True
        ):
            yield str(name), int(took) / 1e6


def run(subject: Subject, critest: Path, folder: Path, samples: int, results: Results) -> None:
    """Run critest's benchmark on `subject`; its registries must lead to one with its images."""
    folder.mkdir()
    (folder / "parameters.yml").write_text(parameters(samples))
    argv = [
        str(critest),
        f"--runtime-endpoint=unix://{subject.service.address}",
        f"--image-endpoint=unix://{subject.service.address}",
        "--runtime-handler=crun",
        "--benchmark",
        f"--benchmarking-params-file={folder / 'parameters.yml'}",
        f"--benchmarking-output-dir={folder}",
        "--ginkgo.focus=benchmark about (operations|lifecycle|basic)",
    ]
    with (folder / "critest.log").open("w") as log:
        subprocess.run(argv, stdout=log, stderr=subprocess.STDOUT, cwd=folder, check=False)
    for kind, name in _FILES.items():
        if (folder / name).exists():
            for operation, milliseconds in durations(folder / name):
                results.add(Metric(f"B1 critest {kind}", operation), subject.name, milliseconds)
        else:
            results.skipped[f"B1 {kind} on {subject.name}"] = "critest wrote no data"
