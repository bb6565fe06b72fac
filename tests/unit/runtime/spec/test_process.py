from dataclasses import replace

import pytest

from runtime.spec import ProcessUser, Resources
from runtime.spec.process import (
    DEFAULT_PATH,
    arguments,
    check_working_directory,
    document,
    environment,
    oom_score_adj,
    working_directory,
)
from store.errors import InvalidArgumentError
from store.images import ImageConfig
from tests.specs import REQUEST

BARE = replace(REQUEST, image=ImageConfig(), hostname="")


@pytest.mark.parametrize(
    ("entrypoint", "cmd", "command", "args", "expected"),
    [
        (("/e",), ("c",), (), (), ["/e", "c"]),
        (("/e",), ("c",), (), ("a",), ["/e", "a"]),
        (("/e",), ("c",), ("/x",), (), ["/x"]),
        (("/e",), ("c",), ("/x",), ("a",), ["/x", "a"]),
        ((), ("/c", "d"), (), (), ["/c", "d"]),
        ((), ("/c",), (), ("/a",), ["/a"]),
        ((), (), ("/x", "y"), (), ["/x", "y"]),
    ],
)
def test_kubernetes_rules_for_command_and_args(
    entrypoint: tuple[str, ...],
    cmd: tuple[str, ...],
    command: tuple[str, ...],
    args: tuple[str, ...],
    expected: list[str],
) -> None:
    image = ImageConfig(entrypoint=entrypoint, cmd=cmd)
    assert arguments(replace(REQUEST, image=image, command=command, args=args)) == expected


@pytest.mark.parametrize("command", [(), ("",)])
def test_no_program_is_refused(command: tuple[str, ...]) -> None:
    with pytest.raises(InvalidArgumentError, match="no command specified"):
        arguments(replace(BARE, command=command))


def test_an_argument_with_nul_is_refused_by_number() -> None:
    with pytest.raises(InvalidArgumentError, match=r"argument 1 .*NUL"):
        arguments(replace(BARE, command=("/x",), args=("a\0",)))


def test_the_request_wins_and_the_order_is_stable() -> None:
    request = replace(
        REQUEST,
        image=ImageConfig(env=("A=1", "B=2", "HOSTNAME=image", "HOME=/image")),
        env=(("B", b"3"), ("C", "ü=x".encode())),
    )
    assert environment(request) == [
        f"PATH={DEFAULT_PATH}",
        "A=1",
        "B=3",
        "HOSTNAME=pod-1",
        "HOME=/image",
        "C=ü=x",
    ]


def test_a_terminal_and_a_home_are_set_where_nobody_did() -> None:
    request = replace(BARE, terminal=True, user=ProcessUser(home="/home/web"))
    assert environment(request) == [f"PATH={DEFAULT_PATH}", "TERM=xterm", "HOME=/home/web"]
    own = replace(request, env=(("TERM", b"dumb"), ("HOME", b"/h")))
    assert environment(own) == [f"PATH={DEFAULT_PATH}", "TERM=dumb", "HOME=/h"]


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (("", b"x"), r"envs\[0\].key"),
        (("A=B", b"x"), r"envs\[0\].key"),
        (("A", b"\xff"), r"envs\[0\].value of A: not UTF-8"),
        (("A", b"x\0"), r"envs\[0\].value of A .*NUL"),
    ],
)
def test_entries_no_spec_can_hold_are_refused_by_name(entry: tuple[str, bytes], text: str) -> None:
    with pytest.raises(InvalidArgumentError, match=text):
        environment(replace(BARE, env=(entry,)))


@pytest.mark.parametrize("entry", ["NAME", "=value", ""])
def test_the_images_malformed_entries_are_refused(entry: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"the image's env\[0\]"):
        environment(replace(BARE, image=ImageConfig(env=(entry,))))


def test_the_directory_is_the_requests_then_the_images_then_the_root() -> None:
    assert working_directory(replace(REQUEST, working_dir="/a/../w")) == "/w"
    assert working_directory(REQUEST) == "/srv"
    assert working_directory(BARE) == "/"


@pytest.mark.parametrize(
    "path", ["w", "/proc/self/fd/7", "/proc/self/cwd", "//proc/1/root", "/x/../proc/thread-self"]
)
def test_directories_that_lead_out_are_refused(path: str) -> None:
    with pytest.raises(InvalidArgumentError, match="working_dir"):
        check_working_directory(path)


def test_the_score_is_clamped_to_what_the_daemon_may_set() -> None:
    assert oom_score_adj(-998, 0) == 0
    assert oom_score_adj(-998, -1000) == -998
    assert oom_score_adj(2000, 0) == 1000
    process = document(replace(REQUEST, resources=Resources(oom_score_adj=-997)), {})
    assert process["oomScoreAdj"] == 0
