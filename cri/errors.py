"""From ferry's errors to gRPC codes: one table, looked up along the error's ancestors."""

from collections.abc import Mapping
from typing import Final

from google.protobuf.message import DecodeError
from grpc import StatusCode

from store.errors import (
    AlreadyExistsError,
    DataLossError,
    DeadlineExceededError,
    Error,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
    UnavailableError,
    UnimplementedError,
)

MAX_DETAILS: Final = 2500
"""The longest status message in bytes. It travels percent-encoded in a trailer, and a client that
is given more than 8 KiB of trailers reports that instead of our error."""

_CODES: Final[Mapping[type, StatusCode]] = {
    InvalidArgumentError: StatusCode.INVALID_ARGUMENT,
    NotFoundError: StatusCode.NOT_FOUND,
    AlreadyExistsError: StatusCode.ALREADY_EXISTS,
    FailedPreconditionError: StatusCode.FAILED_PRECONDITION,
    PermissionDeniedError: StatusCode.PERMISSION_DENIED,
    ResourceExhaustedError: StatusCode.RESOURCE_EXHAUSTED,
    UnavailableError: StatusCode.UNAVAILABLE,
    DeadlineExceededError: StatusCode.DEADLINE_EXCEEDED,
    DataLossError: StatusCode.DATA_LOSS,
    UnimplementedError: StatusCode.UNIMPLEMENTED,
    Error: StatusCode.INTERNAL,
    DecodeError: StatusCode.INVALID_ARGUMENT,
    BaseException: StatusCode.INTERNAL,
}


def status_code(error: BaseException) -> StatusCode:
    """Return the code of the nearest known ancestor of `error`."""
    return next(_CODES[kind] for kind in type(error).__mro__ if kind in _CODES)


def error_class(code: StatusCode) -> type[Error]:
    """Return which of our errors a code stands for, on the client's side."""
    found = (kind for kind, its in _CODES.items() if its is code and issubclass(kind, Error))
    return next(found, Error)


def details(error: BaseException) -> str:
    """Return what a client is told: our own text, or what kind of a surprise it was."""
    if isinstance(error, Error):
        return shortened(str(error))
    if isinstance(error, DecodeError):
        return shortened(f"request: cannot decode it: {error}")
    return shortened(f"internal error: {type(error).__name__}: {error}")


def is_surprise(error: BaseException) -> bool:
    """Whether nobody expected this error, so that its traceback belongs in the log."""
    return not isinstance(error, (Error, DecodeError))


def shortened(text: str, limit: int = MAX_DETAILS) -> str:
    """Return `text` cut to `limit` bytes of UTF-8, with a mark where it was cut."""
    data = text.encode(errors="replace")
    if len(data) <= limit:
        return data.decode()
    return data[: limit - 3].decode(errors="ignore") + "..."
