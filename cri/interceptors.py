"""Around every call: an operation, a code for each error, one line of log, two metrics.

gRPC's own context is touched here and nowhere else. A handler is cancelled when its client's
deadline passes or its client goes; the log then says in which stage that was, for the client is
not listening any more.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NoReturn, Protocol, TypeVar, cast

import grpc
import grpc.aio
from grpc import StatusCode

from cri.errors import details, is_surprise, status_code
from cri.logging import fields
from runtime.operations import Operation, Operations
from store.errors import DeadlineExceededError

Request = TypeVar("Request")
Response = TypeVar("Response")

Subject = Callable[[object], Mapping[str, str]]
"""Says which ids and names a message is about."""

_log = logging.getLogger(__name__)

# The client's clock and ours race for the same deadline.
_RACE_SECONDS: Final = 0.05
_HEAD_START: Final = 0.1

_OURS: Final = frozenset({StatusCode.INTERNAL, StatusCode.DATA_LOSS, StatusCode.UNKNOWN})
_LATE: Final = frozenset({StatusCode.DEADLINE_EXCEEDED, StatusCode.RESOURCE_EXHAUSTED})


class CallMetrics(Protocol):
    """Who counts calls."""

    def call(self, method: str, code: str, seconds: float) -> None:
        """Count a call that has ended."""
        ...


class Context(Protocol):
    """The part of a gRPC servicer context that is used."""

    async def abort(self, code: StatusCode, details: str = "") -> NoReturn:
        """End the call with an error."""
        ...

    async def write(self, message: object) -> None:
        """Send one message of a stream."""
        ...

    def time_remaining(self) -> float | None:
        """Return the seconds until the client's deadline, or None if it has none."""
        ...


@dataclass(slots=True, kw_only=True)
class Call:
    """One call, from its first byte to its line of log."""

    method: str
    operation: Operation
    about: dict[str, str] = field(default_factory=dict)
    code: StatusCode = StatusCode.OK
    text: str = ""
    surprise: BaseException | None = None

    def mention(self, about: Mapping[str, str]) -> None:
        """Add ids and names, for the log and for whoever lists operations."""
        self.about.update(about)
        self.operation.subject = " ".join(self.about.values())

    def fail(self, error: Exception) -> None:
        """Take the code and the text that the client is told."""
        self.code, self.text = status_code(error), details(error)
        self.surprise = error if is_surprise(error) else None

    def line(self) -> dict[str, object]:
        """Return the fields of its line of log."""
        ending = {"error": self.text} if self.text else {}
        return {
            "method": self.method,
            **self.about,
            "code": self.code.name,
            "ms": round(self.operation.age * 1000, 3),
            "stages": self.operation.times(),
            **ending,
        }

    def level(self) -> int:
        """Return how loud that line is: what the kubelet asks all the time is not."""
        if self.code in _OURS:
            return logging.ERROR
        if self.code in _LATE:
            return logging.WARNING
        return logging.DEBUG if is_quiet(self.method) else logging.INFO


def is_quiet(method: str) -> bool:
    """Whether calls of a method only look, and are too many to be logged at info."""
    looks = method.startswith(("List", "Stream")) or method.endswith(("Status", "Stats"))
    return looks or method in {"Version", "ImageFsInfo", "RuntimeConfig", "Operations", "Doctor"}


_Inner = Callable[[object, Context], Awaitable[object]]
_Stream = Callable[[object, Context], AsyncIterator[object]]
_Behaviour = Callable[[bytes, Context], Awaitable[object]]
_Parse = Callable[[bytes], object]


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps the handler of each method once.

    Args:
        operations: where calls in flight are listed.
        metrics: told of each call that has ended.
        subject: names what a request or an answer is about.
    """

    def __init__(self, operations: Operations, metrics: CallMetrics, subject: Subject) -> None:
        self._operations = operations
        self._metrics = metrics
        self._subject = subject
        self._wrapped: dict[str, object] = {}

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails],
            Awaitable["grpc.RpcMethodHandler[Request, Response] | None"],
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Request, Response] | None":
        """Return the handler that goes around the method's own."""
        path = handler_call_details.method
        if path not in self._wrapped:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None
            self._wrapped[path] = self._wrap(path.rpartition("/")[2], handler)
        return cast("grpc.RpcMethodHandler[Request, Response]", self._wrapped[path])

    def _wrap(self, method: str, handler: "grpc.RpcMethodHandler[Request, Response]") -> object:
        """Take over parsing, too, so that bytes that are no message have a name for it."""
        parse = cast("_Parse", handler.request_deserializer)
        if handler.unary_stream:
            stream = cast("_Stream", handler.unary_stream)
            around = self._around(method, parse, _sending(stream))
            return grpc.unary_stream_rpc_method_handler(around, None, handler.response_serializer)
        around = self._around(method, parse, cast("_Inner", handler.unary_unary))
        return grpc.unary_unary_rpc_method_handler(around, None, handler.response_serializer)

    def _around(self, method: str, parse: _Parse, inner: _Inner) -> _Behaviour:
        async def behaviour(data: bytes, context: Context) -> object:
            with self._operations.begin(method) as operation:
                call = Call(method=method, operation=operation)
                try:
                    answer = await self._answer(call, inner, parse(data), context)
                except asyncio.CancelledError:
                    call.code, call.text = _cut_short(operation, context)
                    self._finish(call)
                    raise
                except Exception as error:  # noqa: BLE001 - whatever it is gets a code
                    call.fail(error)
                    self._finish(call)
                    await context.abort(call.code, call.text)
                else:
                    self._finish(call)
                    return answer

        return behaviour

    async def _answer(self, call: Call, inner: _Inner, request: object, context: Context) -> object:
        call.mention(self._subject(request))
        limit = asyncio.timeout(_time_to_answer(context))
        try:
            async with limit:
                answer = await inner(request, context)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise DeadlineExceededError(
                f"cannot finish {call.method} in time: {call.operation.where()}"
            ) from error
        call.mention(self._subject(answer))
        return answer

    def _finish(self, call: Call) -> None:
        """Count and log the call, before its client hears how it ended."""
        self._metrics.call(call.method, call.code.name, call.operation.age)
        level = call.level()
        if _log.isEnabledFor(level):
            _log.log(level, "rpc", extra=fields(call.line()), exc_info=call.surprise)


def _time_to_answer(context: Context) -> float | None:
    """Return the seconds a handler has if its client is to hear where it was, or None.

    gRPC's own answer to a deadline says nothing, so ours comes a little earlier.
    """
    left = context.time_remaining()
    return None if left is None else left - min(_HEAD_START, left / 10)


def _cut_short(operation: Operation, context: Context) -> tuple[StatusCode, str]:
    left = context.time_remaining()
    if left is not None and left <= _RACE_SECONDS:
        return StatusCode.DEADLINE_EXCEEDED, f"the client's deadline passed: {operation.where()}"
    return StatusCode.CANCELLED, f"the client went away: {operation.where()}"


def _sending(stream: _Stream) -> _Inner:
    """Return a handler that sends a stream itself, so that it runs in one task like the others."""

    async def send(request: object, context: Context) -> None:
        async for message in stream(request, context):
            await context.write(message)

    return send
