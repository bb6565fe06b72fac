import contextlib
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import DataLossError, ResourceExhaustedError
from store.images.layers import Entry, Kind, Limits
from store.images.layers.reader import TarReader
from tests.tars import BLOCK, archive, block, end, info, padded, pax, read

FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
KINDS = {
    tarfile.REGTYPE: Kind.FILE,
    tarfile.DIRTYPE: Kind.DIRECTORY,
    tarfile.SYMTYPE: Kind.SYMLINK,
    tarfile.LNKTYPE: Kind.HARD_LINK,
    tarfile.CHRTYPE: Kind.CHARACTER,
    tarfile.BLKTYPE: Kind.BLOCK,
    tarfile.FIFOTYPE: Kind.FIFO,
}

names = st.text("ab/.é€\n ", min_size=1, max_size=300).filter(lambda text: text[-1] != "/")


@st.composite
def members(draw: st.DrawFn) -> tuple[tarfile.TarInfo, bytes]:
    kind = draw(st.sampled_from(sorted(KINDS)))
    data = draw(st.binary(max_size=2000)) if kind == tarfile.REGTYPE else b""
    member = info(
        draw(names),
        kind,
        mode=draw(st.integers(0, 0o7777)),
        uid=draw(st.integers(0, 2**32 - 2)),
        gid=draw(st.integers(0, 2**32 - 2)),
        mtime=draw(st.integers(-(2**33), 2**40)),
        linkname=draw(names) if kind in {tarfile.SYMTYPE, tarfile.LNKTYPE} else "",
    )
    if kind in {tarfile.CHRTYPE, tarfile.BLKTYPE}:
        member.devmajor = draw(st.integers(0, 4095))
        member.devminor = draw(st.integers(0, 2**20 - 1))
    return member, data


def expected(member: tarfile.TarInfo, data: bytes) -> tuple[Entry, bytes]:
    entry = Entry(
        name=member.name.encode(),
        kind=KINDS[member.type],
        mode=member.mode,
        uid=member.uid,
        gid=member.gid,
        mtime=int(member.mtime) * 10**9,
        size=len(data),
        link=member.linkname.encode(),
        device=(member.devmajor, member.devminor),
    )
    return entry, data


@given(
    written=st.lists(members(), max_size=5),
    form=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    pieces=st.lists(st.integers(0, 1500), max_size=20),
)
def test_what_tarfile_writes_is_read_whatever_the_chunks(
    written: list[tuple[tarfile.TarInfo, bytes]], form: int, pieces: list[int]
) -> None:
    wanted = [expected(member, data) for member, data in written]
    assert [
        (strip(entry), data) for entry, data in read(archive(written, form), pieces=pieces)
    ] == wanted


def strip(entry: Entry) -> Entry:
    """tarfile ends the names of directories with a slash."""
    name = entry.name.removesuffix(b"/") if entry.kind is Kind.DIRECTORY else entry.name
    return Entry(**{**{slot: getattr(entry, slot) for slot in Entry.__slots__}, "name": name})


@given(data=st.binary(max_size=3000), pieces=st.lists(st.integers(0, 600), max_size=8))
def test_any_bytes_are_read_or_refused(data: bytes, pieces: list[int]) -> None:
    outcomes: list[object] = []
    for chosen in ((), pieces):
        try:
            outcomes.append(read(data, pieces=chosen))
        except (DataLossError, ResourceExhaustedError) as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


@given(
    flips=st.lists(st.tuples(st.integers(0, 3 * BLOCK - 1), st.integers(0, 255)), max_size=4),
)
def test_a_header_with_any_fields_is_read_or_refused(flips: list[tuple[int, int]]) -> None:
    patch = {at: bytes([value]) for at, value in flips if at < BLOCK and not 148 <= at < 156}
    data = block(b"name", size=1, patch=patch) + padded(b"x") + end()
    with contextlib.suppress(DataLossError, ResourceExhaustedError):
        assert len(read(data)) <= 1


def one(data: bytes) -> Entry:
    (found,) = read(data)
    return found[0]


