from pathlib import Path

import pytest

from store.errors import FailedPreconditionError
from store.images import hosts
from store.images.hosts import Capability, RegistryHost, Tls, lookup


def write(root: Path, name: str, text: str) -> Path:
    path = root / name / "hosts.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("domain", "base"),
    [
        ("docker.io", "https://registry-1.docker.io/v2"),
        ("quay.io", "https://quay.io/v2"),
        ("registry:5000", "https://registry:5000/v2"),
        ("localhost:5000", "http://localhost:5000/v2"),
        ("127.0.0.1:5000", "http://127.0.0.1:5000/v2"),
        ("127.9.9.9", "http://127.9.9.9/v2"),
        ("[::1]:5000", "http://[::1]:5000/v2"),
        ("10.0.0.1:5000", "https://10.0.0.1:5000/v2"),
        ("localhost.example", "https://localhost.example/v2"),
    ],
)
def test_without_configuration_a_registry_serves_itself(
    tmp_path: Path, domain: str, base: str
) -> None:
    assert [host.base for host in lookup((tmp_path,), domain)] == [base]


FULL = """
server = "https://registry.example"
capabilities = ["pull"]

[host."https://b.example:8443/sub"]
  capabilities = ["pull", "resolve"]
  ca = "b.pem"
  client = [["c.cert", "c.key"], ["/abs/d.pem", ""]]
  dial_timeout = "1500ms"
  [host."https://b.example:8443/sub".header]
    x-one = "1"
    x-two = ["2", "3"]

[host."http://a.example"]
  ca = ["1.pem", "/2.pem"]
  client = "both.pem"
  skip_verify = true

[host."https://c.example/artifactory/v2"]
[host."https://d.example/as/it/is/"]
  override_path = true
  client = ["x.pem", "y.pem"]
[host."localhost:5001"]
"""


def test_a_file_says_it_all(tmp_path: Path) -> None:
    here = write(tmp_path, "registry.example", FULL).parent
    b, a, c, d, local, server = lookup((tmp_path,), "registry.example")
    assert b == RegistryHost(
        scheme="https",
        authority="b.example:8443",
        path="/sub/v2",
        capabilities=frozenset({Capability.PULL, Capability.RESOLVE}),
        tls=Tls(
            ca=(here / "b.pem",),
            clients=((here / "c.cert", here / "c.key"), (Path("/abs/d.pem"), None)),
        ),
        headers=(("x-one", "1"), ("x-two", "2"), ("x-two", "3")),
        dial_timeout=1.5,
        mirrors="registry.example",
    )
    assert a.base == "http://a.example/v2"
    assert a.tls == Tls(
        ca=(here / "1.pem", Path("/2.pem")),
        clients=((here / "both.pem", None),),
        skip_verify=True,
    )
    assert a.capabilities == set(Capability)
    assert c.base == "https://c.example/artifactory/v2"
    assert d.base == "https://d.example/as/it/is"
    assert d.tls.clients == ((here / "x.pem", None), (here / "y.pem", None))
    assert local.base == "http://localhost:5001/v2"
    assert (server.base, server.mirrors) == ("https://registry.example/v2", "")
    assert server.capabilities == {Capability.PULL}


@pytest.mark.parametrize("name", ["reg:5000", "reg_5000_", "reg_5000", "_default"])
def test_directories_have_these_names(tmp_path: Path, name: str) -> None:
    write(tmp_path, name, '[host."https://m.example"]')
    bases = [host.base for host in lookup((tmp_path,), "reg:5000")]
    assert bases == ["https://m.example/v2", "https://reg:5000/v2"]


def test_the_own_directory_beats_the_default_and_the_first_root_the_second(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    write(two, "x.io", '[host."https://second"]')
    write(one, "_default", '[host."https://default"]')
    assert lookup((one, two), "x.io")[0].authority == "default"
    write(one, "x.io", '[host."https://own"]')
    assert lookup((one, two), "x.io")[0].authority == "own"


def test_files_are_read_anew(tmp_path: Path) -> None:
    path = write(tmp_path, "x.io", '[host."https://a"]')
    assert lookup((tmp_path,), "x.io")[0].authority == "a"
    path.write_text('[host."https://b"]')
    assert lookup((tmp_path,), "x.io")[0].authority == "b"


def test_another_server_is_told_whose_content_is_meant(tmp_path: Path) -> None:
    write(tmp_path, "docker.io", 'server = "https://mirror.gcr.io"')
    (server,) = lookup((tmp_path,), "docker.io")
    assert (server.authority, server.mirrors) == ("mirror.gcr.io", "docker.io")


def test_fallback_false_leaves_the_server_out(tmp_path: Path) -> None:
    write(tmp_path, "x.io", 'fallback = false\n[host."https://m"]')
    assert [host.authority for host in lookup((tmp_path,), "x.io")] == ["m"]


def test_a_directory_of_certificates_is_read_as_docker_does(tmp_path: Path) -> None:
    here = tmp_path / "x.io"
    here.mkdir()
    for name in ("ca.crt", "me.cert", "me.key", "pem.cert"):
        (here / name).touch()
    (host,) = lookup((tmp_path,), "x.io")
    assert host.tls.ca == (here / "ca.crt",)
    assert host.tls.clients == (
        (here / "me.cert", here / "me.key"),
        (here / "pem.cert", None),
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("server = ", "hosts.toml: "),
        ('srever = "x"', "unknown field `srever`"),
        ("server = 1", "key server: "),
        ('[host."https://m"]\ncapabilites = []', 'key host."https://m": .*`capabilites`'),
        ('[host."https://m"]\ncapabilities = ["fly"]', 'key host."https://m".capabilities'),
        ('[host."https://m"]\nskip_verify = "yes"', 'key host."https://m".skip_verify: '),
        ('[host."https://m"]\nclient = [["a", "b", "c"]]', 'host."https://m".client: 3 files'),
        ('[host."https://m"]\ndial_timeout = "soon"', "dial_timeout: 'soon'"),
        ('[host."https://m"]\ndial_timeout = "0s"', "dial_timeout: '0s'"),
        ('[host."https://m".header]\n"a b" = "x"', "header.a b: is not"),
        ('[host."https://m".header]\na = "x\\r\\ny"', "header.a: is not"),
        ('[host."ftp://m"]', "'ftp://m' is not the URL"),
        ('[host."https://u:p@m"]', "is not the URL"),
        ('[host."https://"]', "is not the URL"),
        ('[host."https://m:x"]', 'key host."https://m:x"'),
        ('server = "https://m?x=1"', "key server: .* is not the URL"),
        ("fallback = false", "key fallback: .*no host"),
    ],
)
def test_a_bad_file_is_named_with_its_key(tmp_path: Path, text: str, reason: str) -> None:
    path = write(tmp_path, "x.io", text)
    with pytest.raises(FailedPreconditionError, match=reason) as caught:
        lookup((tmp_path,), "x.io")
    assert str(path) in str(caught.value)


def test_loopback_is_told_from_the_name() -> None:
    assert hosts.is_loopback("localhost")
    assert hosts.is_loopback("a.localhost")
    assert not hosts.is_loopback("localhost.example")
    assert not hosts.is_loopback("10.0.0.1")
    assert hosts.hostname("[::1]:5000") == "::1"
    assert hosts.hostname("a:5000") == "a"
