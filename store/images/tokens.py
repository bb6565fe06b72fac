"""Tokens of one pull: asked for once for each (host, scope), kept as long as they are good."""

import asyncio
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from typing import Final

from store.errors import PermissionDeniedError, UnavailableError
from store.images import Credentials, auth
from store.images.auth import Challenge, Token
from store.images.hosts import RegistryHost
from store.images.transport import Reply, Request, TransientError, Transport, read_body

_Key = tuple[str, str, Credentials | None]
_ENTRIES: Final = 256
_MARGIN: Final = 0.9


class TokenCache:
    """Bearer tokens by (host, scope, credentials), shared by pulls; a few hundred at most."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tokens: OrderedDict[_Key, tuple[str, float]] = OrderedDict()

    def get(self, key: _Key) -> str:
        """Return a token that is still good, or nothing."""
        value, until = self._tokens.get(key, ("", 0.0))
        return value if self._clock() < until else ""

    def put(self, key: _Key, token: Token) -> None:
        """Keep a token until shortly before its end."""
        self._tokens[key] = (token.value, self._clock() + token.lifetime * _MARGIN)
        self._tokens.move_to_end(key)
        if len(self._tokens) > _ENTRIES:
            self._tokens.popitem(last=False)

    def drop(self, key: _Key, refused: str) -> None:
        """Forget a token that was refused, unless another has taken its place meanwhile."""
        if self._tokens.get(key, ("", 0.0))[0] == refused:
            self._tokens.pop(key, None)


class Authorizer:
    """Answers challenges for one repository with one set of credentials."""

    def __init__(
        self,
        transport: Transport,
        cache: TokenCache,
        *,
        domain: str,
        scope: str,
        credentials: Credentials | None,
    ) -> None:
        self._transport = transport
        self._cache = cache
        self._domain = domain
        self._scope = scope
        self._credentials = credentials
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._challenges: dict[str, Challenge] = {}

    async def header(self, host: RegistryHost) -> str:
        """Return the `Authorization` that `host` is known to want, or nothing.

        Raises:
            PermissionDeniedError: it wants what we do not have or do not send there.
            UnavailableError: there is no token to be had.
        """
        challenge = self._challenges.get(host.authority)
        if challenge is None:
            return ""
        own = auth.credentials_for(self._credentials, host, self._domain)
        if own is not None:
            auth.check_secrecy(host)
        if challenge.scheme == "basic":
            return _basic(host, own)
        if own is not None and own.registry_token:
            return f"Bearer {own.registry_token}"
        return "Bearer " + await self._token(host, challenge, own)

    def challenged(self, host: RegistryHost, reply: Reply, sent: str) -> None:
        """Learn from a 401 what `host` wants; the `sent` authorization is not used again.

        Raises:
            PermissionDeniedError: it wants nothing that we know.
        """
        offers = auth.parse_challenges(reply.header_values("WWW-Authenticate"))
        known = [offer for offer in offers if offer.scheme in {"bearer", "basic"}]
        if not known:
            raise PermissionDeniedError(
                f"cannot authenticate to {host.authority}: it offers no scheme that ferry knows"
            )
        self._challenges[host.authority] = min(known, key=lambda offer: offer.scheme != "bearer")
        own = auth.credentials_for(self._credentials, host, self._domain)
        self._cache.drop((host.authority, self._scope, own), sent.removeprefix("Bearer "))

    async def _token(
        self, host: RegistryHost, challenge: Challenge, credentials: Credentials | None
    ) -> str:
        key = (host.authority, self._scope, credentials)
        async with self._locks[host.authority]:
            if kept := self._cache.get(key):
                return kept
            request = auth.token_request(challenge, host, credentials, self._scope)
            token = await self._exchange(host, request)
            self._cache.put(key, token)
            return token.value

    async def _exchange(self, host: RegistryHost, request: Request) -> Token:
        realm = request.url.partition("?")[0]
        async with self._transport.send(host, request) as reply:
            if reply.status in {400, 401, 403}:
                raise PermissionDeniedError(
                    f"cannot authenticate to {host.authority}: {realm} answers {reply.status}"
                )
            if reply.status == 429 or reply.status >= 500:
                raise TransientError(f"cannot get a token: {realm} answers {reply.status}")
            if reply.status != 200:
                raise UnavailableError(f"cannot get a token: {realm} answers {reply.status}")
            return auth.parse_token(await read_body(reply, auth.TOKEN_LIMIT), realm)


def _basic(host: RegistryHost, credentials: Credentials | None) -> str:
    if credentials is None or not credentials.username:
        raise PermissionDeniedError(
            f"cannot authenticate to {host.authority}: it wants a user name and a password"
        )
    return auth.basic(credentials)
