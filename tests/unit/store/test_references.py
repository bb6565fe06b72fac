from store import references
from store.digest import sha256

ONE, TWO = sha256(b"1"), sha256(b"2")


def test_labels_refer_to_content_and_snapshots() -> None:
    labels = {
        "containerd.io/gc.ref.content": ONE,
        "containerd.io/gc.ref.content.l.0": TWO,
        "containerd.io/gc.ref.content/x": TWO,
        "containerd.io/gc.ref.snapshot.overlayfs": "chain",
        "containerd.io/gc.ref.snapshot.native/b": "other",
    }
    assert list(references.labelled("one", labels)) == [
        references.content("one", ONE),
        references.content("one", TWO),
        references.content("one", TWO),
        references.snapshot("one", "overlayfs", "chain"),
        references.snapshot("one", "native", "other"),
    ]


def test_other_labels_refer_to_nothing() -> None:
    labels = {
        "containerd.io/gc.root": "yes",
        "containerd.io/gc.ref.contents": ONE,
        "containerd.io/gc.ref.content.m.0": "no digest",
        "mine": ONE,
    }
    assert list(references.labelled("one", labels)) == []


def test_a_node_says_what_it_is() -> None:
    assert str(references.ingest("one", "ref")) == "ingest ref in one"
