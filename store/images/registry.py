"""One repository of one registry: names resolved, documents and blobs fetched.

OCI distribution specification, pull. Every request is tried on the configured hosts in their
order, retried while the failure may pass, and answered with one error that says what each host
said. A host whose bytes are not what their digest promises is not asked again.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar
from urllib.parse import urlencode

import tenacity

from store import digest as digests
from store.content import Descriptor
from store.digest import Digest
from store.errors import (
    DataLossError,
    Error,
    FailedPreconditionError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
    UnimplementedError,
)
from store.images import documents, replies
from store.images import manifest as manifests
from store.images.hosts import Capability, RegistryHost
from store.images.reference import Reference
from store.images.tokens import Authorizer
from store.images.transport import Reply, Request, TransientError, Transport, read_body

T = TypeVar("T")

PROGRESS: Final = 1024 * 1024
"""Attempts that brought this many bytes together earn a transfer new attempts."""

UNAVAILABLE: Final = "RegistryUnavailable"
"""How the text of an error begins that the kubelet shows as a reason of its own."""

_ACCEPT: Final = ", ".join(sorted(manifests.INDEXES | manifests.MANIFESTS))
_ELSEWHERE_UNTOUCHED: Final = (NotFoundError, PermissionDeniedError, UnavailableError)
_ELSEWHERE: Final = (*_ELSEWHERE_UNTOUCHED, DataLossError)


class Sink(Protocol):
    """Where a blob goes; what `store.content.Ingest` offers."""

    @property
    def offset(self) -> int:
        """Bytes that are there already."""
        ...

    async def write(self, data: bytes | memoryview) -> None:
        """Append `data`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How often and how patiently. Seconds; a `Retry-After` is obeyed up to `longest_wait`."""

    attempts: int = 4
    mirror_attempts: int = 2
    first_wait: float = 0.25
    longest_wait: float = 30.0

    def retrying(self, *, last: bool) -> tenacity.AsyncRetrying:
        """Return the policy for one host: fewer attempts while there are others to ask."""
        return tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(TransientError),
            stop=tenacity.stop_after_attempt(self.attempts if last else self.mirror_attempts),
            wait=self._wait,
            sleep=asyncio.sleep,
            reraise=True,
        )

    def _wait(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, TransientError) else None
        patient = self.first_wait * 2.0 ** (state.attempt_number - 1)
        return min(patient if asked is None else asked, self.longest_wait)


class Registry:
    """A repository as its hosts serve it, for the time of one pull."""

    def __init__(
        self,
        reference: Reference,
        hosts: tuple[RegistryHost, ...],
        *,
        transport: Transport,
        authorizer: Authorizer,
        retries: Retries,
    ) -> None:
        self._reference = reference
        self._hosts = hosts
        self._transport = transport
        self._authorizer = authorizer
        self._retries = retries
        self._bodies: dict[Digest, bytes] = {}
        self._sources: defaultdict[Digest, list[RegistryHost | None]] = defaultdict(list)
        self._liars: set[RegistryHost] = set()

    async def resolve(self) -> Descriptor:
        """Return what the reference names now, as a host claims; nothing is verified yet.

        Raises:
            NotFoundError: no host has it.
            PermissionDeniedError: the registry wants other credentials.
            UnavailableError: no host answered well.
            DataLossError: what a host answered is no manifest.
        """
        needs = Capability.RESOLVE if self._reference.digest is None else Capability.PULL
        return await self._anywhere(str(self._reference), needs, self._resolve_at)

    async def document(self, wanted: Descriptor) -> bytes:
        """Return a manifest, an index or a config, verified.

        Raises:
            DataLossError: it is larger than any may be, or not what digest and size promise.
            NotFoundError, PermissionDeniedError, UnavailableError: as `resolve`.
        """
        if wanted.digest in self._bodies:
            return self._bodies.pop(wanted.digest)

        async def action(host: RegistryHost) -> bytes:
            return await self._document_at(host, wanted)

        return await self._anywhere(wanted.digest, Capability.PULL, action)

    async def fetch(self, blob: Descriptor, sink: Sink) -> None:
        """Append to `sink` what it lacks of the blob; its owner verifies the digest.

        Raises:
            DataLossError: a host announced or sent another size.
            NotFoundError, PermissionDeniedError, UnavailableError: as `resolve`.
        """
        sources = self._sources[blob.digest]
        if sink.offset:
            sources.append(None)

        async def action(host: RegistryHost) -> None:
            if host not in sources:
                sources.append(host)
            await self._fetch_at(host, blob, sink)

        while True:
            before = sink.offset
            try:
                return await self._anywhere(
                    blob.digest, Capability.PULL, action, elsewhere=_ELSEWHERE_UNTOUCHED
                )
            except TransientError:
                if sink.offset - before < PROGRESS:
                    raise

    def distrust(self, digest: Digest) -> bool:
        """Take note that this blob came out wrong; tell whether another try makes sense.

        When several had a part in it (or an earlier pull), the last host, which is the authority,
        gets the benefit of the doubt.
        """
        sources = self._sources.pop(digest, [])
        suspects = sources if len(sources) == 1 else sources[:-1]
        self._liars.update(host for host in suspects if host is not None)
        return any(Capability.PULL in host.capabilities for host in self._trusted())

    def _trusted(self) -> list[RegistryHost]:
        return [host for host in self._hosts if host not in self._liars]

    async def _anywhere(
        self,
        what: str,
        needs: Capability,
        action: Callable[[RegistryHost], Awaitable[T]],
        *,
        elsewhere: tuple[type[Error], ...] = _ELSEWHERE,
    ) -> T:
        """Return what the first host for which `action` succeeds gives."""
        hosts = [host for host in self._trusted() if needs in host.capabilities]
        failures: list[tuple[RegistryHost, Error]] = []
        for host in hosts:
            try:
                return await self._retries.retrying(last=host is hosts[-1])(action, host)
            except elsewhere as error:
                failures.append((host, error))
        raise _failure(f"cannot fetch {what}", needs, failures)

    async def _resolve_at(self, host: RegistryHost) -> Descriptor:
        request = self._manifest_request(host, self._reference.object)
        with contextlib.suppress(UnimplementedError):
            async with self._ask(host, request.as_head()) as reply:
                digest = replies.digest(reply, host)
                kind = replies.media_type(reply)
                if digest is not None and kind:
                    manifests.check_media_type(kind)
                    self._check_asked(digest, host)
                    size = replies.length(reply) or 0
                    return Descriptor(media_type=kind, digest=digest, size=size)
        return await self._resolve_by_body(host, request)

    async def _resolve_by_body(self, host: RegistryHost, request: Request) -> Descriptor:
        """Resolve at a host that does not say the digest: by fetching the document."""
        async with self._ask(host, request) as reply:
            kind = replies.media_type(reply)
            manifests.check_media_type(kind)
            body = await _whole(reply, host)
        asked = self._reference.digest
        digest = digests.sha256(body) if asked is None else asked
        replies.check_body(body, Descriptor(media_type=kind, digest=digest, size=len(body)), host)
        self._bodies[digest] = body
        return Descriptor(media_type=kind, digest=digest, size=len(body))

    def _check_asked(self, digest: Digest, host: RegistryHost) -> None:
        asked = self._reference.digest
        if asked is not None and digest != asked:
            raise DataLossError(f"{host} answers {digest} when asked for {asked}")

    async def _document_at(self, host: RegistryHost, wanted: Descriptor) -> bytes:
        if wanted.media_type in manifests.INDEXES | manifests.MANIFESTS:
            request = self._manifest_request(host, wanted.digest)
        else:
            request = self._request(host, f"blobs/{wanted.digest}")
        async with self._ask(host, request) as reply:
            body = await _whole(reply, host)
        replies.check_body(body, wanted, host)
        return body

    async def _fetch_at(self, host: RegistryHost, blob: Descriptor, sink: Sink) -> None:
        if sink.offset >= blob.size:
            return
        request = self._request(host, f"blobs/{blob.digest}")
        if sink.offset:
            request = request.with_header("Range", f"bytes={sink.offset}-")
        async with self._ask(host, request) as reply:
            # A server that ignores the range sends again what is there already.
            skip = sink.offset - replies.start(reply, host, sink.offset, blob)
            while data := await reply.read():
                if sink.offset + len(data) - skip > blob.size:
                    raise DataLossError(f"{host} sends more than the {blob.size} bytes announced")
                fresh = memoryview(data)[skip:]
                skip -= len(data) - len(fresh)
                if fresh:
                    await sink.write(fresh)
        if sink.offset < blob.size:
            raise TransientError(f"{host} ended after {sink.offset} of {blob.size} bytes")

    @contextlib.asynccontextmanager
    async def _ask(self, host: RegistryHost, request: Request) -> AsyncIterator[Reply]:
        """Send `request`, with credentials if `host` turns out to want some."""
        sent = await self._authorizer.header(host)
        async with self._transport.send(host, request.with_header("Authorization", sent)) as reply:
            if reply.status != 401:
                await replies.check(reply, host)
                yield reply
                return
            self._authorizer.challenged(host, reply, sent)
        sent = await self._authorizer.header(host)
        async with self._transport.send(host, request.with_header("Authorization", sent)) as reply:
            await replies.check(reply, host)
            yield reply

    def _manifest_request(self, host: RegistryHost, object_: str) -> Request:
        return self._request(host, f"manifests/{object_}").with_header("Accept", _ACCEPT)

    def _request(self, host: RegistryHost, what: str) -> Request:
        query = "?" + urlencode({"ns": host.mirrors}) if host.mirrors else ""
        return Request(url=f"{host.base}/{self._reference.path}/{what}{query}")


async def _whole(reply: Reply, host: RegistryHost) -> bytes:
    body = await read_body(reply, documents.SIZE_LIMIT)
    if body is None:
        raise DataLossError(f"{host} sends a document of more than {documents.SIZE_LIMIT} bytes")
    return body


def _failure(what: str, needs: Capability, failures: list[tuple[RegistryHost, Error]]) -> Error:
    """Return one error for all hosts, of the kind that the last one, the authority, gave."""
    if not failures:
        return FailedPreconditionError(f"{what}: hosts.toml names no host to {needs} from")
    text = f"{what}: " + "; ".join(f"{host.base}: {error}" for host, error in failures)
    last = failures[-1][1]
    if isinstance(last, TransientError):
        return TransientError(f"{UNAVAILABLE}: {text}")
    if isinstance(last, UnavailableError):
        return UnavailableError(f"{UNAVAILABLE}: {text}")
    kind = next(kind for kind in _ELSEWHERE if isinstance(last, kind))
    return kind(text)
