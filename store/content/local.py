"""Content in a directory tree, with its records in the database."""

import asyncio
from pathlib import Path
from typing import Final

from store.content.files import DirectoryFiles
from store.content.recorded import BlobRecord, IngestRecord, RecordedContent, Tables
from store.database import Database
from store.metadata.records import SqliteRecords
from store.threads import in_thread

_PIECE: Final = 100
"""Files that are looked at before others get their turn: less than a millisecond."""


class LocalContent(RecordedContent):
    """A `ContentStore` below `root`, which is made if it is not there.

    Args:
        root: the directory; nobody else writes to it.
        database: stays open as long as this is used.
    """

    def __init__(self, root: Path, database: Database) -> None:
        self._directory = DirectoryFiles(root)
        tables = Tables(
            blobs=SqliteRecords(database, "content", BlobRecord),
            ingests=SqliteRecords(database, "ingest", IngestRecord),
            transaction=database.joined,
        )
        super().__init__(self._directory, tables)

    async def sync(self) -> None:
        """Return when all that was published is on stable storage (one syncfs(2))."""
        await in_thread(self._directory.sync)

    async def sweep(self) -> None:
        """Free the files that no record names, which only a crash leaves."""
        for count, digest in enumerate(await in_thread(self._directory.blobs)):
            if not self._everywhere(digest):
                self._directory.discard(digest)
            if count % _PIECE == 0:
                await asyncio.sleep(0)
        self._directory.drop_partials([ref for _, ref, _ in self._tables.ingests.walk()])
        await in_thread(self._directory.trash.empty)
