from pathlib import Path

import pytest

from runtime.doctor import Finding, Grade, of_handlers, of_network, of_tool
from runtime.network import NetworkStatus
from runtime.oci import Features, Handler
from runtime.tools import Tool


def handler(name: str, version: str) -> Handler:
    return Handler(
        name=name,
        binary=Path(f"/opt/{name}"),
        root=Path("/run"),
        features=Features(version=version),
    )


CRUN, RUNC = handler("crun", "1.28"), handler("runc", "1.3.6")


@pytest.mark.parametrize(
    ("tool", "line", "grade"),
    [
        (Tool(name="nft", path=Path("/nft"), version="1.1"), "nft: 1.1 at /nft", Grade.OK),
        (
            Tool(name="nft", problem="missing", mend="install it", required=True),
            "nft: missing; install it",
            Grade.BROKEN,
        ),
        (Tool(name="criu", problem="too old", mend="mend"), "criu: too old; mend", Grade.LIMITED),
    ],
)
def test_a_tool_is_judged_by_what_needs_it(tool: Tool, line: str, grade: Grade) -> None:
    finding = of_tool(tool)
    assert (finding.line(), finding.grade) == (line, grade)


def test_handlers_are_listed_and_the_default_is_marked() -> None:
    assert of_handlers({"runc": RUNC, "crun": CRUN, "": CRUN}) == [
        Finding(subject="handler crun", grade=Grade.OK, text="1.28 at /opt/crun, the default"),
        Finding(subject="handler runc", grade=Grade.OK, text="1.3.6 at /opt/runc"),
    ]


def test_without_any_handler_no_pod_runs() -> None:
    (finding,) = of_handlers({})
    assert (finding.grade, finding.text) == (Grade.BROKEN, "no OCI runtime works here")
    assert "deploy/install-tools.sh" in finding.mend


def test_a_default_that_does_not_work_comes_with_those_that_do() -> None:
    first, second = of_handlers({"runc": RUNC})
    assert first == Finding(
        subject="handlers",
        grade=Grade.BROKEN,
        text="the configured default cannot be used here, only runc",
        mend='set runtimes.default to "auto"',
    )
    assert second.subject == "handler runc"


@pytest.mark.parametrize(
    ("status", "text", "grade"),
    [
        (NetworkStatus(ready=True, reason="BridgeReady"), "BridgeReady", Grade.OK),
        (NetworkStatus(ready=False, reason="No", message="why"), "No: why", Grade.BROKEN),
    ],
)
def test_the_network_is_judged_by_its_status(
    status: NetworkStatus, text: str, grade: Grade
) -> None:
    assert of_network(status) == Finding(subject="network", grade=grade, text=text)
