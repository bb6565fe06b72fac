"""Image references: what people write, made into the one name that is stored and asked for.

The grammar is that of the distribution project (`[domain/]path[:tag][@digest]`) with Docker Hub's
habits: no domain means `docker.io`, a single path component there means `library/`, neither tag
nor digest means `:latest`. When both are written the digest decides and the tag is dropped, as
containerd does, so that one image has one name.
"""

import re
from dataclasses import dataclass
from typing import Final

from store import digest as digests
from store.digest import Digest
from store.errors import InvalidArgumentError

DEFAULT_DOMAIN: Final = "docker.io"
DEFAULT_TAG: Final = "latest"
NAME_LIMIT: Final = 255
TEXT_LIMIT: Final = 512
SHORTEST_ID: Final = 7
"""A bare shortened id has at least this many digits, so that `cafe` stays a name."""

_LEGACY_DOMAIN: Final = "index.docker.io"
_LABEL: Final = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN: Final = re.compile(
    rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]{{1,5}})?", re.ASCII
)
_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH: Final = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
_ID: Final = re.compile(r"(sha256:)?([0-9a-f]{1,64})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A checked reference with exactly one of `tag` and `digest`; `str` gives its stored name."""

    domain: str
    path: str
    tag: str | None = None
    digest: Digest | None = None

    @property
    def repository(self) -> str:
        """The name without tag and digest, such as `docker.io/library/busybox`."""
        return f"{self.domain}/{self.path}"

    @property
    def object(self) -> str:
        """What a registry is asked for: the digest or the tag."""
        return self.digest or self.tag or DEFAULT_TAG

    def at(self, digest: Digest) -> "Reference":
        """Return the same repository at `digest`."""
        return Reference(domain=self.domain, path=self.path, digest=digest)

    def __str__(self) -> str:
        if self.digest is not None:
            return f"{self.repository}@{self.digest}"
        return f"{self.repository}:{self.object}"


def parse(text: str) -> Reference:
    """Return the normalized reference that `text` means.

    Raises:
        InvalidArgumentError: it is none; the message says which part is wrong.
    """
    if len(text) > TEXT_LIMIT:
        raise _invalid(text, f"longer than {TEXT_LIMIT} characters")
    if re.fullmatch(r"[0-9a-f]{64}", text):
        raise _invalid(text, "64 hexadecimal digits are an image id, not a name")
    named, has_digest, digest = text.partition("@")
    name, tag = _split_tag(named)
    domain, path = _split_domain(name)
    _check(text, domain, path, tag)
    if has_digest:
        return Reference(domain=domain, path=path, digest=_parse_digest(text, digest))
    return Reference(domain=domain, path=path, tag=DEFAULT_TAG if tag is None else tag)


def id_prefix(text: str) -> str | None:
    """Return the hexadecimal digits if `text` is an image id or the beginning of one.

    With `sha256:` in front any length counts, bare ones need `SHORTEST_ID` digits.
    """
    match = _ID.fullmatch(text)
    if match is None or (match[1] is None and len(match[2]) < SHORTEST_ID):
        return None
    return match[2]


def _split_tag(named: str) -> tuple[str, str | None]:
    """Cut a tag off; a colon before a slash belongs to a port."""
    name, colon, tag = named.rpartition(":")
    if not colon or "/" in tag:
        return named, None
    return name, tag


def _split_domain(name: str) -> tuple[str, str]:
    """Tell a registry from the first part of a path, as Docker does."""
    first, slash, rest = name.partition("/")
    is_domain = slash and (
        any(c in first for c in ".:") or first == "localhost" or first.lower() != first
    )
    domain, path = (first, rest) if is_domain else (DEFAULT_DOMAIN, name)
    if domain == _LEGACY_DOMAIN:
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in path:
        path = f"library/{path}"
    return domain, path


def _check(text: str, domain: str, path: str, tag: str | None) -> None:
    if not _DOMAIN.fullmatch(domain) or _port(domain) > 65535:
        raise _invalid(text, f"{domain[:100]!r} is not a registry host")
    if not _PATH.fullmatch(path):
        reason = "upper case letters" if path.lower() != path else "characters that are not allowed"
        raise _invalid(text, f"the repository is empty or has {reason}")
    if len(domain) + 1 + len(path) > NAME_LIMIT:
        raise _invalid(text, f"the repository has more than {NAME_LIMIT} characters")
    if tag is not None and not _TAG.fullmatch(tag):
        raise _invalid(text, f"{tag[:200]!r} is not a tag")


def _port(domain: str) -> int:
    _, colon, port = domain.rpartition(":")
    return int(port) if colon and port.isdigit() else 0


def _parse_digest(text: str, digest: str) -> Digest:
    try:
        return digests.parse(digest)
    except InvalidArgumentError as error:
        raise _invalid(text, str(error)) from error


def _invalid(text: str, reason: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"cannot read image reference {text[:100]!r}: {reason}")
