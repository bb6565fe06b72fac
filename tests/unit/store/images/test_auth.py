import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import PermissionDeniedError, UnavailableError
from store.images import Credentials, auth
from store.images.auth import Challenge
from store.images.hosts import RegistryHost, upstream

LOOPBACK = RegistryHost(scheme="http", authority="127.0.0.1:5000")
PLAIN = RegistryHost(scheme="http", authority="registry.example")
SECURE = RegistryHost(scheme="https", authority="registry.example")
ALICE = Credentials(username="alice", password="x")


@pytest.mark.parametrize(
    ("headers", "challenges"),
    [
        (['Basic realm="x"'], [("basic", {"realm": "x"})]),
        (["Basic"], [("basic", {})]),
        (
            ['Bearer realm="https://a/t",service="s", scope="repository:a:pull,push"'],
            [
                (
                    "bearer",
                    {"realm": "https://a/t", "service": "s", "scope": "repository:a:pull,push"},
                )
            ],
        ),
        (
            ['Bearer realm="r", Basic realm="b"', "Negotiate"],
            [("bearer", {"realm": "r"}), ("basic", {"realm": "b"}), ("negotiate", {})],
        ),
        (
            ['BEARER Realm=plain , Service = "q\\"uo"'],
            [("bearer", {"realm": "plain", "service": 'q"uo'})],
        ),
        (["", "=,=", '"'], []),
    ],
)
def test_challenges_are_read(
    headers: list[str], challenges: list[tuple[str, dict[str, str]]]
) -> None:
    found = auth.parse_challenges(headers)
    assert [(challenge.scheme, challenge.params) for challenge in found] == challenges


@given(st.text(alphabet='Bb =",\\xr\t', max_size=200))
def test_any_header_is_read(text: str) -> None:
    for challenge in auth.parse_challenges([text]):
        assert challenge.scheme


def bearer(realm: str) -> Challenge:
    return Challenge(scheme="bearer", params={"realm": realm})


@pytest.mark.parametrize(
    ("realm", "host"),
    [
        ("http://auth.example/token", SECURE),
        ("http://auth.example/token", PLAIN),
        ("http://registry.example/token", PLAIN),
        ("http://127.0.0.1:5001/token", SECURE),
        ("http://127.0.0.2/token", LOOPBACK),
        ("http://localhost/token", LOOPBACK),
        ("https://169.254.169.254/token", SECURE),
        ("http://169.254.169.254/latest", LOOPBACK),
        ("https://[fe80::1]/", SECURE),
        ("https://[::ffff:169.254.169.254]/", SECURE),
        ("https://[fd00:ec2::254]/", SECURE),
        ("https://100.100.100.200/", SECURE),
        ("https://user@auth.example/", SECURE),
        ("ftp://auth.example/", SECURE),
        ("https:///token", SECURE),
        ("https://[x/", SECURE),
        ("/token", SECURE),
        ("", SECURE),
    ],
)
def test_a_realm_that_is_a_step_down_is_refused(realm: str, host: RegistryHost) -> None:
    with pytest.raises(PermissionDeniedError, match="cannot"):
        auth.token_request(bearer(realm), host, ALICE, "s")


@pytest.mark.parametrize(
    ("realm", "host"),
    [
        ("https://auth.example/token", SECURE),
        ("https://auth.example/token", LOOPBACK),
        ("https://auth.example/token", PLAIN),
        ("http://127.0.0.1:5001/token", LOOPBACK),
    ],
)
def test_other_realms_are_asked(realm: str, host: RegistryHost) -> None:
    request = auth.token_request(bearer(realm), host, None, "repository:a:pull")
    assert request.url == f"{realm}?scope=repository%3Aa%3Apull"
    assert request.headers == {}


def test_credentials_go_over_tls_or_to_this_machine_only() -> None:
    auth.check_secrecy(SECURE)
    auth.check_secrecy(LOOPBACK)
    with pytest.raises(PermissionDeniedError, match="plain HTTP"):
        auth.check_secrecy(PLAIN)


@pytest.mark.parametrize(
    ("address", "host", "domain", "given"),
    [
        ("", SECURE, "docker.io", True),
        ("registry.example", SECURE, "registry.example", True),
        ("https://registry.example/v1/", SECURE, "registry.example", True),
        ("registry.example", SECURE, "docker.io", True),
        ("other.example", SECURE, "registry.example", False),
        ("https://index.docker.io/v1/", upstream("docker.io"), "docker.io", True),
        ("docker.io", upstream("docker.io"), "docker.io", True),
        ("docker.io", SECURE, "docker.io", False),
        ("quay.io", upstream("quay.io"), "quay.io", True),
    ],
)
def test_credentials_go_to_the_server_they_name(
    address: str, host: RegistryHost, domain: str, *, given: bool
) -> None:
    credentials = Credentials(username="a", password="b", server_address=address)
    found = auth.credentials_for(credentials, host, domain)
    assert found == (credentials if given else None)


@pytest.mark.parametrize(
    ("data", "value", "lifetime"),
    [
        (b'{"token": "T"}', "T", 60),
        (b'{"access_token": "A", "expires_in": 300}', "A", 300),
        (b'{"token": "T", "expires_in": 1}', "T", 60),
        (b'{"token": "T", "expires_in": 1e9}', "T", 3600),
        (b'{"token": "T", "expires_in": null}', "T", 60),
    ],
)
def test_tokens_are_read(data: bytes, value: str, lifetime: float) -> None:
    token = auth.parse_token(data, "realm")
    assert (token.value, token.lifetime) == (value, lifetime)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "too long"),
        (b"{}", "none in the reply"),
        (b'{"token": "a\\r\\nX: y"}', "none in the reply"),
        (b"<html>", "malformed"),
        (b'{"token": 1}', "str"),
        (b'{"x":' * 100_000, "recursion"),
    ],
)
def test_other_replies_are_refused(data: bytes | None, reason: str) -> None:
    with pytest.raises(UnavailableError, match=f"token of realm: .*{reason}"):
        auth.parse_token(data, "realm")


def test_secrets_are_not_shown() -> None:
    request = auth.token_request(
        bearer("https://a/t"),
        SECURE,
        Credentials(identity_token="secret-i"),
        "s",
    )
    assert "secret" not in repr(request)
    assert "secret" not in repr(Credentials(username="u", password="secret"))
