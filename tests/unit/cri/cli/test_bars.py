import io

from rich.console import Console

from cri.cli.bars import Bars
from cri.cli.progress import Rows


def test_every_layer_has_a_bar_with_what_is_done() -> None:
    rows, screen = Rows(), io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100, color_system=None)
    with Bars(console) as bars:
        bars.show(rows.heard("resolve", "example.org/[red]a\x1b[2J", 0, 0))
        for layer in range(3):
            bars.show(rows.heard("download", f"sha256:{layer:064x}", 5 * layer, 10))
        bars.show(rows.heard("unpack", f"sha256:{1:064x}", 10, 10))
        bars.show(rows.heard("publish", "example.org/[red]a\x1b[2J", 0, 0))
    last = screen.getvalue().split("resolving")[-1].rpartition("done      example.org")[2]
    lines = [line.split()[:2] for line in last.splitlines()[1:4]]
    assert lines == [
        ["waiting", "0000000000000"],
        ["done", "0000000000000"],
        ["unpacking", "0000000000000"],
    ]
    assert last.startswith("/[red]a?[2J")
    assert "0/10 bytes" in last
