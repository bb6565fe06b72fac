import pytest

from cri.cli.names import Candidate, pick
from store.errors import InvalidArgumentError, NotFoundError

OLD = Candidate(id="abc1" + "0" * 60, names=("main", "web/main"), about="exited")
NEW = Candidate(id="abd2" + "0" * 60, names=("main", "web/main"), about="running", live=True)
DB = Candidate(id="ace3" + "0" * 60, names=("db", "data/db"), about="running", live=True)
ODD = Candidate(id="b" * 64, names=("abd2",), about="exited")
ALL = (OLD, NEW, DB, ODD)


def found(wanted: str, among: tuple[Candidate, ...] = ALL) -> str:
    return pick("container", wanted, among, "ferry ps --all")


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [
        (OLD.id, OLD),
        ("abc", OLD),
        ("db", DB),
        ("data/db", DB),
        ("main", NEW),  # the one that runs
        ("web/main", NEW),
        ("abd2", ODD),  # a name before the beginning of an id
        ("abd20", NEW),
    ],
)
def test_people_mean_an_id_a_name_or_its_beginning(wanted: str, meant: Candidate) -> None:
    assert found(wanted) == meant.id


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ("nothing", "cannot find container 'nothing': `ferry ps --all` lists them"),
        ("mian", "cannot find container 'mian': `ferry ps --all` lists them; did you mean main?"),
        ("", "cannot find container '': `ferry ps --all` lists them"),
    ],
)
def test_what_is_not_there_comes_with_where_to_look(wanted: str, text: str) -> None:
    with pytest.raises(NotFoundError) as raised:
        found(wanted)
    assert str(raised.value) == text


def test_several_are_listed_with_what_tells_them_apart() -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        found("a")
    assert str(raised.value) == (
        "cannot tell which container 'a' is; write the id of one of these:\n"
        "  abc1000000000  web/main  exited\n"
        "  abd2000000000  web/main  running\n"
        "  ace3000000000  data/db  running"
    )


def test_two_that_run_are_not_chosen_between() -> None:
    twin = Candidate(id="f" * 64, names=("main",), about="running", live=True)
    with pytest.raises(InvalidArgumentError, match="ffffffffffff"):
        found("main", (*ALL, twin))
