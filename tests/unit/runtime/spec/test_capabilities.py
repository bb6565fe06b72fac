import pytest

from runtime.spec import Capabilities
from runtime.spec.capabilities import DEFAULT, KNOWN, document, select
from store.errors import FailedPreconditionError, InvalidArgumentError

ALL = frozenset(KNOWN)


def chosen(request: Capabilities, host: frozenset[str] = ALL) -> frozenset[str]:
    return select(request, privileged=False, host=host)[0]


def test_the_numbering_is_the_kernels() -> None:
    assert (KNOWN.index("CAP_SYS_ADMIN"), KNOWN.index("CAP_CHECKPOINT_RESTORE")) == (21, 40)
    assert sum(1 << KNOWN.index(name) for name in DEFAULT) == 0xA80425FB


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (Capabilities(), DEFAULT),
        (Capabilities(add=("net_admin",)), DEFAULT | {"CAP_NET_ADMIN"}),
        (Capabilities(drop=("CAP_CHOWN",)), DEFAULT - {"CAP_CHOWN"}),
        (Capabilities(add=("ALL",)), ALL),
        (Capabilities(add=("ALL",), drop=("CHOWN",)), ALL - {"CAP_CHOWN"}),
        (Capabilities(add=("all", "SYS_ADMIN")), ALL),
        (Capabilities(drop=("ALL",)), frozenset()),
        (Capabilities(drop=("ALL",), add=("CHOWN",)), {"CAP_CHOWN"}),
        (Capabilities(add=("ALL",), drop=("ALL",)), frozenset()),
        (Capabilities(add=("CHOWN",), drop=("CHOWN",)), DEFAULT - {"CAP_CHOWN"}),
    ],
)
def test_adding_and_dropping(request_: Capabilities, expected: frozenset[str]) -> None:
    assert chosen(request_) == expected


def test_privileged_gets_all_the_host_has_and_ignores_the_request() -> None:
    host = ALL - {"CAP_SYS_RESOURCE"}
    permitted, ambient = select(Capabilities(drop=("ALL",)), privileged=True, host=host)
    assert (permitted, ambient) == (host, frozenset())


def test_what_the_host_lacks_is_left_out_of_all_but_refused_by_name() -> None:
    host = ALL - {"CAP_SYS_RESOURCE", "CAP_CHOWN"}
    assert chosen(Capabilities(add=("ALL",)), host) == host
    assert chosen(Capabilities(), host) == DEFAULT - {"CAP_CHOWN"}
    with pytest.raises(FailedPreconditionError, match="CAP_SYS_RESOURCE"):
        chosen(Capabilities(add=("SYS_RESOURCE",)), host)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (Capabilities(add=("FLY",)), "capabilities.add 'CAP_FLY'"),
        (Capabilities(drop=("",)), "capabilities.drop 'CAP_'"),
        (Capabilities(ambient=("x",)), "capabilities.ambient 'CAP_X'"),
    ],
)
def test_unknown_names_are_refused(request_: Capabilities, field: str) -> None:
    with pytest.raises(InvalidArgumentError, match=field):
        chosen(request_)


def test_nothing_is_inheritable_without_an_ambient_set() -> None:
    assert document(frozenset({"CAP_KILL", "CAP_CHOWN"}), frozenset()) == {
        "bounding": ["CAP_CHOWN", "CAP_KILL"],
        "effective": ["CAP_CHOWN", "CAP_KILL"],
        "permitted": ["CAP_CHOWN", "CAP_KILL"],
    }


def test_ambient_capabilities_are_held_and_inheritable() -> None:
    request = Capabilities(drop=("ALL",), ambient=("KILL", "CHOWN"))
    permitted, ambient = select(request, privileged=False, host=ALL)
    assert permitted == ambient == {"CAP_CHOWN", "CAP_KILL"}
    assert document(permitted, ambient)["inheritable"] == ["CAP_CHOWN", "CAP_KILL"]
    dropped = Capabilities(ambient=("KILL",), drop=("KILL",))
    assert select(dropped, privileged=False, host=ALL)[1] == frozenset()
