import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cri.cli import app as apps
from cri.cli.app import app, main
from cri.version import VERSION
from store.errors import NotFoundError

COMMANDS = {
    *("pull", "images", "rmi", "run", "pods", "rm", "ps", "logs", "exec", "ops", "doctor"),
    *("version", "attach", "port-forward"),
}


def printed(*arguments: str) -> tuple[int, str]:
    found = CliRunner().invoke(app, arguments, env={"COLUMNS": "200", "FERRY_ADDRESS": "/none"})
    return found.exit_code, found.output


def test_every_command_is_listed_with_what_it_does() -> None:
    code, text = printed("--help")
    assert code == 0
    listed = {line.split()[1] for line in text.splitlines() if line.startswith("│ ")}
    assert listed >= COMMANDS


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_takes_json_and_an_address_and_has_help(command: str) -> None:
    code, text = printed(command, "-h")
    assert code == 0
    for option in ("--json", "--address", "FERRY_ADDRESS"):
        assert option in text


def test_bad_usage_has_exit_code_2() -> None:
    for arguments in (("bogus",), ("ps", "--bogus"), ("logs",), ("logs", "--tail", "-1", "a")):
        assert printed(*arguments)[0] == 2


def test_the_version_needs_no_daemon() -> None:
    assert printed("--version") == (0, f"ferry {VERSION}\n")


def test_options_after_the_container_are_the_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["ferry", "exec", "c", "ls", "--json", "-a", "--address"])
    found = CliRunner().invoke(
        app, ["exec", "c", "ls", "--address"], env={"FERRY_ADDRESS": "/none"}
    )
    assert "cannot reach the daemon at /none" in str(found.exception)


@pytest.mark.parametrize("error", [NotFoundError("cannot find a"), OSError("cannot find a")])
def test_an_error_is_one_line_and_exit_code_1(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(prog_name: str) -> None:
        assert prog_name == "ferry"
        raise error

    monkeypatch.setattr(apps, "app", fail)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert capsys.readouterr() == ("", "ferry: cannot find a\n")


def test_help_and_completion_come_without_grpc() -> None:
    code = (
        "import sys, cri.cli; sys.exit('grpc' in sys.modules or 'google.protobuf' in sys.modules)"
    )
    root = Path(__file__).parents[4]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
