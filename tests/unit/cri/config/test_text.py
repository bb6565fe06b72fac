import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cri.config import Config, LogLevel
from cri.config.load import Layer, build
from cri.config.text import Changes, changes, default_toml, dump, in_force, plain, walk

ROOT = Path(__file__).parents[4]


def test_the_shipped_file_is_the_generated_one() -> None:
    assert (ROOT / "deploy" / "config.toml").read_text() == default_toml()


def test_the_default_file_gives_the_defaults() -> None:
    tables = tomllib.loads(default_toml())
    assert build((Layer(origin="default.toml", tables=tables),)).config == Config()


def test_every_option_is_in_the_default_file_with_a_reason() -> None:
    text = default_toml()
    for entry in walk(Config()):
        assert f"\n{entry.option.name} = " in text
        assert entry.option.why.endswith((".", "one."))
        assert entry.option.why.split()[0] in text


def test_a_dump_says_where_each_value_came_from() -> None:
    loaded = build((Layer(origin="/etc/a.toml", tables={"gc": {"interval_seconds": 5}}),))
    text = dump(loaded)
    assert "# from /etc/a.toml\ninterval_seconds = 5.0\n" in text
    assert '# from default\nroot = "/var/lib/ferry"\n' in text


def test_the_plain_form_is_json() -> None:
    values = plain(Config())
    assert json.loads(json.dumps(values)) == values
    assert values["daemon.root"] == "/var/lib/ferry"
    assert values["network.subnets"] == ["10.88.0.0/16"]
    assert values["network.masquerade"] is True
    assert values["daemon.log_level"] == "info"


strings = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)


@given(
    pinned=st.lists(strings, max_size=3),
    seconds=st.floats(1, 1e9),
    level=st.sampled_from(LogLevel),
    options=st.lists(strings, max_size=2),
)
def test_a_dump_reads_back_as_the_same_configuration(
    pinned: list[str], seconds: float, level: LogLevel, options: list[str]
) -> None:
    tables = {
        "daemon": {"log_level": level.value},
        "images": {"pinned": pinned},
        "gc": {"interval_seconds": seconds},
        "runtimes": {"other": {"options": options}},
    }
    loaded = build((Layer(origin="x", tables=tables),))
    again = build((Layer(origin="y", tables=tomllib.loads(dump(loaded))),))
    assert again.config == loaded.config


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        ({}, Changes(live=(), restart=())),
        ({"daemon": {"log_level": "debug"}}, Changes(live=("daemon.log_level",), restart=())),
        ({"daemon": {"root": "/x"}}, Changes(live=(), restart=("daemon.root",))),
        (
            {"runtimes": {"kata": {}}},
            Changes(
                live=(),
                restart=tuple(
                    f"runtimes.kata.{name}" for name in ("binary", "options", "annotations")
                ),
            ),
        ),
    ],
)
def test_a_reload_tells_what_takes_effect_at_once(
    tables: dict[str, object], expected: Changes
) -> None:
    new = build((Layer(origin="x", tables=tables),)).config
    assert changes(Config(), new) == expected


def test_in_force_is_what_runs_but_for_what_needs_no_restart() -> None:
    tables = {"daemon": {"log_level": "debug", "log_format": "json"}, "images": {"pinned": ["a"]}}
    new = build((Layer(origin="x", tables=tables),)).config
    mixed = in_force(Config(), new)
    assert changes(Config(), mixed) == Changes(
        live=("daemon.log_level", "images.pinned"), restart=()
    )
    assert changes(mixed, new) == Changes(live=(), restart=("daemon.log_format",))
