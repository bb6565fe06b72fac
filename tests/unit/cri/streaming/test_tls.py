"""HTTPS, with and without certificates of clients."""

import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cri.config import Streaming
from cri.streaming import Settings
from cri.streaming.server import StreamingServer
from cri.streaming.tls import Certificates, configured
from runtime.io import AttachRequest, ExecRequest
from store.errors import InvalidArgumentError
from tests import programs
from tests.certificates import Authority, Pair
from tests.streaming import spdy_client, spdy_command
from tests.unit.cri.streaming.conftest import ALL, SETTINGS, Place


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def client_context(authority: Authority, pair: Pair | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.certificate)
    if pair is not None:
        context.load_cert_chain(pair.certificate, pair.key)
    return context


Open = Callable[[Settings], StreamingServer]


@pytest.fixture
def open_(place: Place) -> Open:
    return lambda settings: StreamingServer(
        settings, place.sessions, place.server._ports, place.operations
    )


def exec_url(server: StreamingServer) -> str:
    return server.url(
        ExecRequest(namespace="test", container_id="a", argv=programs.CAT, wanted=ALL)
    )


async def test_a_session_over_tls(open_: Open, authority: Authority) -> None:
    pair = authority.issue("server")
    tls = Certificates(pair.certificate, pair.key).context
    async with open_(replace(SETTINGS, tls=tls)) as server:
        url = exec_url(server)
        assert url.startswith("https://127.0.0.1:")
        context = client_context(authority)
        sent = bytes(range(256)) * 4000
        async with spdy_client(url, "v4.channel.k8s.io", tls=context) as client:
            command = await spdy_command(client, ["stdin", "stdout", "stderr"], sent)
        assert command.stdout == sent


async def test_clients_without_a_certificate_are_turned_away(
    open_: Open, authority: Authority
) -> None:
    pair = authority.issue("server")
    tls = Certificates(pair.certificate, pair.key, authority.certificate).context
    async with open_(replace(SETTINGS, tls=tls)) as server:
        with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
            async with spdy_client(
                exec_url(server), "v4.channel.k8s.io", tls=client_context(authority)
            ):
                pass
        mine = client_context(authority, authority.issue("client"))
        async with spdy_client(exec_url(server), "v4.channel.k8s.io", tls=mine) as client:
            command = await spdy_command(client, ["stdin", "stdout", "stderr"], b"hello")
        assert command.stdout == b"hello"


async def test_plain_text_to_a_tls_port_disturbs_nobody(open_: Open, authority: Authority) -> None:
    pair = authority.issue("server")
    tls = Certificates(pair.certificate, pair.key).context
    async with open_(replace(SETTINGS, tls=tls)) as server:
        plain = exec_url(server).replace("https:", "http:")
        with pytest.raises((ConnectionError, EOFError)):
            async with spdy_client(plain, "v4.channel.k8s.io"):
                pass
        attach = server.url(AttachRequest(namespace="test", container_id="a", wanted=ALL))
        context = client_context(authority)
        async with spdy_client(attach, "v4.channel.k8s.io", tls=context) as client:
            assert client.gone is False


def test_renewed_files_are_read_again(authority: Authority, tmp_path: Path) -> None:
    first = authority.issue("server")
    certificates = Certificates(first.certificate, first.key)
    authority.issue("server")  # writes the same files anew
    certificates.reload()
    first.key.write_text("no key")
    with pytest.raises(InvalidArgumentError, match=r"server\.key"):
        certificates.reload()
    certificates.renew()  # says so, and keeps what it has
    assert tmp_path.exists()


def test_what_is_configured(authority: Authority, tmp_path: Path) -> None:
    pair = authority.issue("server")
    assert configured(Streaming()) is None
    both = Streaming(certificate=str(pair.certificate), key=str(pair.key))
    made = configured(both)
    assert made is not None
    assert made.context.verify_mode is ssl.CERT_NONE
    made = configured(replace(both, client_authority=str(authority.certificate)))
    assert made is not None
    assert made.context.verify_mode is ssl.CERT_REQUIRED
    for half in (
        replace(both, key=""),
        replace(both, certificate=""),
        Streaming(client_authority=str(authority.certificate)),
    ):
        with pytest.raises(InvalidArgumentError, match="belong together"):
            configured(half)
    with pytest.raises(InvalidArgumentError, match="missing"):
        configured(replace(both, key=str(tmp_path / "missing")))
