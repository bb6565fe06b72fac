from pathlib import Path

import pytest

from runtime.tasks import State
from runtime.tasks.states import NEXT
from tests.states import DOCUMENT, diagram, filled, main

EMPTY = "# A\n<!-- states:begin -->\nold\n<!-- states:end -->\nrest\n"


def test_every_move_is_an_arrow_and_nothing_else_is() -> None:
    arrows = {line.strip() for line in diagram(NEXT).splitlines() if "-->" in line}
    moves = {f"{a.value} --> {b.value}" for a, nexts in NEXT.items() for b in nexts}
    assert arrows == moves | {"[*] --> creating", "stopped --> [*]"}


def test_the_text_does_not_depend_on_the_order_of_sets() -> None:
    shuffled = {state: frozenset(reversed(list(NEXT[state]))) for state in reversed(list(State))}
    assert diagram(shuffled) == diagram(NEXT)


def test_a_document_is_filled_once_and_then_stays() -> None:
    once = filled(EMPTY, "new")
    assert once == "# A\n<!-- states:begin -->\nnew\n<!-- states:end -->\nrest\n"
    assert filled(once, "new") == once


@pytest.mark.parametrize("marker", ["<!-- states:begin -->", "<!-- states:end -->"])
def test_a_missing_marker_is_an_error(marker: str) -> None:
    with pytest.raises(ValueError, match="states:begin"):
        filled(EMPTY.replace(marker, ""), "new")


def test_an_old_diagram_is_named_and_mended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = tmp_path / "DOCUMENT.md"
    document.write_text(EMPTY)
    assert main([], document) == 1
    assert capsys.readouterr().out == ("DOCUMENT.md: the state diagram is not current: make docs\n")
    assert main(["--write"], document) == 0
    assert main([], document) == 0


def test_ours_is_current() -> None:
    assert main([], DOCUMENT) == 0
