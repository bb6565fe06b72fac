"""A live bar for each layer of a pull."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TransferSpeedColumn,
)

from cri.cli.output import printable, short
from cri.cli.progress import Row


class Bars:
    """Bars on standard error, for the block: what a command prints stays clean."""

    def __init__(self, console: Console | None = None) -> None:
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=console or Console(stderr=True),
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def show(self, row: Row) -> None:
        """Show a row as it is now."""
        if row.item not in self._tasks:
            self._tasks[row.item] = self._bars.add_task("", total=None)
        total = row.total or (1 if row.finished else None)
        self._bars.update(
            self._tasks[row.item],
            description=f"{row.verb:9} {_shown(row.item)}",
            completed=total if row.finished else row.done,
            total=total,
        )


def _shown(item: str) -> str:
    return short(item) if item.startswith("sha256:") else printable(item)
