"""The streaming server's sockets: who may connect, for how long, and to what."""

import asyncio
import contextlib
import errno
import ipaddress
import logging
import socket
from collections.abc import Coroutine
from functools import partial
from http import HTTPStatus
from types import TracebackType
from typing import Final, Self

from cri.streaming import (
    PortForwardRequest,
    ProtocolError,
    Request,
    Settings,
    negotiation,
    sessions,
)
from cri.streaming.checks import check
from cri.streaming.hangups import Hangups
from cri.streaming.http import Head, RefusedError, RequestReader, response
from cri.streaming.tokens import Tokens
from cri.streaming.wire import Wire
from runtime.io import AttachRequest, ExecRequest, Ports, Sessions
from runtime.operations import Operations
from store.errors import FailedPreconditionError, NotFoundError

_BACKLOG: Final = 1024
# How long accepting rests when the process or the node has no descriptor left.
_REST: Final = 0.1
_LINGER: Final = 1.0
_ROUTES: Final[dict[type, str]] = {
    ExecRequest: "exec",
    AttachRequest: "attach",
    PortForwardRequest: "portforward",
}
# What a dead peer costs to notice: about two minutes (tcp(7)).
_KEEPALIVE: Final = (
    (socket.TCP_KEEPIDLE, 60),
    (socket.TCP_KEEPINTVL, 20),
    (socket.TCP_KEEPCNT, 3),
)

_log = logging.getLogger(__name__)


