import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import grpc
import grpc.aio
import pytest
from grpc import StatusCode

from cri import server
from cri.interceptors import Call, CallInterceptor, is_quiet
from runtime import operations
from runtime.operations import Operations
from store.errors import NotFoundError


@dataclass
class Counted:
    calls: list[tuple[str, str]] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def call(self, method: str, code: str, seconds: float) -> None:
        assert seconds >= 0
        self.calls.append((method, code))
        self.ended.set()


class Service:
    """Does what the request says."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.undone = asyncio.Event()

    async def act(self, request: str, context: object) -> bytes:
        del context
        operations.stage("work", request)
        if request == "missing":
            raise NotFoundError("cannot find it: it is missing")
        if request == "surprise":
            raise KeyError("surprise")
        if request == "hang":
            self.entered.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.undone.set()
        return request.encode()

    async def count(self, request: str, context: object) -> AsyncIterator[bytes]:
        del context
        for letter in request:
            if letter == "!":
                raise NotFoundError("cannot go on: !")
            yield letter.encode()


@dataclass
class Served:
    service: Service
    operations: Operations
    counted: Counted
    channel: grpc.aio.Channel

    def act(
        self, text: str, deadline: float | None = None
    ) -> "grpc.aio.UnaryUnaryCall[bytes, bytes]":
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self.channel.unary_unary("/t.T/Act")
        return call(text.encode(), timeout=deadline)

    async def count(self, text: str) -> list[bytes]:
        call: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = self.channel.unary_stream(
            "/t.T/StreamCount"
        )
        return [chunk async for chunk in call(text.encode())]


Decode = Callable[[bytes], bytes]


def decode(data: bytes) -> str:
    return data.decode()


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    service, counted, running = Service(), Counted(), Operations()
    interceptor = CallInterceptor(running, counted, lambda message: {"about": str(message)})
    made = server.make([interceptor])
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Act": grpc.unary_unary_rpc_method_handler(service.act, cast("Decode", decode)),
        "StreamCount": grpc.unary_stream_rpc_method_handler(service.count, cast("Decode", decode)),
    }
    made.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", handlers),))
    await server.listen(made, tmp_path / "s")
    async with grpc.aio.insecure_channel(f"unix:{tmp_path}/s") as channel:
        yield Served(service, running, counted, channel)
    await made.stop(0)
    assert running.list() == []


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "cri.interceptors")
    return caplog


def line(lines: pytest.LogCaptureFixture) -> dict[str, object]:
    (record,) = lines.records
    return cast("dict[str, object]", vars(record)["ferry_fields"])


async def test_a_good_call_is_counted_and_logged_once(
    served: Served, lines: pytest.LogCaptureFixture
) -> None:
    assert await served.act("hello") == b"hello"
    assert served.counted.calls == [("Act", "OK")]
    fields = line(lines)
    assert (fields["method"], fields["code"], fields["about"]) == ("Act", "OK", "b'hello'")
    assert list(cast("dict[str, float]", fields["stages"])) == ["work"]
    assert lines.records[0].levelno == logging.INFO


async def test_an_error_of_ours_keeps_code_and_text(
    served: Served, lines: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await served.act("missing")
    assert (raised.value.code(), raised.value.details()) == (
        StatusCode.NOT_FOUND,
        "cannot find it: it is missing",
    )
    assert served.counted.calls == [("Act", "NOT_FOUND")]
    assert line(lines)["error"] == "cannot find it: it is missing"
    assert lines.records[0].exc_info is None


async def test_a_surprise_has_its_traceback_in_the_log_only(
    served: Served, lines: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await served.act("surprise")
    assert raised.value.code() is StatusCode.INTERNAL
    assert raised.value.details() == "internal error: KeyError: 'surprise'"
    assert lines.records[0].levelno == logging.ERROR
    assert lines.records[0].exc_info is not None


async def test_a_passed_deadline_tells_client_and_log_where_it_was(
    served: Served, lines: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await served.act("hang", deadline=1)
    assert raised.value.code() is StatusCode.DEADLINE_EXCEEDED
    told = str(raised.value.details())
    assert told.startswith("cannot finish Act in time: stage work for ")
    assert told.endswith(": hang")
    await served.service.undone.wait()
    await served.counted.ended.wait()
    fields = line(lines)
    assert (fields["code"], fields["error"]) == ("DEADLINE_EXCEEDED", told)
    assert lines.records[0].levelno == logging.WARNING


async def test_a_client_that_goes_away_is_no_deadline(
    served: Served, lines: pytest.LogCaptureFixture
) -> None:
    call = served.act("hang", deadline=60)
    await served.service.entered.wait()
    (operation,) = served.operations.list()
    assert (operation.kind, operation.subject) == ("Act", "hang")
    call.cancel()
    await served.service.undone.wait()
    await served.counted.ended.wait()
    assert line(lines)["code"] == "CANCELLED"
    assert str(line(lines)["error"]).startswith("the client went away: stage work")


async def test_streams_are_calls_like_the_others(
    served: Served, lines: pytest.LogCaptureFixture
) -> None:
    assert await served.count("abc") == [b"a", b"b", b"c"]
    assert served.counted.calls == [("StreamCount", "OK")]
    assert lines.records[0].levelno == logging.DEBUG


async def test_a_stream_that_fails_halfway_has_its_code(served: Served) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await served.count("ab!")
    assert raised.value.code() is StatusCode.NOT_FOUND
    assert served.counted.calls == [("StreamCount", "NOT_FOUND")]


async def test_bytes_that_cannot_be_parsed_get_a_code(served: Served) -> None:
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = served.channel.unary_unary("/t.T/Act")
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call(b"\xff")
    assert raised.value.code() is StatusCode.INTERNAL
    assert "UnicodeDecodeError" in (raised.value.details() or "")


async def test_an_unknown_method_is_left_to_grpc(served: Served) -> None:
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = served.channel.unary_unary("/t.T/No")
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call(b"")
    assert raised.value.code() is StatusCode.UNIMPLEMENTED
    assert served.counted.calls == []


@pytest.mark.parametrize(
    ("method", "quiet"),
    [
        ("Version", True),
        ("Status", True),
        ("ListContainers", True),
        ("StreamImages", True),
        ("PodSandboxStatus", True),
        ("ImageFsInfo", True),
        ("RunPodSandbox", False),
        ("ExecSync", False),
        ("PullImage", False),
    ],
)
def test_calls_that_only_look_are_quiet(method: str, *, quiet: bool) -> None:
    assert is_quiet(method) is quiet


@pytest.mark.parametrize(
    ("code", "level"),
    [
        (StatusCode.OK, logging.DEBUG),
        (StatusCode.NOT_FOUND, logging.DEBUG),
        (StatusCode.DEADLINE_EXCEEDED, logging.WARNING),
        (StatusCode.INTERNAL, logging.ERROR),
    ],
)
def test_trouble_is_loud_even_where_success_is_quiet(code: StatusCode, level: int) -> None:
    with Operations().begin("Status") as operation:
        assert Call(method="Status", operation=operation, code=code).level() == level
