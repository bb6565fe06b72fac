from dataclasses import dataclass

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from cri.api.runtime.v1 import api_pb2 as pb
from cri.services.serialised import MAX_CHUNK, MAX_UNARY, Serialised, check_size, chunks, unary
from store.errors import ResourceExhaustedError


@dataclass(frozen=True)
class Thing:
    id: str
    labels: tuple[str, ...] = ()


class Encoder:
    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, thing: Thing) -> Message:
        self.asked.append(thing.id)
        return pb.Container(id=thing.id, labels=dict.fromkeys(thing.labels, ""))


def cache(encoder: Encoder) -> Serialised[Thing]:
    return Serialised(lambda thing: thing.id, lambda thing: (thing,), encoder)


@given(
    st.dictionaries(
        st.text(st.characters(codec="ascii"), min_size=1, max_size=300),
        st.lists(st.text(st.characters(codec="utf-8"), max_size=5), unique=True, max_size=3),
        max_size=5,
    )
)
def test_joined_records_are_the_message(things: dict[str, list[str]]) -> None:
    encoder = Encoder()
    records = cache(encoder).records([Thing(id_, tuple(words)) for id_, words in things.items()])
    answer = pb.ListContainersResponse.FromString(unary(records, "StreamContainers"))
    assert [(one.id, set(one.labels)) for one in answer.containers] == [
        (id_, set(words)) for id_, words in things.items()
    ]


def test_a_record_is_made_again_only_when_its_object_changed() -> None:
    encoder = Encoder()
    kept = cache(encoder)
    first, second = Thing("a"), Thing("b")
    kept.records([first, second])
    kept.records([first, second])
    assert encoder.asked == ["a", "b"]
    changed = kept.records([Thing("a", ("x",)), second])
    assert encoder.asked == ["a", "b", "a"]
    answer = pb.ListContainersResponse.FromString(b"".join(changed))
    assert dict(answer.containers[0].labels) == {"x": ""}


def test_only_a_complete_list_forgets_what_is_gone() -> None:
    encoder = Encoder()
    kept = cache(encoder)
    kept.records([Thing("a"), Thing("b")], complete=True)
    kept.records([Thing("a")])
    assert repr(kept) == "Serialised(2 records)"
    kept.records([Thing("a")], complete=True)
    assert repr(kept) == "Serialised(1 records)"
    assert encoder.asked == ["a", "b"]


def test_an_answer_with_everything_is_joined_once_until_something_changes() -> None:
    kept = cache(Encoder())
    things = [Thing("a"), Thing("b")]
    first = kept.answer(list(things), "StreamContainers", complete=True)
    assert kept.answer(list(things), "StreamContainers", complete=True) is first
    part = kept.answer(things[:1], "StreamContainers")
    assert first.startswith(part)
    assert kept.answer(list(things), "StreamContainers", complete=True) is first
    fewer = kept.answer(things[1:], "StreamContainers", complete=True)
    assert part + fewer == first
    things[0] = Thing("a", ("x",))
    changed = kept.answer(list(things), "StreamContainers", complete=True)
    assert [one.id for one in pb.ListContainersResponse.FromString(changed).containers] == [
        "a",
        "b",
    ]
    assert changed != first
    assert kept.answer([], "StreamContainers", complete=True) == b""


@given(st.lists(st.integers(1, MAX_CHUNK * 2), max_size=12))
def test_a_stream_sends_every_record_once_and_never_an_empty_message(sizes: list[int]) -> None:
    records = [bytes([index]) * size for index, size in enumerate(sizes)]
    sent = list(chunks(records))
    assert b"".join(sent) == b"".join(records)
    assert all(sent)
    assert all(len(chunk) <= max(MAX_CHUNK, *sizes) for chunk in sent)


def test_no_records_are_no_messages() -> None:
    assert list(chunks([])) == []


def test_an_answer_that_clients_refuse_is_refused_with_the_way_out() -> None:
    check_size(MAX_UNARY, "StreamImages")
    with pytest.raises(ResourceExhaustedError, match=r"clients accept 16777216; use StreamX"):
        unary([b"x" * MAX_UNARY, b"y"], "StreamX")
