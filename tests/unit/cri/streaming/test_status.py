"""How sessions end, as the shared clients of Kubernetes read it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cri.streaming import ProtocolError
from cri.streaming.status import Outcome


def test_success() -> None:
    assert json.loads(Outcome().status()) == {"metadata": {}, "status": "Success"}
    assert Outcome().text() == b""


def test_an_exit_code() -> None:
    status = json.loads(Outcome(code=137).status())
    assert status["status"] == "Failure"
    assert status["reason"] == "NonZeroExitCode"
    assert status["details"] == {"causes": [{"reason": "ExitCode", "message": "137"}]}
    assert Outcome(code=137).text().endswith(b": 137")


def test_a_failure() -> None:
    status = json.loads(Outcome(error='cannot exec "x": é').status())
    assert status == {
        "metadata": {},
        "status": "Failure",
        "message": 'cannot exec "x": é',
        "reason": "InternalError",
        "code": 500,
    }
    assert Outcome(error="é").text() == "é".encode()


@pytest.mark.parametrize("outcome", [Outcome(), Outcome(code=3), Outcome(error="cannot é")])
def test_what_was_written_is_read_back(outcome: Outcome) -> None:
    assert Outcome.read(outcome.status()) == outcome


def test_other_servers_leave_things_out() -> None:
    assert Outcome.read(b'{"status":"Success"}') == Outcome()
    assert Outcome.read(b'{"status":"Failure","reason":"Timeout"}') == Outcome(error="Timeout")


@given(st.binary(max_size=60))
def test_garbage_raises_nothing_but_protocol_errors(garbage: bytes) -> None:
    with pytest.raises(ProtocolError):
        Outcome.read(garbage)


def test_an_exit_code_must_be_one() -> None:
    for details in ('{"causes":[]}', '{"causes":[{"message":"many"}]}'):
        text = f'{{"status":"Failure","reason":"NonZeroExitCode","details":{details}}}'
        with pytest.raises(ProtocolError):
            Outcome.read(text.encode())
