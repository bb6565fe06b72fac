from store import references
from store.graph import Marks, Thing, children_first, pieces
from store.references import Node, Root


def node(key: str) -> Node:
    return references.snapshot("one", "overlayfs", key)


def thing(key: str, parent: str | None = None) -> Thing:
    below = None if parent is None else node(parent)
    return Thing(node=node(key), young_until=0, parent=below)


def test_children_come_before_their_parents() -> None:
    things = [thing("a"), thing("b", "a"), thing("c", "b"), thing("d", "a"), thing("e", "gone")]
    order = [each.node.key for each in children_first(reversed(things))]
    assert sorted(order) == ["a", "b", "c", "d", "e"]
    assert order.index("c") < order.index("b") < order.index("a")
    assert order.index("d") < order.index("a")


def test_a_long_chain_needs_no_recursion() -> None:
    things = [thing(str(number), str(number - 1)) for number in range(1, 5000)]
    order = [each.node.key for each in children_first(things)]
    assert order[0] == "4999"
    assert order[-1] == "1"


def test_pieces() -> None:
    assert [list(piece) for piece in pieces(range(5), 2)] == [[0, 1], [2, 3], [4]]
    assert list(pieces([], 2)) == []


async def test_marks_follow_references_through_cycles_and_keep_the_first_reason() -> None:
    edges = {"a": ["b"], "b": ["c", "a"], "c": [], "x": ["c"]}
    asked: list[str] = []

    async def referred(of: Node) -> list[Node]:
        asked.append(of.key)
        return [node(key) for key in edges[of.key]]

    marks = Marks(referred)
    await marks.reach([Root(node=node("a"), reason="first"), Root(node=node("x"), reason="second")])
    reasons = {key: marks.reason(node(key)) for key in "abcxy"}
    assert reasons == {"a": "first", "b": "first", "c": "first", "x": "second", "y": None}
    assert sorted(asked) == ["a", "b", "c", "x"]


async def test_a_flat_root_is_followed_only_for_another() -> None:
    async def referred(of: Node) -> list[Node]:
        return [node("b")] if of.key == "a" else []

    marks = Marks(referred)
    await marks.reach([Root(node=node("a"), reason="flat", flat=True)])
    assert marks.reason(node("b")) is None
    await marks.reach([Root(node=node("a"), reason="deep")])
    assert (marks.reason(node("a")), marks.reason(node("b"))) == ("flat", "deep")
