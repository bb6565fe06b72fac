"""What kernels write into the longer files, as they write it."""

from runtime.cgroups import DeviceIo, Pressure, Stall, text

PRESSURE = (
    "some avg10=1.53 avg60=0.40 avg300=0.09 total=234567\n"
    "full avg10=0.00 avg60=0.00 avg300=0.00 total=12\n"
)
IO_STAT = (
    "253:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n"
    "7:1 dbytes=0\n"
    "8:16 rbytes=1 cost.usage=5\n"
)
BYTES = "253:0 Read 4096\n253:0 Write 8192\n253:0 Sync 12288\n8:16 Read 7\nTotal 12295\n"
OPERATIONS = "253:0 Read 1\n253:0 Write 2\n253:0 Total 3\nTotal 3\n"


def test_tables_with_and_without_other_lines() -> None:
    assert text.table("a 1\nb 22\n") == {"a": 1, "b": 22}
    assert text.table("a 1\nb two\nc 3\n") == {"a": 1, "c": 3}
    assert text.table("a 1\nb 2 3\nc 4\nd\n") == {"a": 1, "c": 4}
    assert text.table("") == {}


def test_pressure() -> None:
    assert text.pressure(PRESSURE) == Pressure(
        some=Stall(total=234567, avg10=1.53, avg60=0.40, avg300=0.09),
        full=Stall(total=12, avg10=0.0, avg60=0.0, avg300=0.0),
    )


def test_pressure_of_kernels_that_do_not_tell_when_all_wait() -> None:
    found = text.pressure(PRESSURE.splitlines()[0] + "\n")
    assert found is not None
    assert found.full is None
    assert text.pressure("") is None


def test_devices_of_v2_with_keys_of_newer_kernels() -> None:
    assert text.io_stat(IO_STAT) == (
        DeviceIo(major=253, minor=0, read_bytes=4096, written_bytes=8192, reads=1, writes=2),
        DeviceIo(major=7, minor=1),
        DeviceIo(major=8, minor=16, read_bytes=1),
    )


def test_devices_of_v1_are_in_two_files() -> None:
    assert text.blkio(BYTES, OPERATIONS) == (
        DeviceIo(major=8, minor=16, read_bytes=7),
        DeviceIo(major=253, minor=0, read_bytes=4096, written_bytes=8192, reads=1, writes=2),
    )


def test_no_device_at_all() -> None:
    assert text.blkio("Total 0\n", "Total 0\n") == ()
    assert text.io_stat("") == ()
