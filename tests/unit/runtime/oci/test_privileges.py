from pathlib import Path

import pytest

from runtime.oci.privileges import exec_options


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ('{"process": {"noNewPrivileges": true, "args": ["x"]}, "linux": {}}', ("--no-new-privs",)),
        ('{"process": {"noNewPrivileges": false}}', ()),
        ('{"process": {}}', ()),
        ("{}", ()),
        ("{", ("--no-new-privs",)),
    ],
)
def test_what_the_spec_says_holds_for_an_exec(
    tmp_path: Path, text: str, options: tuple[str, ...]
) -> None:
    (tmp_path / "config.json").write_text(text)
    assert exec_options(tmp_path) == options


def test_a_runtime_that_keeps_no_spec_keeps_the_rule(tmp_path: Path) -> None:
    assert exec_options(tmp_path) == ()