class TestNumbers:
    @pytest.mark.parametrize(
        "digits", [b"0000644\0", b"000644 \0", b"   644 \0", b"\0\x00644\0\0\0"]
    )
    def test_octal_forms(self, digits: bytes) -> None:
        assert one(block(mode=digits)).mode == 0o644

    def test_base_256_holds_what_octal_cannot(self) -> None:
        huge = b"\x80" + (2**33).to_bytes(11, "big")
        (entry,) = TarReader(Limits()).feed(block(size=huge))
        assert isinstance(entry, Entry)
        assert entry.size == 2**33

    def test_base_256_holds_negative_times(self) -> None:
        assert one(block(mtime=(-5).to_bytes(12, "big", signed=True))).mtime == -5 * 10**9

    @pytest.mark.parametrize("digits", [b"0o00644\0", b"00_0644\0", b"-000644\0", b"0000689\0"])
    def test_what_python_would_read_but_tar_would_not(self, digits: bytes) -> None:
        with pytest.raises(DataLossError, match=r"entry 'file': .* is not an octal number"):
            read(block(mode=digits))

    def test_a_negative_size_is_refused(self) -> None:
        with pytest.raises(DataLossError, match="its size is -1"):
            read(block(size=b"\xff" * 12))

    def test_a_signed_checksum_is_accepted(self) -> None:
        raw = bytearray(block("ä".encode("latin-1")))
        total = sum(byte - 256 if byte > 127 else byte for byte in raw[:148] + raw[156:]) + 256
        raw[148:156] = b"%06o\0 " % total
        assert one(bytes(raw)).name == b"\xe4"

    def test_a_wrong_checksum_is_refused(self) -> None:
        raw = bytearray(block())
        raw[0] ^= 1
        with pytest.raises(DataLossError, match="entry 'gile': the checksum"):
            read(bytes(raw))


class TestNames:
    def test_names_are_bytes(self) -> None:
        assert one(block(b"caf\xe9")).name == b"caf\xe9"

    def test_a_ustar_prefix_comes_first(self) -> None:
        assert one(block(b"b", prefix=b"a" * 155)).name == b"a" * 155 + b"/b"

    def test_gnu_blocks_have_no_prefix(self) -> None:
        assert one(block(b"b", magic=b"ustar  \0", prefix=b"times")).name == b"b"

    def test_gnu_long_names_win_over_pax(self) -> None:
        long = block(b"@LongLink", flag=b"L", size=4) + padded(b"abc\0")
        assert one(pax({b"path": b"pax"}) + long + block()).name == b"abc"

    def test_an_empty_record_takes_the_block(self) -> None:
        assert one(pax({b"path": b""}) + block(b"name")).name == b"name"

    def test_an_old_file_with_a_slash_is_a_directory(self) -> None:
        assert one(block(b"old/", flag=b"\0")).kind is Kind.DIRECTORY


class TestRecords:
    def test_records_override_the_block(self) -> None:
        entry = one(
            pax(
                {
                    b"path": b"p",
                    b"linkpath": b"l",
                    b"uid": b"3000000000",
                    b"gid": b"12",
                    b"mtime": b"-1.5",
                    b"SCHILY.xattr.user.a=b": b"",
                    b"SCHILY.xattr.user.x": b"\0\n=",
                }
            )
            + block(flag=b"2")
        )
        assert entry == Entry(
            name=b"p",
            kind=Kind.SYMLINK,
            link=b"l",
            uid=3000000000,
            gid=12,
            mtime=-1_500_000_000,
            attributes=((b"user.a", b"b="), (b"user.x", b"\0\n=")),
        )

    def test_they_belong_to_one_entry_only(self) -> None:
        (_, first), (second, _) = read(pax({b"size": b"3"}) + block() + padded(b"abc") + block())
        assert (first, second.size) == (b"abc", 0)

    def test_global_headers_are_ignored(self) -> None:
        assert one(pax({b"path": b"x"}, flag=b"g") + block(b"name")).name == b"name"

    @pytest.mark.parametrize(
        "body",
        [
            b"5 a=b\n",
            b"7 a=b\n",
            b"6 a=b ",
            b"5 =b\n",
            b"6 abc\n",
            b"a=b\n",
            b"0 a=b\n",
            b"6  a=\n\n",
        ],
    )
    def test_a_malformed_record_is_refused(self, body: bytes) -> None:
        data = block(flag=b"x", size=len(body)) + padded(body) + block()
        with pytest.raises(DataLossError, match="extended header"):
            read(data)

    @pytest.mark.parametrize(
        "records",
        [
            {b"path": b"a\0b"},
            {b"linkpath": b"\0"},
            {b"size": b"-1"},
            {b"size": b"1_0"},
            {b"uid": b"9" * 5000},
            {b"mtime": b"1e5"},
            {b"SCHILY.xattr.\0": b""},
        ],
    )
    def test_bad_values_are_refused(self, records: dict[bytes, bytes]) -> None:
        with pytest.raises(DataLossError):
            read(pax(records) + block())

    @pytest.mark.parametrize("flag", [b"x", b"g", b"L", b"K"])
    def test_a_gigabyte_of_header_is_refused_unread(self, flag: bytes) -> None:
        with pytest.raises(ResourceExhaustedError, match="header takes 1073741824 bytes"):
            read(block(flag=flag, size=1 << 30))


