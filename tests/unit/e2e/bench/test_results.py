import json

import pytest

from e2e.bench.results import OWN, PEER, Metric, Results, Unit, percentile


@pytest.mark.parametrize(
    ("share", "value"), [(0.0, 1.0), (0.5, 5.0), (0.9, 9.0), (0.99, 10.0), (1.0, 10.0)]
)
def test_percentiles_are_values_that_were_measured(share: float, value: float) -> None:
    assert percentile([float(n) for n in range(10, 0, -1)], share) == value


def results(metric: Metric, own: float, peer: float | None) -> Results:
    found = Results()
    found.add(metric, OWN, own)
    if peer is not None:
        found.add(metric, PEER, peer)
    return found


def test_of_times_less_is_better() -> None:
    (row,) = results(Metric("B2 crun", "RunPodSandbox"), 5, 60).rows()
    assert (row.ratio, row.verdict) == (12, "pass")
    (row,) = results(Metric("B2 crun", "RunPodSandbox"), 5.1, 60).rows()
    assert row.verdict == "SHORT"


def test_of_rates_more_is_better() -> None:
    (row,) = results(Metric("B13 crun", "attach", Unit.THROUGHPUT), 50, 100).rows()
    assert (row.ratio, row.verdict) == (0.5, "pass")
    (row,) = results(Metric("B3 crun", "1 client, up", Unit.RATE), 40, 10).rows()
    assert (row.ratio, row.verdict) == (4, "pass")


@pytest.mark.parametrize(("megabytes", "verdict"), [(80, "pass"), (80.5, "SHORT")])
def test_limits_need_no_peer(megabytes: float, verdict: str) -> None:
    metric = Metric("B5 memory", "daemon, idle", Unit.MEGABYTES)
    (row,) = results(metric, megabytes, None).rows()
    assert (row.ratio, row.verdict) == (None, verdict)


def test_without_a_peer_a_ratio_is_not_measured() -> None:
    (row,) = results(Metric("B2 crun", "RunPodSandbox"), 5, None).rows()
    assert row.verdict == "not measured"


def test_the_document_has_every_sample() -> None:
    found = results(Metric("B2 crun", "RunPodSandbox"), 5, 60)
    found.skipped["B1"] = "no critest"
    document = json.loads(found.document({"kernel": "x"}))
    assert document["facts"] == {"kernel": "x"}
    assert document["skipped"] == {"B1": "no critest"}
    assert document["results"] == [
        {
            "case": "B2 crun",
            "metric": "RunPodSandbox",
            "unit": "ms",
            "samples": {"ferry": [5], "containerd": [60]},
            "ratio": 12,
            "target": "12x",
            "verdict": "pass",
        }
    ]


def test_the_table_has_a_row_for_each_metric() -> None:
    *_, row = results(Metric("B2 crun", "RunPodSandbox"), 5, 60).table().splitlines()
    assert row.startswith("| B2 crun | RunPodSandbox | ms | 1 | 5.00 |")
    assert row.endswith("| 12.00 | 12x | pass |")
