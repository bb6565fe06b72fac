import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cri import __main__ as ferryd
from cri import daemon
from cri.config.load import Loaded
from cri.config.text import default_toml
from cri.version import VERSION
from store.errors import FailedPreconditionError

Output = pytest.CaptureFixture[str]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "ferry.toml"
    path.write_text("")
    return path


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Loaded]:
    """What the daemon was started with, instead of starting it."""
    found: list[Loaded] = []
    monkeypatch.setattr(daemon, "run", lambda read: found.append(read()))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return found


def test_the_default_file_is_printed(capsys: Output) -> None:
    assert ferryd.main(["config", "default"]) == 0
    assert capsys.readouterr().out == default_toml()


@pytest.mark.parametrize(
    "order",
    [
        ["--config", "FILE", "--root", "/a", "config", "dump"],
        ["config", "dump", "--config", "FILE", "--root", "/a"],
        ["--config", "FILE", "config", "dump", "--root", "/a"],
    ],
)
def test_flags_count_before_and_after_the_verb(
    file: Path, capsys: Output, order: list[str]
) -> None:
    file.write_text('[daemon]\nstate = "/b"\nroot = "/c"\n')
    assert ferryd.main([str(file) if word == "FILE" else word for word in order]) == 0
    printed = capsys.readouterr().out
    assert '# from command line\nroot = "/a"\n' in printed
    assert f'# from {file}\nstate = "/b"\n' in printed


def test_the_daemon_reads_file_and_flags(file: Path, started: list[Loaded]) -> None:
    file.write_text('[gc]\ninterval_seconds = 5\n[daemon]\naddress = "/x.sock"\n')
    arguments = ["--config", str(file), "--state", "/s", "--root", "/r", "--log-level", "debug"]
    assert ferryd.main(arguments) == 0
    (loaded,) = started
    config = loaded.config
    assert config.gc.interval_seconds == 5
    assert (str(config.daemon.root), str(config.daemon.state)) == ("/r", "/s")
    assert str(config.daemon.socket) == "/x.sock"
    assert config.daemon.log_level.value == "debug"


def test_a_mistake_is_one_line_and_the_exit_code_is_1(
    file: Path, capsys: Output, started: list[Loaded]
) -> None:
    file.write_text("[demon]\n")
    for arguments in ([], ["config", "check"], ["config", "dump"]):
        assert ferryd.main(["--config", str(file), *arguments]) == 1
        printed = capsys.readouterr()
        assert printed.err == f"ferryd: {file}: demon: no such option; the nearest is daemon\n"
        assert printed.out == ""
    assert started == []


def test_bad_usage_has_exit_code_2(capsys: Output) -> None:
    for arguments in (["config"], ["config", "chekc"], ["--rot", "/x"], ["serve"]):
        with pytest.raises(SystemExit) as ended:
            ferryd.main(arguments)
        assert ended.value.code == 2
        assert "usage: ferryd" in capsys.readouterr().err


def test_the_version_is_printed(capsys: Output) -> None:
    with pytest.raises(SystemExit) as ended:
        ferryd.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"ferryd {VERSION}\n"


def test_without_root_nothing_is_begun(
    file: Path, started: list[Loaded], monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert ferryd.main(["--config", str(file)]) == 1
    assert capsys.readouterr().err == ("ferryd: cannot run containers: ferryd must run as root\n")
    assert started == []


@pytest.mark.usefixtures("started")
@pytest.mark.parametrize(
    ("error", "printed"),
    [
        (FailedPreconditionError("cannot a"), "ferryd: cannot a\n"),
        (
            ExceptionGroup("", [ExceptionGroup("", [FailedPreconditionError("cannot a")])]),
            "ferryd: cannot a\n",
        ),
        (
            ExceptionGroup("", [FailedPreconditionError("cannot a"), OSError("disk")]),
            "ferryd: cannot a\nferryd: disk\n",
        ),
    ],
)
def test_what_ends_the_daemon_is_said_without_a_traceback(
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Output,
    error: Exception,
    printed: str,
) -> None:
    monkeypatch.setattr(daemon, "run", raising(error))
    assert ferryd.main(["--config", str(file)]) == 1
    assert capsys.readouterr().err == printed


@pytest.mark.usefixtures("started")
def test_a_surprise_keeps_its_traceback(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    surprise = ExceptionGroup("", [OSError("disk"), ZeroDivisionError()])
    monkeypatch.setattr(daemon, "run", raising(surprise))
    with pytest.raises(ExceptionGroup) as raised:
        ferryd.main(["--config", str(file)])
    assert raised.value is surprise


def raising(error: Exception) -> Callable[[object], None]:
    def run(_: object) -> None:
        raise error

    return run


@pytest.mark.parametrize(("nft", "code"), [("version 1.1", 0), ("", 1)])
def test_a_check_judges_this_nodes_programs(
    tmp_path: Path,
    file: Path,
    capsys: Output,
    nft: str,
    code: int,
) -> None:
    for name in ("conmon", "runc", *(["nft"] if nft else [])):
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\n[ "$1" = features ] && exit 1\necho {name} 9.9.9\n')
        program.chmod(0o755)
    file.write_text(
        f'[tools]\nprefix = "{tmp_path}"\nconmon = "{tmp_path}/conmon"\nnft = "{tmp_path}/nft"\n'
        f'[runtimes.runc]\nbinary = "{tmp_path}/runc"\n'
        '[runtimes.crun]\nbinary = "/no/crun"\n'
    )
    assert ferryd.main(["config", "check", "--config", str(file)]) == code
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "configuration: valid"
    assert f"ok       conmon: 9.9.9 at {tmp_path}/conmon" in lines
    assert any(line.startswith("broken   nft: missing") for line in lines) is (code == 1)
    assert any(line.startswith("limited  handler crun: cannot be used") for line in lines)
