"""Digests: the names of content (OCI image specification, descriptor.md#digests)."""

import hashlib
import re
from typing import Final, NewType

from store.errors import InvalidArgumentError

Digest = NewType("Digest", str)
"""A checked `algorithm:hex` text; only `parse` and `sha256` make one."""

_HEX_LENGTH: Final = {"sha256": 64, "sha512": 128}

ALGORITHMS: Final = tuple(_HEX_LENGTH)
"""The hashes that are known, as `hashlib.new` takes them."""

_GRAMMAR: Final = re.compile(r"(sha256|sha512):([0-9a-f]+)")


def parse(text: str) -> Digest:
    """Return `text` as a digest, safe to use as a path component.

    Raises:
        InvalidArgumentError: unknown algorithm, upper case, wrong length or anything else.
    """
    match = _GRAMMAR.fullmatch(text)
    if match is None or len(match[2]) != _HEX_LENGTH[match[1]]:
        raise InvalidArgumentError(
            f"cannot read digest {text[:100]!r}: want sha256:<64 hex digits>"
        )
    return Digest(text)


def sha256(data: bytes) -> Digest:
    """Return the digest of `data`."""
    return Digest("sha256:" + hashlib.sha256(data).hexdigest())


def of(name: str, data: bytes) -> Digest:
    """Return the digest of `data` by the hash `name`, one of `ALGORITHMS`."""
    return Digest(f"{name}:{hashlib.new(name, data).hexdigest()}")


def algorithm(digest: Digest) -> str:
    """Return the name of the hash, as `hashlib.new` takes it."""
    return digest.partition(":")[0]


def encoded(digest: Digest) -> str:
    """Return the hexadecimal part."""
    return digest.partition(":")[2]
