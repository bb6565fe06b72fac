import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.digest import sha256
from store.errors import ResourceExhaustedError
from store.images import Unfinished, Unpacked
from store.images import unpack_messages as messages
from store.images.layers import Limits

paths = st.lists(st.binary(max_size=4096)).map(tuple)


@given(paths, paths, st.lists(st.tuples(st.binary(), st.binary())).map(tuple))
def test_a_result_survives_its_parts(
    opaque: tuple[bytes, ...],
    implied: tuple[bytes, ...],
    links: tuple[tuple[bytes, bytes], ...],
) -> None:
    unfinished = Unfinished(opaque=opaque, implied=implied, links=links)
    result = Unpacked(diff_id=sha256(b""), size=1, inodes=2, unfinished=unfinished)
    parts = [messages.encode(part) for part in messages.parts(result)]
    assert all(len(part) < messages.LARGEST for part in parts)
    found = [messages.decode_event(part) for part in parts]
    assert all(isinstance(part, messages.Part) for part in found)
    lasts = [part.last for part in found if isinstance(part, messages.Part)]
    assert lasts == [False] * (len(lasts) - 1) + [True]
    data = b"".join(part.data for part in found if isinstance(part, messages.Part))
    assert messages.decode_result(data) == result


def test_a_result_that_would_burden_the_daemon_is_refused() -> None:
    implied = tuple(b"%04000d" % number for number in range(20_000))
    result = Unpacked(diff_id=sha256(b""), size=1, inodes=2, unfinished=Unfinished(implied=implied))
    with pytest.raises(ResourceExhaustedError, match="too many parents are only implied"):
        list(messages.parts(result))


@pytest.mark.parametrize(
    "event",
    [
        messages.Advanced(5),
        messages.Part(b"\xff", last=True),
        messages.Failed("DataLossError", "é"),
        messages.Exited(9),
    ],
)
def test_events(event: messages.Event) -> None:
    assert messages.decode_event(messages.encode(event)) == event


def test_requests() -> None:
    request = messages.Unpack("application/x", Limits(size=5))
    assert messages.decode_request(messages.encode(request)) == request
    available = messages.Available(7, complete=True)
    assert messages.decode_available(messages.encode(available)) == available
