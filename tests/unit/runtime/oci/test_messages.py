import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.oci.messages import plain

RUNC = (
    b'time="2026-11-23T01:44:17Z" level=error msg="runc create failed: unable to start container '
    b'process: exec: \\"nosuch\\": executable file not found in $PATH"\n'
)
RUNC_PLAIN = (
    "runc create failed: unable to start container process: "
    'exec: "nosuch": executable file not found in $PATH'
)
WARNED = (
    b'time="2026-11-23T01:44:16Z" level=warning msg="Setting back cgroup configs failed"\n'
    b'time="2026-11-23T01:44:16Z" level=error msg="unable to set memory limit to 1000"\n'
)
CRUN = b"executable file `nosuch` not found in $PATH: No such file or directory\n"
STAMPED = b"2026-11-23T01:44:16.593313Z: cannot stat /x\n"
JSON = (
    b'{\n  "msg": "cannot open `x`",\n  "level": "error",\n  "time": "2026"\n}\n'
    b'{"level":"warning","msg":"never mind"}\n{"level":"fatal","msg":"and more"}'
)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (RUNC, RUNC_PLAIN),
        (WARNED, "unable to set memory limit to 1000"),
        (CRUN, "executable file `nosuch` not found in $PATH: No such file or directory"),
        (STAMPED, "cannot stat /x"),
        (JSON, "cannot open `x`; and more"),
        (b"one\n\none\ntwo\n", "one; two"),
        (b'{"level": "error", broken', '{"level": "error", broken'),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b'level=error msg="a\\nb"', "a b"),
        (b"cannot open \x1b[31mred\r\n", "cannot open [31mred"),
        (b"", ""),
        (b"  \n ", ""),
    ],
)
def test_the_message_is_unwrapped(output: bytes, message: str) -> None:
    assert plain(output) == message


def test_a_flood_is_cut() -> None:
    assert len(plain(b"x" * 1_000_000)) == 4096


ALIKE = st.text(alphabet='{}":levmsg=,error \\\n\x1b', max_size=80).map(str.encode)


@given(st.binary(max_size=200) | ALIKE)
def test_whatever_a_runtime_prints_is_one_line(output: bytes) -> None:
    message = plain(output)
    assert len(message.splitlines()) <= 1
    assert message.isprintable()
