"""One row of the database, and the sum that tells whether it is still what was written."""

import zlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An encoded record of one kind, keyed by (namespace, id)."""

    kind: str
    namespace: str
    id: str
    data: bytes

    @property
    def check_sum(self) -> int:
        """The CRC-32 of key and data."""
        key = f"{self.kind}\0{self.namespace}\0{self.id}\0"
        return zlib.crc32(self.data, zlib.crc32(key.encode("utf-8", "surrogatepass")))


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRow:
    """A row that cannot be used, and why."""

    row: Row
    reason: str
