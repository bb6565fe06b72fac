"""What a run of critest came to, read from Ginkgo's own report."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

_STATES: Final = {"passed": "passed", "skipped": "skipped", "pending": "skipped"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One spec: its full name, whether it passed, failed or was skipped, and why."""

    name: str
    state: str
    seconds: float
    message: str


@dataclass(frozen=True, slots=True)
class Report:
    """All specs of a run, but those that were not selected."""

    specs: Sequence[Spec]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the file that `--ginkgo.json-report` wrote."""
        suites: list[dict[str, list[dict[str, object]]]] = json.loads(path.read_text())
        return cls([spec for suite in suites for spec in map(_spec, _its(suite)) if spec])

    def count(self) -> Counter[str]:
        """Return how many specs passed, failed and were skipped."""
        return Counter(spec.state for spec in self.specs)

    def of(self, state: str) -> list[Spec]:
        """Return the specs in `state`, by name."""
        return sorted((spec for spec in self.specs if spec.state == state), key=lambda s: s.name)

    def lines(self) -> Iterator[str]:
        """Yield what failed and what was skipped, with reasons, then the numbers."""
        for spec in self.of("skipped"):
            yield f"SKIPPED {spec.name}: {spec.message}"
        for spec in self.of("failed"):
            yield f"FAILED {spec.name}: {spec.message}"
        count = self.count()
        yield f"{count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped"


def _its(suite: dict[str, list[dict[str, object]]]) -> Iterator[dict[str, object]]:
    for spec in suite.get("SpecReports") or ():
        if spec["LeafNodeType"] == "It":
            yield spec


def _spec(spec: dict[str, object]) -> Spec | None:
    failure = spec.get("Failure") or {}
    assert isinstance(failure, dict)
    message = " ".join(str(failure.get("Message", "")).split())[:300]
    state = str(spec["State"])
    if state == "skipped" and not message:  # not in focus: nobody asked for it
        return None
    texts = [*_texts(spec.get("ContainerHierarchyTexts")), str(spec["LeafNodeText"])]
    return Spec(
        name=" ".join(texts),
        state=_STATES.get(state, "failed"),
        seconds=float(str(spec["RunTime"])) / 1e9,
        message=message,
    )


def _texts(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []
