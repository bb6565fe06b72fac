"""What end-to-end tests share: a node, a registry, a daemon, clients, and a look for leaks."""

import asyncio
import ctypes
import os
import shutil
from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from e2e import cni
from e2e.bench.peer import Containerd, find
from e2e.client import Client, Container, Pod, connected
from e2e.daemon import Daemon, Service, Settings, default_settings
from e2e.images import BUSYBOX, LAYERED, PAUSE, layout
from e2e.leaks import Snapshot, leaks
from e2e.packages import PackagesError, packages
from e2e.registry import Registry, named, serving_layout

HANDLERS = ("crun", "runc")
# Apart from the shared daemon's number and those of a test's own.
_EMPTY = 50
_PR_SET_CHILD_SUBREAPER = 36


def why_not() -> str:
    """Say why this machine cannot run end-to-end tests; nothing if it can."""
    if os.geteuid() != 0:
        return "end-to-end tests need root"
    if "FERRY_SCOPE" not in os.environ:
        return "end-to-end tests run in a scope: tests/scope.sh pytest e2e"
    missing = [name for name in ("nft", "ip", "skopeo") if shutil.which(name) is None]
    return f"missing: {', '.join(missing)} (make tools)" if missing else ""


@pytest.fixture(scope="module", autouse=True)
def reaped() -> None:
    """Let what a killed daemon orphans fall to the scope's reaper, and not to this process.

    Tests of launching that ran before in it have made it a subreaper, one that reaps nothing.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


@pytest.fixture(scope="session")
def node() -> None:
    if reason := why_not():
        pytest.skip(reason)


@pytest.fixture(scope="session")
def image_layout(node: None) -> Path:
    try:
        packages()
    except PackagesError as error:
        pytest.skip(str(error))
    return layout()


@pytest.fixture(scope="session")
def registry(image_layout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with serving_layout(image_layout, tmp_path_factory.mktemp("registry")) as registry:
        yield registry


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--peer",
        action="store_true",
        help="run the end-to-end tests on containerd: what it fails may be the test's own fault",
    )
    parser.addoption(
        "--handler",
        choices=HANDLERS,
        default=HANDLERS[0],
        help="what runs pods that name no handler: the kubelet's, which has no choice here",
    )


async def pull_all(daemon: Service, registry: Registry) -> dict[str, str]:
    async with connected(daemon.address) as client:
        names = [name for name in named(registry.layout) if not name.startswith(LAYERED)]
        return {name: await client.pull(registry.reference(name)) for name in names}


async def warm_up(daemon: Service, logs: Path, reference: str) -> None:
    """Run a pod with each handler: what a daemon makes once and keeps is no leak of a test."""
    async with connected(daemon.address) as client:
        image = await client.pull(reference)
        for handler in HANDLERS:
            async with client.pod(Pod(name="warm", logs=logs), handler) as running:
                command = ["sleep", "600"]
                await client.run(running, Container(name="main", image=image, command=command))
        await client.remove_image(image)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("peer"):
        skip = pytest.mark.skip(reason="asks for more than CRI does; the peer need not pass")
        for item in items:
            if item.get_closest_marker("ferry"):
                item.add_marker(skip)


@contextmanager
def serving(
    folder: Path, config: pytest.Config, registry: Registry, *, number: int = 0
) -> Iterator[Service]:
    """Run ferry, or the peer if that was asked for; `number` keeps daemons on one node apart."""
    settings = default_settings(folder, number=number)
    settings["runtimes"] = {"default": config.getoption("handler")}
    service: Service = (
        Containerd(folder, find(), registry.reference(PAUSE))
        if config.getoption("peer")
        else Daemon(folder, settings)
    )
    with service:
        asyncio.run(warm_up(service, folder / "logs", registry.reference(BUSYBOX)))
        yield service
        assert service.running, service.tail()


@pytest.fixture(scope="session")
def daemon(
    registry: Registry, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """The daemon that most tests share."""
    with serving(tmp_path_factory.mktemp("daemon"), pytestconfig, registry) as service:
        yield service


@pytest.fixture(scope="module")
def empty(
    registry: Registry, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A daemon of a module's own that holds no image."""
    folder = tmp_path_factory.mktemp("empty")
    with serving(folder, pytestconfig, registry, number=_EMPTY) as service:
        yield service


@pytest.fixture(scope="session")
def images(daemon: Service, registry: Registry) -> Mapping[str, str]:
    """The ids of the images that pods run, by name; the layered ones have tests of their own."""
    return asyncio.run(pull_all(daemon, registry))


@pytest.fixture(params=HANDLERS)
def handler(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path / "logs"


async def clear(client: Client) -> None:
    """Remove every pod, so that one test's failure stays its own."""
    for pod in await client.list_pods():
        await client.stop_pod(pod.id)
        await client.remove_pod(pod.id)


@pytest.fixture
async def cri(daemon: Service, images: Mapping[str, str]) -> AsyncIterator[Client]:
    """A client of the shared daemon; afterwards the node must be as it was."""
    before = Snapshot.take(daemon.root, daemon.state, pid=daemon.pid)
    async with connected(daemon.address) as client:
        yield client
        left = await leaks(before, daemon.root, daemon.state, pid=daemon.pid)
        await clear(client)
    assert not left, "left behind:\n" + "\n".join(left)


class DaemonMaker(Protocol):
    def __call__(self, settings: Settings | None = None) -> Daemon: ...


@pytest.fixture
def make_daemon(node: None, tmp_path: Path) -> Iterator[DaemonMaker]:
    """Start daemons of a test's own, each with a root of its own; they end with the test."""
    with ExitStack() as stack:
        made: list[Daemon] = []

        def make(settings: Settings | None = None) -> Daemon:
            folder = tmp_path / f"daemon{len(made)}"
            folder.mkdir()
            number = len(made) + 1
            daemon = Daemon(folder, settings or default_settings(folder, number=number))
            made.append(daemon)
            return stack.enter_context(daemon)

        yield make


@pytest.fixture
def place(node: None, tmp_path: Path) -> Iterator[cni.Place]:
    """Where CNI configurations are put; afterwards no address is in use."""
    if reason := cni.why_not():
        pytest.skip(reason)
    made = cni.Place(tmp_path / "cni")
    made.path.mkdir()
    yield made
    assert not made.leased()
    made.leave()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the daemons said last when a test fails."""
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        for name, value in item.funcargs.items():
            if isinstance(value, Service):
                report.sections.append((f"log of {name}", value.tail(60)))
    return report