class TestSparse:
    def test_old_gnu_with_an_extension_block(self) -> None:
        def pairs(segments: list[tuple[int, int]]) -> bytes:
            return b"".join(b"%011o\0%011o\0" % segment for segment in segments)

        stored = bytes(range(1, 7))
        head = block(
            flag=b"S",
            size=6,
            magic=b"ustar  \0",
            prefix=b"",
            patch={
                386: pairs([(at * 10, 1) for at in range(4)]),
                482: b"\1",
                483: b"%011o\0" % 60,
            },
        )
        extension = padded(pairs([(40, 1), (50, 1)]))
        ((entry, data),) = read(head + extension + padded(stored) + end(), pieces=[700, 100])
        assert entry.size == 60
        assert data == b"".join(bytes([value]) + bytes(9) for value in stored)

    def test_pax_0_0(self) -> None:
        records = [
            (b"GNU.sparse.size", b"10"),
            (b"GNU.sparse.numblocks", b"2"),
            (b"GNU.sparse.offset", b"1"),
            (b"GNU.sparse.numbytes", b"2"),
            (b"GNU.sparse.offset", b"7"),
            (b"GNU.sparse.numbytes", b"1"),
        ]
        ((_, data),) = read(pax(records) + block(size=3) + padded(b"abc"))
        assert data == b"\0ab\0\0\0\0c\0\0"

    def test_pax_0_1(self) -> None:
        records = {
            b"GNU.sparse.major": b"0",
            b"GNU.sparse.minor": b"1",
            b"GNU.sparse.name": b"real",
            b"GNU.sparse.size": b"6",
            b"GNU.sparse.map": b"4,2",
        }
        ((entry, data),) = read(pax(records) + block(size=2) + padded(b"ab"))
        assert (entry.name, data) == (b"real", b"\0\0\0\0ab")

    def decimal(self, text: bytes, size: int, stored: bytes) -> bytes:
        records = {
            b"GNU.sparse.major": b"1",
            b"GNU.sparse.minor": b"0",
            b"GNU.sparse.realsize": str(size).encode(),
        }
        content = padded(text) + stored
        return pax(records) + block(size=len(content)) + padded(content) + end()

    def test_pax_1_0(self) -> None:
        text = b"2\n1\n2\n7\n1\n"
        ((_, data),) = read(self.decimal(text, 9, b"abc"), pieces=[100] * 20)
        assert data == b"\0ab\0\0\0\0c\0"

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            (b"1\n5\n3\n", "cover"),
            (b"1\n8\n4\n", "bad segment"),
            (b"2\n4\n2\n3\n2\n", "bad segment"),
            (b"x\n4\n", "not a number"),
            (b"1\n-4\n4\n", "not a number"),
        ],
    )
    def test_a_map_that_lies_is_refused(self, text: bytes, reason: str) -> None:
        with pytest.raises(DataLossError, match=reason):
            read(self.decimal(text, 10, b"abcd"))

    def test_a_map_without_end_is_refused_at_the_limit(self) -> None:
        text = b"99999999\n" + b"1\n" * 2_000_000
        with pytest.raises(ResourceExhaustedError, match="more than 1048576"):
            read(self.decimal(text, 10, b""))

    def test_an_unknown_version_is_refused(self) -> None:
        with pytest.raises(DataLossError, match="unknown sparse format"):
            read(pax({b"GNU.sparse.major": b"2", b"GNU.sparse.minor": b"0"}) + block())


class TestEnds:
    def test_nothing_is_an_empty_archive(self) -> None:
        assert read(b"") == []

    def test_zeros_after_the_end_mark_are_padding(self) -> None:
        assert len(read(block() + end() + bytes(9000 + 13))) == 1

    def test_an_archive_without_end_mark_is_whole(self) -> None:
        assert len(read(block())) == 1

    def test_data_after_the_end_mark_is_refused(self) -> None:
        with pytest.raises(DataLossError, match="after its end mark"):
            read(block() + end() + block())

    def test_a_lone_zero_block_is_refused(self) -> None:
        with pytest.raises(DataLossError, match="lone zero block"):
            read(bytes(BLOCK) + block())

    @pytest.mark.parametrize("length", [1, BLOCK - 1, BLOCK + 3, 2 * BLOCK - 1])
    def test_an_entry_that_is_cut_is_refused(self, length: int) -> None:
        with pytest.raises(DataLossError, match="the archive ends within"):
            read((block(size=5) + padded(b"12345"))[:length])

    def test_an_extended_header_needs_an_entry(self) -> None:
        with pytest.raises(DataLossError, match="the archive ends within"):
            read(pax({b"path": b"x"}) + end())

    def test_an_unknown_type_is_refused(self) -> None:
        with pytest.raises(DataLossError, match="entry 'file': unknown type b'M'"):
            read(block(flag=b"M"))

    def test_only_files_have_data(self) -> None:
        entries = read(block(b"d", flag=b"5", size=512) + block(b"f") + end())
        assert [entry.name for entry, _ in entries] == [b"d", b"f"]

    def test_the_number_of_entries_is_limited(self) -> None:
        with pytest.raises(ResourceExhaustedError, match="entry 'file': more than 2 entries"):
            read(block() * 3, limits=Limits(entries=2))


@pytest.mark.parametrize("form", FORMATS)
def test_tarfile_formats(form: int) -> None:
    assert one(archive([(info("a/b", mtime=7), b"")], form)).mtime == 7 * 10**9
