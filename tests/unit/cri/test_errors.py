import pytest
from google.protobuf.message import DecodeError
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st

from cri.errors import (
    MAX_DETAILS,
    details,
    error_class,
    is_surprise,
    shortened,
    status_code,
)
from store import errors


class StrangerError(errors.NotFoundError):
    pass


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InvalidArgumentError("x"), StatusCode.INVALID_ARGUMENT),
        (errors.NotFoundError("x"), StatusCode.NOT_FOUND),
        (StrangerError("x"), StatusCode.NOT_FOUND),
        (errors.AlreadyExistsError("x"), StatusCode.ALREADY_EXISTS),
        (errors.FailedPreconditionError("x"), StatusCode.FAILED_PRECONDITION),
        (errors.PermissionDeniedError("x"), StatusCode.PERMISSION_DENIED),
        (errors.ResourceExhaustedError("x"), StatusCode.RESOURCE_EXHAUSTED),
        (errors.UnavailableError("x"), StatusCode.UNAVAILABLE),
        (errors.DeadlineExceededError("x"), StatusCode.DEADLINE_EXCEEDED),
        (errors.DataLossError("x"), StatusCode.DATA_LOSS),
        (errors.UnimplementedError("x"), StatusCode.UNIMPLEMENTED),
        (errors.Error("x"), StatusCode.INTERNAL),
        (DecodeError("x"), StatusCode.INVALID_ARGUMENT),
        (ValueError("x"), StatusCode.INTERNAL),
    ],
)
def test_every_error_has_the_code_of_its_nearest_ancestor(
    error: Exception, code: StatusCode
) -> None:
    assert status_code(error) is code


def test_every_class_of_error_has_a_code_of_its_own() -> None:
    kinds = [kind for kind in errors.Error.__subclasses__() if kind.__module__ == "store.errors"]
    assert len({status_code(kind("x")) for kind in kinds}) == len(kinds) == 10


def test_our_text_is_told_as_it_is() -> None:
    assert details(errors.NotFoundError("cannot find a: b")) == "cannot find a: b"
    assert not is_surprise(errors.NotFoundError("x"))


def test_a_surprise_is_told_by_its_class() -> None:
    error = KeyError("x")
    assert details(error) == "internal error: KeyError: 'x'"
    assert is_surprise(error)


@given(st.text(max_size=4000))
def test_texts_are_cut_between_characters(text: str) -> None:
    cut = shortened(text)
    assert len(cut.encode()) <= MAX_DETAILS
    if cut != text.encode(errors="replace").decode():
        assert cut.endswith("...")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (StatusCode.NOT_FOUND, errors.NotFoundError),
        (StatusCode.INVALID_ARGUMENT, errors.InvalidArgumentError),
        (StatusCode.INTERNAL, errors.Error),
        (StatusCode.CANCELLED, errors.Error),
        (StatusCode.OUT_OF_RANGE, errors.Error),
    ],
)
def test_a_client_reads_a_code_back_as_the_error(
    code: StatusCode, kind: type[errors.Error]
) -> None:
    assert error_class(code) is kind
