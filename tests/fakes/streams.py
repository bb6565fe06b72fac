"""Streaming without sockets or programs."""

from cri.streaming import Request
from cri.streaming.checks import check


class FakeUrls:
    """Implements `Urls`: remembers what was asked for."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    def url(self, request: Request) -> str:
        check(request)
        self.requests.append(request)
        return f"http://127.0.0.1:1/{len(self.requests)}"
