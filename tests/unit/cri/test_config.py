from pathlib import Path

import pytest

from cri.config import Config, Daemon, Images, Network
from cri.config.fields import options


def test_the_sockets_lie_in_the_state_directory_unless_they_are_named() -> None:
    daemon = Daemon(state=Path("/run/other"))
    assert daemon.socket == Path("/run/other/ferry.sock")
    assert daemon.metrics == "/run/other/metrics.sock"
    assert Daemon(address="/a.sock").socket == Path("/a.sock")


def test_metrics_can_be_switched_off_or_moved() -> None:
    assert Daemon(metrics_address="off").metrics is None
    assert Daemon(metrics_address="127.0.0.1:9100").metrics == "127.0.0.1:9100"


def test_both_runtimes_are_known_without_any_file() -> None:
    assert list(Config().runtimes.handlers) == ["crun", "runc"]


@pytest.mark.parametrize(
    ("section", "name", "good", "bad"),
    [
        (Daemon, "metrics_address", ["", "off", "/m.sock", "[::1]:80"], ["m.sock", ":80", "a:b"]),
        (Daemon, "address", ["", "/a.sock"], ["a.sock", "unix:///a.sock"]),
        (Network, "bridge", ["ferry0"], ["", "a" * 16, "a/b", "a b"]),
        (Images, "platform", ["", "linux/arm64", "linux/arm/v7"], ["arm64", "windows/amd64"]),
    ],
)
def test_strings_with_a_form_are_checked(
    section: type, name: str, good: list[str], bad: list[str]
) -> None:
    check = options(section)[name].check
    assert [value for value in good if check(value)] == []
    assert [value for value in bad if not check(value)] == []


def test_defaults_pass_their_own_checks() -> None:
    for kind in (Daemon, Images, Network):
        assert [o.name for o in options(kind).values() if o.check(o.default)] == []
