"""Keep the state diagram in ARCHITECTURE.md the one that `runtime.tasks.states` has.

`python -m tests.states` says whether it is, `python -m tests.states --write` makes it so.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from runtime.tasks import State
from runtime.tasks.states import NEXT

DOCUMENT: Final = Path(__file__).resolve().parent.parent / "ARCHITECTURE.md"
_BEGIN: Final = "<!-- states:begin -->"
_END: Final = "<!-- states:end -->"


def diagram(moves: Mapping[State, frozenset[State]]) -> str:
    """Return a table of moves as a Mermaid diagram: it begins with the first, ends with the last.

    The order is that of `State`, so that the same table always gives the same text.
    """
    return "\n".join(("```mermaid", "stateDiagram-v2", *_lines(moves), "```"))


def _lines(moves: Mapping[State, frozenset[State]]) -> Iterator[str]:
    first, *_ = State
    yield f"    [*] --> {first.value}"
    for state in State:
        for after in (each for each in State if each in moves[state]):
            yield f"    {state.value} --> {after.value}"
        if not moves[state]:
            yield f"    {state.value} --> [*]"


def filled(document: str, drawing: str) -> str:
    """Return a document with `drawing` between its markers.

    Raises:
        ValueError: it lacks a marker.
    """
    before, begin, rest = document.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"no {_BEGIN} followed by {_END}")
    return f"{before}{begin}\n{drawing}\n{end}{after}"


def main(arguments: list[str], document: Path = DOCUMENT) -> int:
    """Check the diagram, or write it; 1 if it is not the current one."""
    present = document.read_text()
    wanted = filled(present, diagram(NEXT))
    if "--write" in arguments:
        document.write_text(wanted)
    elif present != wanted:
        sys.stdout.write(f"{document.name}: the state diagram is not current: make docs\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
