"""Metrics in Prometheus' text form: calls by method and code, and what is in flight.

Each `Metrics` has a registry of its own, so several can live in one process.
"""

from collections import Counter as Tally
from collections.abc import Iterator
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from runtime.operations import Operation, Operations

# Lists take a millisecond, pods a few, pulls minutes.
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 120.0, 600.0)


class Metrics:
    """What ferry counts. `operations` is read whenever somebody asks."""

    def __init__(self, operations: Operations) -> None:
        # It would be a second number for each one, which nobody asks for.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.registry.register(_InFlight(operations))
        self._calls = Counter(
            "ferry_rpc", "Calls that have ended.", ["method", "code"], registry=self.registry
        )
        self._seconds = Histogram(
            "ferry_rpc_seconds",
            "How long calls took.",
            ["method"],
            buckets=_BUCKETS,
            registry=self.registry,
        )

    def call(self, method: str, code: str, seconds: float) -> None:
        """Count a call that has ended."""
        self._calls.labels(method, code).inc()
        self._seconds.labels(method).observe(seconds)

    def text(self) -> bytes:
        """Return everything, in Prometheus' text form."""
        return generate_latest(self.registry)


class _InFlight(Collector):
    """Operations in flight by kind and stage, and the age of the oldest, read when asked."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield one gauge family of counts and one of ages."""
        running = self._operations.list()
        counts = GaugeMetricFamily(
            "ferry_operations_in_flight", "What ferry is doing now.", labels=["kind", "stage"]
        )
        stages = Tally((one.kind, _stage(one)) for one in running)
        for (kind, stage), count in stages.items():
            counts.add_metric([kind, stage], count)
        yield counts
        oldest = max((one.age for one in running if not one.endless), default=0.0)
        yield GaugeMetricFamily(
            "ferry_operation_oldest_seconds", "The age of the oldest operation.", value=oldest
        )


def _stage(operation: Operation) -> str:
    return operation.stages[-1].name if operation.stages else "accepted"
