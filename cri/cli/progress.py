"""How far a pull is: one row for each layer, and how a row changes with what the daemon says.

A layer is unpacked while it arrives, so news of both come side by side; its row shows the download
until all of it is here, and then the unpacking.
"""

from dataclasses import dataclass, field
from typing import Final

_DOWNLOAD: Final = "download"
_UNPACK: Final = "unpack"
_PUBLISH: Final = "publish"


@dataclass(slots=True)
class Row:
    """One layer, or the image's name. Bytes; None is "not heard of", a total of 0 "not known"."""

    item: str
    total: int = 0
    fetched: int | None = None
    unpacked: int | None = None
    finished: bool = False

    @property
    def verb(self) -> str:
        """What is being done with it."""
        if self.finished:
            return "done"
        if self.unpacked is None and not self.fetched:
            return "resolving" if self.fetched is None else "waiting"
        return "fetching" if 0 < (self.fetched or 0) < self.total else "unpacking"

    @property
    def done(self) -> int:
        """How many bytes of the total that has been done with."""
        if self.finished:
            return self.total
        return (self.fetched if self.verb == "fetching" else self.unpacked) or 0


@dataclass(slots=True)
class Rows:
    """Every row there is, in the order they appeared."""

    by_item: dict[str, Row] = field(default_factory=dict)

    def heard(self, stage: str, item: str, done: int, total: int) -> Row:
        """Take news of an item; return its row."""
        row = self.by_item.setdefault(item, Row(item))
        row.total = max(row.total, total)
        if stage == _DOWNLOAD:
            row.fetched = done
        elif stage == _UNPACK:
            row.unpacked = done
        row.finished = (
            row.finished or stage == _PUBLISH or (stage == _UNPACK and 0 < row.total <= done)
        )
        return row
