from store.images.recover import _leaves_first, _made_earlier
from store.snapshots import Kind, Snapshot


def snapshot(
    key: str, parent: str | None = None, boot: str | None = "old", kind: Kind = Kind.COMMITTED
) -> Snapshot:
    return Snapshot(
        namespace="ns",
        key=key,
        kind=kind,
        parent=parent,
        labels={} if boot is None else {"io.ferry/boot": boot},
        created_at=0,
        updated_at=0,
    )


def test_children_go_before_their_parents() -> None:
    found = [
        snapshot("b", "a"),
        snapshot("a", "proven"),
        snapshot("d", "c"),
        snapshot("c", "b"),
        snapshot("other"),
        snapshot("e", "b"),
    ]
    order = list(_leaves_first({each.key: each for each in found}))
    assert sorted(order) == sorted(each.key for each in found)
    for each in found:
        if each.parent in order:
            assert order.index(each.key) < order.index(each.parent)


def test_only_layers_of_another_boot_are_doubtful() -> None:
    assert _made_earlier(snapshot("a"), "new")
    assert not _made_earlier(snapshot("a"), "old")
    assert not _made_earlier(snapshot("a", boot=None), "new")
    assert not _made_earlier(snapshot("a", kind=Kind.ACTIVE), "new")
