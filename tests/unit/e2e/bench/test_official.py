import json
from pathlib import Path

from e2e.bench.official import durations, parameters


def test_durations_have_the_names_of_their_operations(tmp_path: Path) -> None:
    file = tmp_path / "pod_benchmark_data.json"
    points = [{"operationsDurationsNs": [1500000, 2000000]}, {"operationsDurationsNs": [1, 2]}]
    document = {"operationsNames": ["Create", "Stop"], "datapoints": points}
    file.write_text(json.dumps(document))
    assert list(durations(file)) == [
        ("Create", 1.5),
        ("Stop", 2.0),
        ("Create", 0.000001),
        ("Stop", 0.000002),
    ]


def test_images_are_never_benchmarked_in_parallel() -> None:
    assert json.loads(parameters(30))["imagesNumberParallel"] == 1
