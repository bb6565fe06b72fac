import io
import tarfile

from hypothesis import given
from hypothesis import strategies as st

from store.images.layers import Entry, Kind, extended, writer
from tests.tars import read

names = st.binary(min_size=1, max_size=300).filter(lambda name: b"\0" not in name)
DEVICES = {Kind.CHARACTER, Kind.BLOCK}
LINKS = {Kind.HARD_LINK, Kind.SYMLINK}


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    kind = draw(st.sampled_from(list(Kind)))
    return Entry(
        name=draw(names),
        kind=kind,
        mode=draw(st.integers(0, 0o7777)),
        uid=draw(st.integers(0, 2**32 - 2)),
        gid=draw(st.integers(0, 2**32 - 2)),
        mtime=draw(st.integers(-(2**62), 2**62)),
        size=draw(st.integers(0, 3000)) if kind is Kind.FILE else 0,
        link=draw(names) if kind in LINKS else b"",
        device=(draw(st.integers(0, 4095)), draw(st.integers(0, 2**20 - 1)))
        if kind in DEVICES
        else (0, 0),
        attributes=tuple(
            sorted(
                draw(st.dictionaries(st.sampled_from([b"user.a", b"user.b"]), st.binary())).items()
            )
        ),
    )


def archive(written: list[Entry]) -> bytes:
    pieces = [
        writer.header(entry) + b"x" * entry.size + writer.padding(entry.size) for entry in written
    ]
    return b"".join(pieces) + writer.END


@given(st.lists(entries(), max_size=4))
def test_what_is_written_is_read(written: list[Entry]) -> None:
    assert read(archive(written)) == [(entry, b"x" * entry.size) for entry in written]


@given(st.lists(entries(), max_size=4))
def test_tarfile_reads_it_too(written: list[Entry]) -> None:
    stream = io.BytesIO(archive(written))
    with tarfile.open(fileobj=stream, encoding="utf-8", errors="surrogateescape") as tar:
        members = tar.getmembers()
    assert [member.mode for member in members] == [entry.mode for entry in written]
    assert [member.uid for member in members] == [entry.uid for entry in written]


def test_sizes_beyond_octal() -> None:
    head = writer.header(Entry(name=b"f", kind=Kind.FILE, size=1 << 40))
    assert (b"size", b"%d" % (1 << 40)) in extended.parse(head[512 : head.index(b"\0", 512)])


def test_the_same_entry_is_the_same_bytes() -> None:
    entry = Entry(name=b"f", kind=Kind.FILE, attributes=((b"user.b", b"2"), (b"user.a", b"1")))
    other = Entry(name=b"f", kind=Kind.FILE, attributes=((b"user.a", b"1"), (b"user.b", b"2")))
    assert writer.header(entry) == writer.header(other)
