"""Tokens: requests that wait for their clients."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cri.streaming import Request
from store.errors import NotFoundError, ResourceExhaustedError

_BYTES: Final = 24


@dataclass(frozen=True, slots=True)
class _Entry:
    request: Request
    expires: float


class Tokens:
    """Requests by tokens of 192 random bits, each good for one client and a short time.

    Args:
        seconds: how long a token lives.
        limit: how many may wait at once.
    """

    def __init__(
        self,
        *,
        seconds: float = 60.0,
        limit: int = 1000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = seconds
        self._limit = limit
        self._clock = clock
        self._entries: dict[str, _Entry] = {}

    def add(self, request: Request) -> str:
        """Return a token for a request.

        Raises:
            ResourceExhaustedError: too many wait already.
        """
        self._expire()
        if len(self._entries) >= self._limit:
            raise ResourceExhaustedError(
                f"cannot give a streaming URL: {self._limit} wait for their clients already"
            )
        token = secrets.token_urlsafe(_BYTES)
        self._entries[token] = _Entry(request, self._clock() + self._seconds)
        return token

    def look(self, token: str) -> Request:
        """Return a token's request, and leave it good.

        Raises:
            NotFoundError: there never was such a token, or it has been used, or is too old.
        """
        self._expire()
        entry = self._entries.get(token)
        if entry is None:
            raise NotFoundError("cannot find a session of this token")
        return entry.request

    def take(self, token: str) -> Request:
        """Return a token's request; the token is good for nothing afterwards.

        Raises:
            NotFoundError: as for `look`.
        """
        request = self.look(token)
        del self._entries[token]
        return request

    def _expire(self) -> None:
        """Forget what is too old; the oldest is the first."""
        now = self._clock()
        while self._entries:
            oldest = next(iter(self._entries))
            if self._entries[oldest].expires > now:
                return
            del self._entries[oldest]
