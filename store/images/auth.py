"""Who a registry thinks we are: challenges, tokens, and where credentials may go.

The distribution project's token specification, as pure functions: a 401 becomes a challenge, a
challenge a `TokenRequest`, its reply a `Token`. Credentials leave this node only over TLS or to
loopback, only to the host that the client named if it named one, and only to a realm that is not
a step down from where the challenge came from (hostile.md A11).
"""

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlencode, urlsplit, urlunsplit

import msgspec

from store.errors import PermissionDeniedError, UnavailableError
from store.images import Credentials
from store.images.hosts import RegistryHost, hostname, is_loopback, upstream
from store.images.transport import Request, check_address

TOKEN_LIMIT: Final = 1024 * 1024
LIFETIME: Final = 60.0
LONGEST_LIFETIME: Final = 3600.0

_SCHEME: Final = re.compile(r"\s*,*\s*([A-Za-z0-9!#$%&'*+.^_`|~-]+)(?:\s+|$)(?!\s*=)")
_PARAM: Final = re.compile(
    r'\s*,?\s*([A-Za-z0-9!#$%&\'*+.^_`|~-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))'
)
_DOCKER_HUB: Final = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """One way in that a host offers (RFC 7235); `scheme` and parameter names in lower case."""

    scheme: str
    params: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A bearer token, good for `lifetime` seconds."""

    value: str
    lifetime: float


class _TokenReply(msgspec.Struct):
    token: str = ""
    access_token: str = ""
    expires_in: float | None = None


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """Return what `WWW-Authenticate` headers offer; what cannot be read is left out."""
    return [challenge for header in headers for challenge in _challenges(header)]


def credentials_for(
    credentials: Credentials | None, host: RegistryHost, domain: str
) -> Credentials | None:
    """Return the credentials that `host` may have when content of `domain` is asked for.

    Credentials that name no server go to whichever host serves the registry, as the node's own
    configuration decides; others only to the host they name, or its official endpoint.
    """
    if credentials is None or not credentials.server_address:
        return credentials
    address = credentials.server_address
    server = urlsplit(address if "://" in address else f"//{address}").netloc.rpartition("@")[2]
    meant = {server, upstream("docker.io").authority} if server in _DOCKER_HUB else {server}
    named_here = host.authority in meant
    serves_it = host.authority == upstream(domain).authority and domain in meant
    return credentials if named_here or serves_it else None


def basic(credentials: Credentials) -> str:
    """Return the header value of the Basic scheme (RFC 7617)."""
    pair = f"{credentials.username}:{credentials.password}".encode()
    return "Basic " + base64.b64encode(pair).decode()


def check_secrecy(host: RegistryHost) -> None:
    """Refuse to send credentials where others can read them.

    Raises:
        PermissionDeniedError: `host` is asked over plain HTTP and is not this machine.
    """
    if host.scheme != "https" and not is_loopback(hostname(host.authority)):
        raise PermissionDeniedError(
            f"cannot authenticate to {host.authority}: credentials are not sent over plain HTTP"
        )


def token_request(
    challenge: Challenge, host: RegistryHost, credentials: Credentials | None, scope: str
) -> Request:
    """Return what to ask the challenge's realm for.

    Raises:
        PermissionDeniedError: the realm is none that may be asked.
    """
    realm = _realm(challenge.params.get("realm", ""), host)
    query = {"scope": challenge.params.get("scope") or scope}
    if service := challenge.params.get("service"):
        query["service"] = service
    if credentials is not None and credentials.identity_token:
        form = {
            "grant_type": "refresh_token",
            "client_id": "ferry",
            "refresh_token": credentials.identity_token,
            **query,
        }
        return Request(method="POST", url=urlunsplit(realm), form=form)
    joined = "&".join(filter(None, (realm.query, urlencode(query))))
    request = Request(url=urlunsplit(realm._replace(query=joined)))
    if credentials is not None and credentials.username:
        return request.with_header("Authorization", basic(credentials))
    return request


def parse_token(data: bytes | None, realm: str) -> Token:
    """Return the token in a realm's reply; None stands for one over `TOKEN_LIMIT`.

    Raises:
        UnavailableError: there is none.
    """
    try:
        reply = msgspec.json.decode(data or b"", type=_TokenReply)
    except (ValueError, RecursionError) as error:
        why = "it is too long" if data is None else str(error)[:200]
        raise UnavailableError(f"cannot read the token of {realm}: {why}") from error
    value = reply.token or reply.access_token
    if not value or not value.isascii() or not value.isprintable():
        raise UnavailableError(f"cannot read the token of {realm}: there is none in the reply")
    lifetime = min(max(reply.expires_in or 0, LIFETIME), LONGEST_LIFETIME)
    return Token(value=value, lifetime=lifetime)


def _challenges(header: str) -> Iterable[Challenge]:
    position = 0
    while match := _SCHEME.match(header, position):
        params: dict[str, str] = {}
        position = match.end()
        while param := _PARAM.match(header, position):
            quoted, plain = param[2], param[3]
            text = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
            params.setdefault(param[1].lower(), text)
            position = param.end()
        yield Challenge(scheme=match[1].lower(), params=params)


def _realm(text: str, host: RegistryHost) -> SplitResult:
    try:
        realm = urlsplit(text)
        name = realm.hostname or ""
    except ValueError as error:
        raise _refused(host, text, str(error)) from error
    check_address(text)
    if realm.scheme not in {"http", "https"} or not name or "@" in realm.netloc:
        raise _refused(host, text, "it is not a URL")
    same = host.scheme == "http" and name == hostname(host.authority) and is_loopback(name)
    if realm.scheme == "http" and not same:
        raise _refused(host, text, "it is plain HTTP")
    return realm._replace(fragment="")


def _refused(host: RegistryHost, realm: str, why: str) -> PermissionDeniedError:
    return PermissionDeniedError(
        f"cannot authenticate to {host.authority}: realm {realm[:200]!r} is refused: {why}"
    )