class StreamingServer:
    """Implements `Urls`. Use as a block: leaving it ends every session.

    Args:
        settings: where it listens and what clients may take.
        sessions: exec and attach.
        ports: port-forward.
        operations: lists the sessions.
    """

    def __init__(
        self, settings: Settings, sessions: Sessions, ports: Ports, operations: Operations
    ) -> None:
        self._settings = settings
        self._sessions = sessions
        self._ports = ports
        self._operations = operations
        self._tokens = Tokens()
        self._hangups: Hangups
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: dict[asyncio.Task[None], None] = {}
        self._listener: socket.socket | None = None

    async def __aenter__(self) -> Self:
        self._listener = _listen(self._settings)
        self._hangups = Hangups()
        await self._group.__aenter__()
        _ = self._run(self._accept(self._listener), "streaming server")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        try:
            await self._group.__aexit__(kind, error, trace)
        finally:
            self._hangups.close()
            if self._listener is not None:
                self._listener.close()

    def url(self, request: Request) -> str:
        """See `Urls.url`."""
        check(request)
        token = self._tokens.add(request)
        return f"{self._base()}/{_ROUTES[type(request)]}/{token}"

    def _base(self) -> str:
        if self._settings.base_url:
            return self._settings.base_url.rstrip("/")
        if self._listener is None:
            raise FailedPreconditionError("cannot give a streaming URL: the server does not run")
        host, port = self._listener.getsockname()[:2]
        address = ipaddress.ip_address(host)
        if address.is_unspecified:
            host = "127.0.0.1" if address.version == 4 else "::1"
        host = f"[{host}]" if ":" in host else host
        return f"{'http' if self._settings.tls is None else 'https'}://{host}:{port}"

    def _run(self, work: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
        task = self._group.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connected, _ = await loop.sock_accept(listener)
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS):
                    _log.warning("streaming: cannot accept a connection: %s", error)
                    self._make_room(0)
                    await asyncio.sleep(_REST)
                continue
            self._make_room(self._settings.waiting - 1)
            wire = Wire(self._hangups)
            task = self._run(self._connection(wire, connected), "streaming connection")
            self._waiting[task] = None
            task.add_done_callback(partial(self._closed, wire, connected))

    def _make_room(self, most: int) -> None:
        """Turn away those who have been waiting longest without having shown a token."""
        while len(self._waiting) > most:
            oldest = next(iter(self._waiting))
            self._no_longer_waiting(oldest)
            oldest.cancel()

    def _closed(self, wire: Wire, connected: socket.socket, task: asyncio.Task[None]) -> None:
        """Let go of a connection, also of one whose task was cancelled before it began."""
        self._no_longer_waiting(task)
        wire.abort()
        connected.close()

    def _no_longer_waiting(self, task: asyncio.Task[None]) -> None:
        self._waiting.pop(task, None)

    async def _connection(self, wire: Wire, connected: socket.socket) -> None:
        try:
            async with asyncio.timeout(self._settings.request):
                await self._open(wire, connected)
            await self._request(wire)
        except* (ProtocolError, OSError, TimeoutError) as errors:
            _log.debug("streaming: %r", errors.exceptions)
        except* Exception:  # noqa: BLE001 - one session must not end the others
            _log.exception("streaming: a session failed")

    async def _open(self, wire: Wire, connected: socket.socket) -> None:
        connected.setblocking(False)  # noqa: FBT003 - its only parameter
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            connected.setsockopt(socket.IPPROTO_TCP, option, value)
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(lambda: wire, connected, ssl=self._settings.tls)

    async def _request(self, wire: Wire) -> None:
        reader = RequestReader()
        try:
            async with asyncio.timeout(self._settings.request):
                head = await _head(wire, reader)
            await self._serve(wire, reader, head)
        except TimeoutError:
            await _refuse(wire, RefusedError(HTTPStatus.REQUEST_TIMEOUT, "no request came"))
        except RefusedError as refused:
            await _refuse(wire, refused)

    async def _serve(self, wire: Wire, reader: RequestReader, head: Head) -> None:
        token, request = self._find(head)
        if isinstance(request, PortForwardRequest):
            agreement = negotiation.forward(head)
        else:
            agreement = negotiation.command(head)
        answer, rest = reader.switch(agreement.headers)
        self._tokens.take(token)
        task = asyncio.current_task()
        if task is not None:
            self._no_longer_waiting(task)
        wire.write(answer)
        wire.give_back(rest)
        wire.end_when_idle(self._settings.idle)
        with self._operations.begin(*_named(request)) as operation:
            operation.stage(agreement.transport.value, agreement.protocol.name)
            await self._session(wire, agreement, request)

    async def _session(
        self, wire: Wire, agreement: negotiation.Agreement, request: Request
    ) -> None:
        if isinstance(request, PortForwardRequest):
            await sessions.forward(wire, agreement, request, self._ports, self._settings)
            return
        if isinstance(request, ExecRequest):
            opening = self._sessions.exec(request)
        else:
            opening = self._sessions.attach(request)
        await sessions.command(wire, agreement, request.wanted, opening, self._settings)

    def _find(self, head: Head) -> tuple[str, Request]:
        """Return the token and its request."""
        if head.method not in ("GET", "POST"):
            allowed = [("Allow", "GET, POST")]
            raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, "use GET or POST", allowed)
        kind, token = ["", *head.path.partition("?")[0].split("/")][-2:]
        try:
            request = self._tokens.look(token)
        except NotFoundError as error:
            raise RefusedError(HTTPStatus.NOT_FOUND, str(error)) from error
        if _ROUTES[type(request)] != kind:
            raise RefusedError(HTTPStatus.NOT_FOUND, "cannot find a session of this token")
        return token, request


async def _head(wire: Wire, reader: RequestReader) -> Head:
    while data := await wire.receive():
        head = reader.feed(data)
        if head is not None:
            return head
    raise ProtocolError("a client left without a request")


async def _refuse(wire: Wire, refused: RefusedError) -> None:
    """Answer, and let the client close first, so that it reads the answer."""
    wire.write(response(refused.status, str(refused), refused.headers))
    wire.finish()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LINGER):
            while await wire.receive():
                pass


def _listen(settings: Settings) -> socket.socket:
    what = f"cannot listen on {settings.address} port {settings.port} for streaming"
    try:
        version = ipaddress.ip_address(settings.address).version
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        listener = socket.create_server(
            (settings.address, settings.port), family=family, backlog=_BACKLOG
        )
    except (OSError, ValueError) as error:
        raise FailedPreconditionError(f"{what}: {error}") from error
    listener.setblocking(False)  # noqa: FBT003 - its only parameter
    return listener


def _named(request: Request) -> tuple[str, str]:
    if isinstance(request, PortForwardRequest):
        return "portforward session", request.sandbox_id
    return f"{_ROUTES[type(request)]} session", request.container_id
