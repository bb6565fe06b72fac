"""How sessions end, as the shared clients of Kubernetes read it."""

import json

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
