"""What a registry's answers say: statuses, digests, ranges. The body is left to the caller."""

import datetime as dt
import email.utils
import hashlib
import re
import time
from typing import Final

import msgspec

from store import digest as digests
from store.content import Descriptor
from store.digest import Digest
from store.errors import (
    DataLossError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
    UnimplementedError,
)
from store.images.hosts import RegistryHost
from store.images.transport import Reply, TransientError, read_body

_ERROR_LIMIT: Final = 4096
_SHOWN: Final = 200
_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/(?:[0-9]{1,18}|\*)")


class _Problem(msgspec.Struct):
    code: str = ""
    message: str = ""


class _Problems(msgspec.Struct):
    errors: list[_Problem] = []


async def check(reply: Reply, host: RegistryHost) -> None:
    """Raise what a status other than success means.

    Raises:
        NotFoundError: 404.
        PermissionDeniedError: 401, 403.
        TransientError: 408, 429, 5xx.
        UnimplementedError: 405, 501: the host does not know the method.
        UnavailableError: any other.
    """
    status = reply.status
    if 200 <= status < 300:
        return
    said = f"{host.authority} answers {status}{await _problem(reply)}"
    if status == 404:
        raise NotFoundError(said)
    if status in {401, 403}:
        raise PermissionDeniedError(said)
    if status in {405, 501}:
        raise UnimplementedError(said)
    if status in {408, 429} or status >= 500:
        raise TransientError(said, retry_after(reply.header("Retry-After"), time.time()))
    raise UnavailableError(said)


def digest(reply: Reply, host: RegistryHost) -> Digest | None:
    """Return the digest that a host claims for a manifest, or None if it claims none.

    Raises:
        DataLossError: the claim is no digest.
    """
    text = reply.header("Docker-Content-Digest")
    try:
        return digests.parse(text) if text else None
    except InvalidArgumentError as error:
        raise DataLossError(f"{host.authority} answers with a bad digest: {error}") from error


def media_type(reply: Reply) -> str:
    """Return the media type of the body, without parameters."""
    return reply.header("Content-Type").partition(";")[0].strip().lower()


def length(reply: Reply) -> int | None:
    """Return the announced length of the body, or None."""
    text = reply.header("Content-Length")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def start(reply: Reply, host: RegistryHost, offset: int, blob: Descriptor) -> int:
    """Return where in `blob` the body begins, after a request for what follows `offset`.

    Raises:
        DataLossError: the body is announced with another size or range than asked for.
    """
    begins = 0
    if reply.status == 206:
        match = _CONTENT_RANGE.fullmatch(reply.header("Content-Range"))
        begins = int(match[1]) if match else -1
        if begins != offset:
            raise DataLossError(f"{host.authority} sends another range than asked for")
    announced = length(reply)
    if announced is not None and begins + announced != blob.size:
        raise DataLossError(
            f"{host.authority} has {begins + announced} bytes for {blob.digest}, not {blob.size}"
        )
    return begins


def check_body(body: bytes, wanted: Descriptor, host: RegistryHost) -> None:
    """Refuse a body that is not what was asked for. A `wanted.size` of 0 is not known.

    Raises:
        DataLossError: size or digest differ.
    """
    if wanted.size and len(body) != wanted.size:
        raise DataLossError(
            f"{host.authority} sends {len(body)} bytes for {wanted.digest}, not {wanted.size}"
        )
    found = hashlib.new(digests.algorithm(wanted.digest), body).hexdigest()
    if found != digests.encoded(wanted.digest):
        raise DataLossError(f"{host.authority} sends other content for {wanted.digest}: {found}")


def retry_after(text: str, now: float) -> float | None:
    """Return the seconds that a `Retry-After` asks for (RFC 9110, 10.2.3), or None."""
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        date = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=dt.UTC)
    return max(date.timestamp() - now, 0.0)


async def _problem(reply: Reply) -> str:
    """Return what a registry says went wrong, fit for a log line."""
    try:
        body = await read_body(reply, _ERROR_LIMIT)
        problems = msgspec.json.decode(body or b"", type=_Problems).errors
    except (TransientError, ValueError, RecursionError):
        return ""
    text = "; ".join(filter(None, (f"{p.code} {p.message}".strip() for p in problems)))
    printable = "".join(c if c.isprintable() else " " for c in text[:_SHOWN])
    return f" ({printable})" if printable else ""
