"""Where a registry's content is fetched from: `certs.d/<host>/hosts.toml`, as containerd reads it.

A directory names the registry of the reference: `registry.example`, and for `registry:5000` one of
`registry:5000`, `registry_5000_` or `registry_5000`; `_default` serves all that have none. The
hosts of the file are tried in its order, the `server` last. Files are read anew at each pull.

Two things differ from containerd. An unknown key is an error, because a misspelt one is otherwise
found when a node falls back to the upstream unnoticed; and `fallback = false` (our own key) leaves
the server out.
"""

import enum
import ipaddress
import re
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from store.errors import FailedPreconditionError

FILE: Final = "hosts.toml"
DEFAULT: Final = "_default"
DIAL_TIMEOUT: Final = 30.0

_UPSTREAM: Final = {"docker.io": "registry-1.docker.io"}
_DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m)")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0}
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


class Capability(enum.StrEnum):
    """What a host is asked for: blobs and manifests by digest, tags, uploads."""

    PULL = "pull"
    RESOLVE = "resolve"
    PUSH = "push"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Whom to trust and who we are. A client pair without a key has both in one file."""

    ca: tuple[Path, ...] = ()
    clients: tuple[tuple[Path, Path | None], ...] = ()
    skip_verify: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryHost:
    """One endpoint of a registry. `mirrors` is the registry it stands in for, or empty."""

    scheme: str
    authority: str
    path: str = "/v2"
    capabilities: frozenset[Capability] = frozenset(Capability)
    tls: Tls = field(default_factory=Tls)
    headers: tuple[tuple[str, str], ...] = ()
    dial_timeout: float = DIAL_TIMEOUT
    mirrors: str = ""

    @property
    def base(self) -> str:
        """The URL that `/<name>/manifests/...` is appended to."""
        return f"{self.scheme}://{self.authority}{self.path}"

    def __str__(self) -> str:
        return self.base


class _Host(msgspec.Struct, forbid_unknown_fields=True):
    capabilities: list[Capability] | None = None
    ca: str | list[str] = []
    client: str | list[str | list[str]] = []
    skip_verify: bool = False
    header: dict[str, str | list[str]] = {}
    override_path: bool = False
    dial_timeout: str | None = None


class _File(_Host):
    server: str = ""
    fallback: bool = True
    host: dict[str, object] = {}


_AnyHost = TypeVar("_AnyHost", bound=_Host)


def lookup(roots: tuple[Path, ...], domain: str) -> tuple[RegistryHost, ...]:
    """Return the endpoints for the registry `domain`, in the order to try them. Reads files.

    Raises:
        FailedPreconditionError: a file is malformed; the message names it and the key.
    """
    for root in roots:
        for name in (*_directory_names(domain), DEFAULT):
            directory = root / name
            if (directory / FILE).exists():
                return _read(directory / FILE, domain)
            if directory.is_dir():
                return (replace(upstream(domain), tls=_certificates(directory)),)
    return (upstream(domain),)


def upstream(domain: str) -> RegistryHost:
    """Return the endpoint of a registry that nothing is configured for."""
    authority = _UPSTREAM.get(domain, domain)
    scheme = "http" if is_loopback(hostname(authority)) else "https"
    return RegistryHost(scheme=scheme, authority=authority)


def hostname(authority: str) -> str:
    """Return the host of `host[:port]`, without the brackets of an IPv6 address."""
    return urlsplit(f"//{authority}").hostname or ""


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine, by its name or address alone."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _directory_names(domain: str) -> tuple[str, ...]:
    host, colon, port = domain.rpartition(":")
    if colon and port.isdigit():
        return (domain, f"{host}_{port}_", f"{host}_{port}")
    return (domain,)


def _read(path: Path, domain: str) -> tuple[RegistryHost, ...]:
    try:
        raw = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise _bad(path, "", str(error)) from error
    file = _convert(raw, _File, path, "")
    mirrors = [_mirror(url, value, path, domain) for url, value in file.host.items()]
    if not file.fallback:
        if not mirrors:
            raise _bad(path, "fallback", "is false, but there is no host")
        return tuple(mirrors)
    server = _endpoint(file.server, file, path, "server") if file.server else None
    plain = upstream(domain)
    if server is None:
        server = _apply(plain, file, path, "")
    elif server.authority != plain.authority:
        server = replace(server, mirrors=domain)
    return (*mirrors, server)


def _mirror(url: str, value: object, path: Path, domain: str) -> RegistryHost:
    key = f'host."{url}"'
    host = _convert(value, _Host, path, key)
    return replace(_endpoint(url, host, path, key), mirrors=domain)


def _endpoint(url: str, host: _Host, path: Path, key: str) -> RegistryHost:
    full = url if "://" in url else f"//{url}"
    try:
        parts = urlsplit(full)
        name, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise _bad(path, key, str(error)) from error
    plain = is_loopback(name) or port == 80
    scheme = parts.scheme or ("http" if plain else "https")
    if scheme not in {"http", "https"} or not name or "@" in parts.netloc or parts.query:
        raise _bad(path, key, f"{url!r} is not the URL of a registry")
    prefix = parts.path.rstrip("/")
    if not host.override_path and not prefix.endswith("/v2"):
        prefix += "/v2"
    return _apply(RegistryHost(scheme=scheme, authority=parts.netloc, path=prefix), host, path, key)


def _apply(endpoint: RegistryHost, host: _Host, path: Path, key: str) -> RegistryHost:
    """Return `endpoint` with the settings that `host` makes."""
    tls = Tls(
        ca=tuple(path.parent / name for name in _texts(host.ca)),
        clients=tuple(_pair(pair, path, key) for pair in _texts_or_pairs(host.client)),
        skip_verify=host.skip_verify,
    )
    capabilities = host.capabilities
    return replace(
        endpoint,
        capabilities=frozenset(Capability if capabilities is None else capabilities),
        tls=tls,
        headers=_headers(host, path, key),
        dial_timeout=_seconds(host.dial_timeout, path, key),
    )


def _pair(pair: list[str], path: Path, key: str) -> tuple[Path, Path | None]:
    match pair:
        case [both] | [both, ""]:
            return path.parent / both, None
        case [certificate, private]:
            return path.parent / certificate, path.parent / private
        case _:
            raise _bad(path, _join(key, "client"), f"{len(pair)} files are not a pair")


def _headers(host: _Host, path: Path, key: str) -> tuple[tuple[str, str], ...]:
    pairs = [(name, text) for name, value in host.header.items() for text in _texts(value)]
    for name, text in pairs:
        if not _HEADER_NAME.fullmatch(name) or any(ord(c) < 32 or ord(c) == 127 for c in text):
            raise _bad(path, _join(key, f"header.{name}"), "is not an HTTP header")
    return tuple(pairs)


def _seconds(text: str | None, path: Path, key: str) -> float:
    if text is None:
        return DIAL_TIMEOUT
    match = _DURATION.fullmatch(text)
    if match is None or float(match[1]) == 0:
        raise _bad(path, _join(key, "dial_timeout"), f"{text!r} is not a duration such as '5s'")
    return float(match[1]) * _UNITS[match[2]]


def _texts(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _texts_or_pairs(value: str | list[str | list[str]]) -> list[list[str]]:
    if isinstance(value, str):
        return [[value]]
    return [_texts(item) for item in value]


def _certificates(directory: Path) -> Tls:
    """Read a directory without a file as Docker does: `*.crt`, and `*.cert` with `*.key`."""
    pairs = [(cert, cert.with_suffix(".key")) for cert in sorted(directory.glob("*.cert"))]
    return Tls(
        ca=tuple(sorted(directory.glob("*.crt"))),
        clients=tuple((cert, key if key.exists() else None) for cert, key in pairs),
    )


def _convert(value: object, type_: type[_AnyHost], path: Path, key: str) -> _AnyHost:
    try:
        return msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$")
        raise _bad(path, _join(key, place.rstrip("`").lstrip(".")), reason) from error


def _join(key: str, part: str) -> str:
    return ".".join(filter(None, (key, part)))


def _bad(path: Path, key: str, why: str) -> FailedPreconditionError:
    place = f", key {key}" if key else ""
    return FailedPreconditionError(f"cannot use {path}{place}: {why}")
