import io
import json
from collections.abc import AsyncIterator

import pytest

from cri.api.ferry.v1 import node_pb2
from cri.cli import images
from cri.cli.bars import Bars
from cri.cli.daemon import Daemon
from store.errors import Error, NotFoundError, PermissionDeniedError
from store.images import Credentials
from tests.fakes.images import image as some_image
from tests.serving import Parts

Output = pytest.CaptureFixture[str]

NAME = "example.org/a:1"
ID = str(some_image(1, NAME).id)


async def test_a_pull_prints_the_id(address: str, capsys: Output, parts: Parts) -> None:
    await images.pull(NAME, user="u:p:w", address=address)
    assert capsys.readouterr() == (f"{ID}\n", "")
    assert parts.images.credentials == Credentials(username="u", password="p:w")
    await images.pull(NAME, address=address, json=True)
    assert json.loads(capsys.readouterr().out) == {"image": NAME, "id": ID}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


async def test_bars_are_for_terminals_that_want_them(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[str, str]] = []
    monkeypatch.setattr(Bars, "show", lambda _, row: shown.append((row.verb, row.item)))
    monkeypatch.setattr("sys.stderr", Terminal())
    assert await images.fetch(daemon, NAME, bars=False) == ID
    assert shown == []
    assert await images.fetch(daemon, NAME) == ID
    assert shown == [("fetching", "layer")]


async def test_a_pull_that_ends_without_a_result_is_an_error(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def pull(*_: str) -> AsyncIterator[node_pb2.PullProgress]:
        yield node_pb2.PullProgress(stage="download", item="layer")

    monkeypatch.setattr(Daemon, "pull", pull)
    with pytest.raises(Error, match="ended the pull without a result"):
        await images.fetch(daemon, NAME)


async def test_a_refusal_says_how_to_log_in(
    address: str, monkeypatch: pytest.MonkeyPatch, parts: Parts
) -> None:
    async def pull(*_: str, **__: object) -> None:
        raise PermissionDeniedError("cannot fetch it: 401")

    monkeypatch.setattr(parts.images, "pull", pull)
    with pytest.raises(PermissionDeniedError) as raised:
        await images.pull(NAME, address=address)
    assert str(raised.value) == (
        "cannot fetch it: 401\nWith a name and a password: `ferry pull --user NAME IMAGE`."
    )


@pytest.mark.parametrize(
    ("user", "expected"),
    [("", ("", "")), ("u:p", ("u", "p")), ("u:", ("u", "")), ("u", ("u", "typed"))],
)
def test_a_missing_password_is_read_from_the_input(
    monkeypatch: pytest.MonkeyPatch, user: str, expected: tuple[str, str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("typed\nmore\n"))
    assert images.credentials(user) == expected


def test_at_a_terminal_the_password_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("never read"))
    monkeypatch.setattr("getpass.getpass", lambda prompt: f"answer to {prompt}")
    assert images.credentials("u") == ("u", "answer to Password of u: ")


async def test_images_are_listed_by_name(address: str, capsys: Output, parts: Parts) -> None:
    parts.images.available["example.org/b:1"] = some_image(2, "example.org/b:1")
    for name in ("example.org/b:1", NAME):
        await images.pull(name, address=address)
    capsys.readouterr()
    await images.images(address=address)
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["NAME", "ID", "SIZE"],
        [NAME, ID[7:20], "1kB"],
        ["example.org/b:1", str(some_image(2).id)[7:20], "1kB"],
    ]
    await images.images(address=address, json=True)
    listed = json.loads(capsys.readouterr().out)
    assert {each["id"] for each in listed} == {ID, str(some_image(2).id)}
    assert all(each["pinned"] is False for each in listed)


async def test_what_is_removed_must_be_there(address: str, capsys: Output, parts: Parts) -> None:
    await images.pull(NAME, address=address)
    capsys.readouterr()
    with pytest.raises(NotFoundError, match="cannot find image 'typo': `ferry images` lists them"):
        await images.rmi(["typo", NAME], address=address)
    assert parts.images.kept
    await images.rmi([NAME], address=address, json=True)
    assert json.loads(capsys.readouterr().out) == {"removed": [NAME]}
    assert not parts.images.kept
