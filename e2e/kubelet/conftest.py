"""One kubelet and one ferryd for all tests here; each test runs pods of its own."""

import asyncio
import re
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import pytest

from cri.api.runtime.v1 import api_pb2 as pb
from e2e.client import Client, connected
from e2e.conftest import serving
from e2e.daemon import Service
from e2e.kubelet import manifests
from e2e.kubelet.api import PATIENCE, SECURE, Api, Pod
from e2e.kubelet.build import kubelet as programs
from e2e.kubelet.process import Kubelet, network, remove_cgroups
from e2e.leaks import Snapshot, leaks
from e2e.registry import Registry

# Apart from those of the other daemons on this node.
_NUMBER = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A kubelet on ferry, and clients of both."""

    kubelet: Kubelet
    daemon: Service
    registry: Registry
    api: Api
    cri: Client
    written: dict[str, manifests.Json] = field(default_factory=dict)
    expected: list[str] = field(default_factory=list)
    forgiven: list[tuple[int, int]] = field(default_factory=list)

    def image(self, name: str) -> str:
        """Return the reference of one of the tests' images."""
        return self.registry.reference(name)

    def apply(self, manifest: manifests.Json) -> str:
        """Let the kubelet run a pod, or change it; return the pod's full name."""
        name = manifests.full_name(manifest)
        self.written[name] = manifest
        manifests.write(self.kubelet.manifests, manifest)
        return name

    async def run(self, manifest: manifests.Json) -> Pod:
        """Return the pod once it is ready."""
        return await self.api.until(self.apply(manifest), lambda pod: pod.ready)

    async def exec(self, name: str, *argv: str, container: str = "main") -> str:
        """Run a program in a container of a pod, through the kubelet; return its output."""
        path = f"/run/{manifests.NAMESPACE}/{name}/{container}?"
        return (await self.api.post(path + urlencode({"cmd": " ".join(argv)}))).decode()

    async def kill(self, name: str, container: str = "main") -> None:
        """Ask a container's first process to end, from within."""
        with suppress(AssertionError):  # it takes the program that asks along
            await self.exec(name, "kill", "1", container=container)

    async def log(self, name: str, container: str = "main", query: str = "") -> str:
        """Return what a container has written, as the kubelet tells."""
        path = f"/containerLogs/{manifests.NAMESPACE}/{name}/{container}?{query}"
        return (await self.api.get(path, SECURE)).decode()

    def expect(self, *patterns: str) -> None:
        """Take errors in the kubelet's log that match one of `patterns` for what they are."""
        self.expected.extend(patterns)

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Forgive what the kubelet logs in the block, in which the runtime may be away."""
        began = self.kubelet.log.stat().st_size
        try:
            yield
        finally:
            self.forgiven.append((began, self.kubelet.log.stat().st_size))

    async def delete(self, *names: str) -> None:
        """Take pods away; returns once the kubelet has ended all of them in the runtime."""
        for name in names:
            self.forget(name)
        await self.until_dead(*names)

    def forget(self, name: str) -> None:
        """Take a pod away, without waiting for its end."""
        manifests.remove(self.kubelet.manifests, self.written.pop(name))

    async def until_dead(self, *names: str) -> None:
        """Return once the runtime runs nothing of these pods."""
        async with asyncio.timeout(PATIENCE):
            while await self._live(names):
                await asyncio.sleep(0.1)

    async def _live(self, names: Collection[str]) -> list[str]:
        """Return what lives of pods; what is dead the kubelet removes by and by."""
        ready = pb.PodSandboxState.Value("SANDBOX_READY")
        running = pb.ContainerState.Value("CONTAINER_RUNNING")
        sandboxes = [pod for pod in await self.cri.list_pods() if pod.metadata.name in names]
        own = {pod.id for pod in sandboxes}
        containers = [each for each in await self.cri.list() if each.pod_sandbox_id in own]
        return [
            *(pod.id for pod in sandboxes if pod.state == ready),
            *(each.id for each in containers if each.state == running),
        ]

    def surprises(self, since: int) -> Sequence[str]:
        """Return the errors that the kubelet logged from offset `since` on and nobody expects."""
        expected = re.compile("|".join((*EXPECTED, *self.expected)))
        begins = [since, *(end for _, end in self.forgiven)]
        ends = [*(begin for begin, _ in self.forgiven), self.kubelet.log.stat().st_size]
        errors = [each for span in zip(begins, ends, strict=True) for each in self._errors(*span)]
        return [line for line in errors if not expected.search(line)]

    def _errors(self, begin: int, end: int) -> Iterator[str]:
        with self.kubelet.log.open("rb") as log:
            log.seek(begin)
            lines = log.read(end - begin).decode(errors="replace").splitlines()
        return (line for line in lines if ERROR.search(line))


# klog: severity, date, time, thread, file and line; what matters is an error, or an error's text.
ERROR = re.compile(r"^E\d{4} |rpc error")
# What a kubelet logs as errors on any runtime.
EXPECTED = (
    "PLEG is not healthy: pleg has yet to be successful",  # before its first look
    "container runtime status check may not have completed yet",
    'unknown container \\"/kubepods',  # it has only just made it
    "Partial failure issuing cadvisor.*/kubepods",
    'system container \\"pods',
    "Failed to set rlimit on max file handles",  # without CAP_SYS_RESOURCE
    "failed to check if node is newer",  # there is no API server
    "ContainerStatus.*code = NotFound",  # it removes what it has just removed
    "DeleteContainer returned error.*code = NotFound",
    'checkpoint is not found" checkpoint="kubelet_internal_checkpoint',  # first start of all
    "failed to find pid namespace of init process",  # without CAP_SYS_RESOURCE
    "no imagefs label for configured runtime",  # asked before the runtime has been
    "(ExecSync|Probe errored).*code = FailedPrecondition",  # a probe meets its container's end
    "Error on socket receive.*use of closed network connection",  # it closed that itself
    "Error proxying data from client to backend.*(reset by peer|close 1006)",  # our clients leave
    "code = Canceled desc = context canceled",  # it changes its mind
)


async def remove_dead(daemon: Service) -> None:
    """Remove what the kubelet's garbage collection would have, a minute later."""
    async with connected(daemon.address) as client:
        for pod in await client.list_pods():
            await client.remove_pod(pod.id)


