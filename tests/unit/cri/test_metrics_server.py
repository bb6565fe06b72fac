import socket
from pathlib import Path

import aiohttp
import pytest

from cri.metrics import Metrics
from cri.metrics_server import serving
from runtime.operations import Operations
from store.errors import UnavailableError


@pytest.fixture
def metrics() -> Metrics:
    made = Metrics(Operations())
    made.call("Version", "OK", 0.1)
    return made


async def test_metrics_are_served_on_a_socket_that_goes_with_them(
    metrics: Metrics, tmp_path: Path
) -> None:
    path = tmp_path / "metrics.sock"
    async with (
        serving(metrics, str(path)),
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session,
        session.get("http://ferry/metrics") as answer,
    ):
        text = await answer.text()
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert 'ferry_rpc_total{code="OK",method="Version"} 1.0' in text
    assert not path.exists()


async def test_a_socket_left_by_a_dead_daemon_is_replaced(metrics: Metrics, tmp_path: Path) -> None:
    path = tmp_path / "metrics.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with serving(metrics, str(path)):
        assert path.is_socket()


async def test_metrics_are_served_on_an_address(metrics: Metrics) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with (
        serving(metrics, f"127.0.0.1:{port}"),
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/metrics") as answer,
    ):
        assert answer.status == 200


async def test_an_address_that_is_taken_is_an_error_that_names_it(
    metrics: Metrics, tmp_path: Path
) -> None:
    path = tmp_path / "none" / "metrics.sock"
    with pytest.raises(UnavailableError, match=r"cannot serve metrics on .*none/metrics\.sock"):
        async with serving(metrics, str(path)):
            pass
