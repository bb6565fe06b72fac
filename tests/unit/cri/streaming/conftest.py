from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cri.streaming import PortForwardRequest, Settings
from cri.streaming.server import StreamingServer
from runtime.io import AttachRequest, ExecRequest, Wanted
from runtime.io.ports import PodPorts
from runtime.operations import Operations
from tests import programs
from tests.fakes.sessions import FakeSessions
from tests.leaks import nothing_kept

SETTINGS = Settings(creation=0.3, request=0.5)
ALL = Wanted(stdin=True, stdout=True, stderr=True)


@dataclass(frozen=True, slots=True)
class Place:
    """A server in front of fakes; container `a` answers each line it gets."""

    server: StreamingServer
    sessions: FakeSessions
    operations: Operations

    def exec(self, argv: tuple[str, ...], wanted: Wanted = ALL, container: str = "a") -> str:
        request = ExecRequest(namespace="test", container_id=container, argv=argv, wanted=wanted)
        return self.server.url(request)

    def attach(self, container: str = "a", wanted: Wanted = ALL) -> str:
        request = AttachRequest(namespace="test", container_id=container, wanted=wanted)
        return self.server.url(request)

    def forward(self, *ports: int) -> str:
        request = PortForwardRequest(namespace="test", sandbox_id="pod", ports=ports)
        return self.server.url(request)


@pytest.fixture
def settings() -> Settings:
    return SETTINGS


@pytest.fixture
async def place(settings: Settings, tmp_path: Path) -> AsyncIterator[Place]:
    operations = Operations()
    ports = PodPorts(lambda _namespace, _id: None)
    async with nothing_kept(), FakeSessions(tmp_path) as sessions:
        await sessions.start("a", programs.ANSWER)
        async with StreamingServer(settings, sessions, ports, operations) as server:
            yield Place(server, sessions, operations)
        assert sessions.running == 0
        assert operations.list() == []