@pytest.fixture(scope="package")
def program(registry: Registry, pytestconfig: pytest.Config) -> Path:
    if reason := programs().why_not():
        pytest.skip(reason)
    folder = programs().folder
    if not folder.is_dir():
        pytest.skip("the kubelet is not built: python -m e2e.kubelet")
    return folder / "kubelet"


@pytest.fixture(scope="package")
def ferryd(
    program: Path,
    registry: Registry,
    pytestconfig: pytest.Config,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("ferryd")
    with serving(folder, pytestconfig, registry, number=_NUMBER) as service:
        yield service


@pytest.fixture(scope="package")
def kubelet(
    program: Path, ferryd: Service, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Kubelet]:
    """A kubelet; when it has ended, nothing may be left of all that the tests ran."""
    before = Snapshot.take(ferryd.root / "containers", ferryd.state, pid=ferryd.pid)
    with network(), Kubelet(tmp_path_factory.mktemp("kubelet"), program, ferryd.address) as kubelet:
        yield kubelet
        assert kubelet.running, kubelet.tail()
        asyncio.run(kubelet.until_cleared())
    asyncio.run(remove_dead(ferryd))
    remove_cgroups()
    left = asyncio.run(leaks(before, ferryd.root / "containers", ferryd.state, pid=ferryd.pid))
    assert not left, "left behind:\n" + "\n".join(left)


@pytest.fixture
async def kube(kubelet: Kubelet, ferryd: Service, registry: Registry) -> AsyncIterator[Node]:
    """The node; afterwards the test's pods are gone, and the kubelet has logged no surprise."""
    began = kubelet.log.stat().st_size
    async with aiohttp.ClientSession() as session, connected(ferryd.address) as cri:
        node = Node(kubelet=kubelet, daemon=ferryd, registry=registry, api=Api(session), cri=cri)
        yield node
        await node.delete(*node.written)
    surprises = node.surprises(began)
    assert not surprises, "the kubelet complains:\n" + "\n".join(surprises)
