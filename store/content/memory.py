"""Content in memory: for tools that assemble an image, and for tests."""

import contextlib

from store.content.files import MemoryFiles
from store.content.recorded import BlobRecord, IngestRecord, RecordedContent, Tables
from store.metadata.records import MemoryRecords


class MemoryContent(RecordedContent):
    """A `ContentStore` without a disk; `close` frees it. One descriptor for each blob."""

    def __init__(self) -> None:
        self._memory = MemoryFiles()
        tables = Tables(
            blobs=MemoryRecords[BlobRecord]("content"),
            ingests=MemoryRecords[IngestRecord]("ingest"),
            transaction=contextlib.nullcontext,
        )
        super().__init__(self._memory, tables)

    async def sync(self) -> None:
        """Do nothing: memory has no stable storage."""

    async def sweep(self) -> None:
        """Do nothing: memory is not there after a crash."""

    def close(self) -> None:
        """Free every blob and every unfinished write."""
        self._memory.close()
