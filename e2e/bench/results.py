"""What was measured, how it compares, and what was promised."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

OWN: Final = "ferry"
PEER: Final = "containerd"


class Unit(StrEnum):
    """What a metric is measured in; of rates and throughput more is better."""

    MILLISECONDS = "ms"
    SECONDS = "s"
    RATE = "/s"
    THROUGHPUT = "MB/s"
    MEGABYTES = "MB"
    PERCENT = "%"


@dataclass(frozen=True, slots=True)
class Metric:
    """One thing that is measured, in one case."""

    case: str
    name: str
    unit: Unit = Unit.MILLISECONDS


@dataclass(frozen=True, slots=True)
class Target:
    """What was promised: how many times better than the peer, or a value not to be exceeded."""

    ratio: float | None = None
    limit: float | None = None

    def __str__(self) -> str:
        if self.ratio is not None:
            return f"{self.ratio:g}x"
        return f"<= {self.limit:g}"


def _targets() -> dict[tuple[str, str], Target]:
    targets = {("B2 crun", "Create+Start"): Target(ratio=1)}
    for handler in ("crun", "runc"):
        case = f"B2 {handler}"
        targets[case, "RunPodSandbox"] = Target(ratio=12)
        targets[case, "ExecSync"] = Target(ratio=4 / 3)
        targets[case, "StopContainer"] = Target(ratio=4)
        targets[case, "StopPodSandbox"] = Target(ratio=20)
    for name in ("exec output", "attach", "port-forward"):
        targets["B13 crun", name] = Target(ratio=0.5)
    targets["B3 crun", "1 client, up"] = Target(ratio=4)
    targets["B3 crun", "8 clients, up"] = Target(ratio=4)
    targets["B6 relist", "ListContainers, 1000 containers"] = Target(ratio=6)
    targets["B6 usage", "ListContainerStats, 40 containers"] = Target(ratio=8)
    targets["B8 pull", "20,000 files, gzip"] = Target(ratio=2)
    targets["B5 memory", "daemon, idle"] = Target(limit=80)
    targets["B5 memory", "daemon, 300 containers"] = Target(limit=120)
    targets["B5 memory", "each further container"] = Target(limit=0.6)
    targets["B5 300 pods", "daemon"] = Target(limit=120)
    targets["B5 300 pods", "processor, 1 relist/s"] = Target(limit=3)
    return targets


# Keyed by case and metric.
TARGETS: Final = _targets()


def percentile(samples: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile: a value that was measured."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One metric, both subjects, and the verdict."""

    metric: Metric
    own: Sequence[float]
    peer: Sequence[float]
    target: Target | None

    @property
    def ratio(self) -> float | None:
        """How many times better than the peer, by the medians."""
        if not self.own or not self.peer:
            return None
        own, peer = percentile(self.own, 0.5), percentile(self.peer, 0.5)
        more_is_better = self.metric.unit in {Unit.RATE, Unit.THROUGHPUT}
        better, worse = (own, peer) if more_is_better else (peer, own)
        return better / worse if worse else None

    @property
    def verdict(self) -> str:
        """pass or short, where something was promised and measured."""
        if self.target is None or not self.own:
            return ""
        if self.target.limit is not None:
            good = percentile(self.own, 0.5) <= self.target.limit
        elif self.target.ratio is None or self.ratio is None:
            return "not measured"
        else:
            good = self.ratio >= self.target.ratio
        return "pass" if good else "SHORT"


@dataclass(slots=True)
class Results:
    """Samples by metric and subject, in the order they came, and why cases were left out."""

    samples: dict[Metric, dict[str, list[float]]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def add(self, metric: Metric, subject: str, *values: float) -> None:
        """Note what was measured of `subject`."""
        self.samples.setdefault(metric, {}).setdefault(subject, []).extend(values)

    def rows(self) -> Iterator[Row]:
        """Yield a row for each metric."""
        for metric, by_subject in self.samples.items():
            yield Row(
                metric=metric,
                own=by_subject.get(OWN, ()),
                peer=by_subject.get(PEER, ()),
                target=TARGETS.get((metric.case, metric.name)),
            )

    def table(self) -> str:
        """Write all rows as a Markdown table."""
        heads = ["case", "metric", "unit", "n", "ferry p50", "p90", "p99"]
        heads += ["peer p50", "p90", "p99", "ratio", "target", ""]
        lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
        for row in self.rows():
            cells = [row.metric.case, row.metric.name, row.metric.unit.value, str(len(row.own))]
            cells += [*_spread(row.own), *_spread(row.peer)]
            cells += [f"{row.ratio:.2f}" if row.ratio else "", str(row.target or ""), row.verdict]
            lines.append("| " + " | ".join(cells) + " |")
        return "\n".join(lines)

    def document(self, facts: Mapping[str, object]) -> str:
        """Write everything as JSON, every sample included."""
        rows = [
            {
                "case": row.metric.case,
                "metric": row.metric.name,
                "unit": row.metric.unit.value,
                "samples": {OWN: list(row.own), PEER: list(row.peer)},
                "ratio": row.ratio,
                "target": str(row.target) if row.target else None,
                "verdict": row.verdict,
            }
            for row in self.rows()
        ]
        return json.dumps({"facts": facts, "skipped": self.skipped, "results": rows}, indent=1)


def _spread(samples: Sequence[float]) -> list[str]:
    if not samples:
        return ["", "", ""]
    if len(samples) < 3:
        return [f"{percentile(samples, 0.5):.2f}", "", ""]
    return [f"{percentile(samples, share):.2f}" for share in (0.5, 0.9, 0.99)]
