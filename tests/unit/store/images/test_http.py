import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from store.errors import FailedPreconditionError, UnavailableError
from store.images import manifest, reference
from store.images.connect import RegistryConnector, Remote
from store.images.http import _GuardedResolver, _proxy, redirected
from store.images.registry import Retries
from store.images.transport import Request, check_address, is_forbidden
from tests.certificates import Authority, Pair
from tests.fakes.registry import FakeRegistry, fixed, serving

QUICK = Retries(attempts=2, mirror_attempts=1, first_wait=0.001)


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/b?c=d", "https://a/b?c=d"),
        ("b", "https://a/v2/b"),
        ("https://other/x", "https://other/x"),
        ("//other/x", "https://other/x"),
        ("https://a:444/x", "https://a:444/x"),
    ],
)
def test_authorization_stays_with_scheme_host_and_port(location: str, url: str) -> None:
    request = Request(url="https://a/v2/x", headers={"Authorization": "secret", "Range": "r"})
    new = redirected(request, location)
    assert new.url == url
    assert new.headers["Range"] == "r"
    assert ("Authorization" in new.headers) == url.startswith("https://a/")


@pytest.mark.parametrize(
    "location", ["http://a/x", "http://other/", "ftp://a/", "https://u@a/", "//[x"]
)
def test_a_redirect_never_leaves_tls(location: str) -> None:
    with pytest.raises(UnavailableError, match="cannot follow"):
        redirected(Request(url="https://a/x"), location)


def test_a_redirect_may_enter_tls() -> None:
    assert redirected(Request(url="http://a/x"), "https://a/x").url == "https://a/x"


def test_a_form_stays_with_its_host() -> None:
    request = Request(url="https://a/token", method="POST", form={"refresh_token": "secret"})
    assert redirected(request, "/other").form == request.form
    with pytest.raises(UnavailableError, match="credentials stay"):
        redirected(request, "https://b/token")


@pytest.mark.parametrize(
    ("address", "forbidden"),
    [
        ("169.254.169.254", True),
        ("169.254.0.1", True),
        ("fe80::1%eth0", True),
        ("::ffff:169.254.169.254", True),
        ("fd00:ec2::254", True),
        ("100.100.100.200", True),
        ("168.63.129.16", True),
        ("224.0.0.1", True),
        ("10.0.0.1", False),
        ("127.0.0.1", False),
        ("registry.example", False),
    ],
)
def test_addresses_of_cloud_credentials_are_known(address: str, *, forbidden: bool) -> None:
    assert is_forbidden(address) == forbidden
    check_address("https://registry.example/x")


async def test_a_name_that_hides_such_an_address_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolver = _GuardedResolver()

    async def resolve(host: str, port: int = 0, family: int = 0) -> list[dict[str, object]]:
        del family
        both = ["169.254.169.254", "10.0.0.1"] if host == "both" else ["169.254.169.254"]
        return [{"host": address, "port": port} for address in both]

    monkeypatch.setattr(resolver._resolver, "resolve", resolve)
    assert [found["host"] for found in await resolver.resolve("both", 443)] == ["10.0.0.1"]
    with pytest.raises(OSError, match="no registry has"):
        await resolver.resolve("metadata.internal", 443)


def test_proxies_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", "inside.example")
    assert _proxy("https://registry.example/") == "http://proxy:3128"
    assert _proxy("https://inside.example/") is None
    assert _proxy("https://localhost/") is None
    assert _proxy("https://127.0.0.1:5000/") is None


# TLS, with a registry that has a certificate of its own authority.


class Secure:
    """A registry that wants to know its clients, and the node's directory for it."""

    def __init__(self, registry: FakeRegistry, here: Path, client: Pair, stranger: Pair) -> None:
        self.registry = registry
        self.here = here
        self.client = client
        self.stranger = stranger

    def configure(self, text: str) -> None:
        """Write what the node knows of this registry."""
        self.here.mkdir(parents=True, exist_ok=True)
        server = f'server = "https://{self.registry.host}"\n'
        (self.here / "hosts.toml").write_text(server + text)

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[Remote]:
        """Open the repository `app`."""
        connector = RegistryConnector((self.here.parent,), retries=QUICK)
        name = reference.parse(f"{self.registry.host}/app:v1")
        async with connector.connect(name, None) as remote:
            yield remote


@pytest.fixture
async def secure(tmp_path: Path) -> AsyncIterator[Secure]:
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    own = authority.issue("server")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.certificate)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # the authority is as private ones are
    context.load_cert_chain(own.certificate, own.key)
    context.verify_mode = ssl.CERT_OPTIONAL
    async with serving(context) as registry:
        registry.add_manifest("app", "v1", manifest.OCI_MANIFEST, b"{}")
        here = tmp_path / "certs.d" / registry.host
        yield Secure(registry, here, authority.issue("client"), other.issue("stranger"))


async def test_an_unknown_authority_is_not_trusted(secure: Secure) -> None:
    secure.configure("")
    async with secure.connect() as remote:
        with pytest.raises(UnavailableError, match="certificate verify failed"):
            await remote.resolve()
    assert secure.registry.requests == []


@pytest.mark.parametrize("text", ['ca = "../../authority.crt"', "skip_verify = true"])
async def test_a_configured_authority_is_trusted_and_so_is_nobody_at_will(
    secure: Secure, text: str
) -> None:
    secure.configure(text)
    async with secure.connect() as remote:
        assert (await remote.resolve()).media_type == manifest.OCI_MANIFEST


async def test_a_client_certificate_is_shown(secure: Secure) -> None:
    seen: list[object] = []

    async def look(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        seen.append(request.transport.get_extra_info("peercert"))
        return await secure.registry.honest(request)

    secure.registry.on("/", look)
    pair = f'["{secure.client.certificate}", "{secure.client.key}"]'
    secure.configure(f'ca = "../../authority.crt"\nclient = [{pair}]')
    async with secure.connect() as remote:
        await remote.resolve()
    (certificate,) = seen
    assert isinstance(certificate, dict)
    assert certificate["subject"] == ((("commonName", "client"),),)


async def test_a_stranger_is_turned_away(secure: Secure) -> None:
    pair = f'["{secure.stranger.certificate}", "{secure.stranger.key}"]'
    secure.configure(f'ca = "../../authority.crt"\nclient = [{pair}]')
    async with secure.connect() as remote:
        with pytest.raises(UnavailableError, match="cannot"):
            await remote.resolve()


@pytest.mark.parametrize("text", ['ca = "nothing.crt"', 'client = "nothing.pem"'])
async def test_a_missing_certificate_is_named(secure: Secure, text: str) -> None:
    secure.configure(text)
    async with secure.connect() as remote:
        with pytest.raises(FailedPreconditionError, match=r"certificate .*nothing"):
            await remote.resolve()


async def test_a_registry_does_not_lead_out_of_tls(secure: Secure) -> None:
    secure.configure("skip_verify = true")
    secure.registry.on("/", fixed(302, Location=f"http://{secure.registry.host}/x"))
    async with secure.connect() as remote:
        with pytest.raises(UnavailableError, match="cannot follow"):
            await remote.resolve()
