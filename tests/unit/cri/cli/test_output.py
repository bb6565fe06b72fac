import json
import time

import pytest

from cri.api.runtime.v1 import api_pb2 as pb
from cri.cli.output import age, print_json, print_messages, print_table, printable, short, size

Output = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0B"),
        (999, "999B"),
        (1000, "1kB"),
        (1493450, "1.49MB"),
        (999_499, "999kB"),
        (999_600, "1MB"),
        (999_999_999, "1GB"),
        (5 * 10**12, "5TB"),
        (5 * 10**15, "5e+03TB"),
    ],
)
def test_sizes_have_three_digits(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (7200, "2h"), (172800, "2d")],
)
def test_ages_have_one_unit(seconds: int, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1e9)
    assert age((10**9 - seconds) * 10**9) == text


def test_a_table_is_aligned_and_has_no_trailing_space(capsys: Output) -> None:
    print_table(("NAME", "ID", ""), [("a-long-name", "1", ""), ("b", "22", "pinned")])
    assert capsys.readouterr().out == ("NAME         ID\na-long-name  1\nb            22  pinned\n")


def test_nothing_from_elsewhere_moves_the_cursor(capsys: Output) -> None:
    print_table(("NAME",), [("evil\x1b[2J\nroot",)])
    assert capsys.readouterr().out == "NAME\nevil?[2J?root\n"
    assert printable("ünï") == "ünï"


def test_messages_have_every_field_by_its_name_in_the_proto(capsys: Output) -> None:
    print_messages([pb.PodSandbox(id="a", state=pb.SANDBOX_READY)])
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["id"], found["state"], found["runtime_handler"]) == ("a", "SANDBOX_READY", "")


def test_json_is_readable(capsys: Output) -> None:
    print_json({"a": "ü"})
    assert capsys.readouterr().out == '{\n  "a": "ü"\n}\n'


def test_ids_are_as_long_as_people_copy() -> None:
    assert short("sha256:" + "a" * 64) == "a" * 13
