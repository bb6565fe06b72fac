import json
from pathlib import Path

from e2e.critest.report import Report


def spec(text: str, state: str, message: str = "", kind: str = "It") -> dict[str, object]:
    failure = {"Failure": {"Message": message}} if message else {}
    return {
        "LeafNodeType": kind,
        "LeafNodeText": text,
        "ContainerHierarchyTexts": ["[k8s.io] Group", "part"],
        "State": state,
        "RunTime": 1500000000,
        **failure,
    }


def test_a_report_counts_what_was_selected(tmp_path: Path) -> None:
    specs = [
        spec("works", "passed"),
        spec("breaks", "failed", "it\n  broke"),
        spec("panics", "panicked", "no"),
        spec("cannot", "skipped", "no AppArmor"),
        spec("nobody asked", "skipped"),
        spec("set-up", "passed", kind="BeforeSuite"),
    ]
    path = tmp_path / "report.json"
    path.write_text(json.dumps([{"SpecReports": specs}, {"SpecReports": None}]))
    report = Report.read(path)
    assert dict(report.count()) == {"passed": 1, "failed": 2, "skipped": 1}
    assert report.of("passed")[0].seconds == 1.5
    assert list(report.lines()) == [
        "SKIPPED [k8s.io] Group part cannot: no AppArmor",
        "FAILED [k8s.io] Group part breaks: it broke",
        "FAILED [k8s.io] Group part panics: no",
        "1 passed, 2 failed, 1 skipped",
    ]
