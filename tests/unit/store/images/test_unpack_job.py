import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.digest import sha256
from store.errors import DataLossError, UnavailableError
from store.images import Unpacked, unpack_job
from store.images import unpack_messages as messages
from store.images.layers import Limits
from store.images.unpack_job import GrowingBlob
from tests.tars import archive, info

PLAIN = "application/vnd.oci.image.layer.v1.tar"


class Side:
    """The daemon's side of a job, and the blob it talks of."""

    def __init__(self, blob: Path) -> None:
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.fd = os.open(blob, os.O_RDWR | os.O_CREAT)

    def available(self, size: int, *, complete: bool = False) -> None:
        self.ours.send(messages.encode(messages.Available(size, complete)))

    def write(self, data: bytes) -> None:
        os.pwrite(self.fd, data, 0)

    def said(self) -> list[messages.Event]:
        """Return all that the job says until it closes its side."""
        self.theirs.close()
        return [messages.decode_event(data) for data in iter(self._receive, b"")]

    def _receive(self) -> bytes:
        try:
            return self.ours.recv(messages.LARGEST)
        except ConnectionResetError:
            return self.ours.recv(messages.LARGEST)

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()
        os.close(self.fd)


@pytest.fixture
def side(tmp_path: Path) -> Iterator[Side]:
    found = Side(tmp_path / "blob")
    yield found
    found.close()


class TestGrowingBlob:
    def test_it_reads_what_is_available_and_no_more(self, side: Side) -> None:
        side.write(b"abcdef")
        blob = GrowingBlob(side.fd, side.theirs)
        side.available(2)
        side.available(2)
        side.available(6, complete=True)
        assert [blob.read(100), blob.read(3), blob.read(100), blob.read(100)] == [
            b"ab",
            b"cde",
            b"f",
            b"",
        ]
        assert blob.position == 6

    def test_a_blob_that_starts_again_is_waited_for(self, side: Side) -> None:
        side.write(b"abcdef")
        blob = GrowingBlob(side.fd, side.theirs)
        for size in (4, 0, 2, 6):
            side.available(size)
        assert [blob.read(100), blob.read(100)] == [b"abcd", b"ef"]

    def test_a_blob_that_is_shorter_than_promised(self, side: Side) -> None:
        side.available(1)
        with pytest.raises(DataLossError, match="shorter than promised"):
            GrowingBlob(side.fd, side.theirs).read(1)

    def test_a_job_that_nobody_wants_any_more(self, side: Side) -> None:
        side.ours.close()
        with pytest.raises(UnavailableError, match="cancelled"):
            GrowingBlob(side.fd, side.theirs).read(1)


@pytest.mark.root
class TestRun:
    @pytest.fixture(autouse=True)
    def layer(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        (tmp_path / "layer").mkdir()
        monkeypatch.chdir(tmp_path / "layer")
        return tmp_path / "layer"

    def run(self, side: Side, data: bytes, limits: Limits | None = None) -> list[messages.Event]:
        side.write(data)
        side.available(len(data), complete=True)
        unpack_job.run(side.theirs, side.fd, messages.Unpack(PLAIN, limits or Limits()))
        return side.said()

    def test_a_result(self, side: Side, layer: Path) -> None:
        data = archive([(info("d/f"), b"x")])
        (part,) = self.run(side, data)
        assert isinstance(part, messages.Part)
        result = messages.decode_result(part.data)
        assert isinstance(result, Unpacked)
        assert result.diff_id == sha256(data)
        assert result.unfinished.implied == (b"", b"d")
        assert (layer / "d/f").read_bytes() == b"x"

    def test_progress(self, side: Side) -> None:
        advanced, part = self.run(side, archive([(info("f"), bytes(3 << 19))]))
        assert advanced == messages.Advanced(1 << 20)
        assert isinstance(part, messages.Part)

    def test_a_refusal(self, side: Side) -> None:
        assert self.run(side, b"x" * 512) == [
            messages.Failed(
                "DataLossError",
                f"cannot read entry '{'x' * 100}': b'{'x' * 8}' is not an octal number",
            )
        ]

    def test_more_than_the_limit(self, side: Side) -> None:
        (failed,) = self.run(side, archive([(info("f"), b"")]), Limits(size=1000))
        text = "cannot unpack the layer: more than 1000 bytes"
        assert failed == messages.Failed("ResourceExhaustedError", text)

    def test_an_error_of_our_own_is_told(self, side: Side) -> None:
        unpack_job.fail(side.theirs, ZeroDivisionError("x"))
        assert side.said() == [
            messages.Failed("Error", "cannot unpack the layer: ZeroDivisionError('x')")
        ]
