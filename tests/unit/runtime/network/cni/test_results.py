import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.network.cni import Call, Verb
from runtime.network.cni.results import printed, quoted, refusal, result, versions
from runtime.process import Finished
from store.errors import Error, ResourceExhaustedError, UnavailableError

ADD = Call(plugin="x", verb=Verb.ADD, document="{}", purpose="connect sandbox a")
BEGIN = "cannot connect sandbox a: plugin x ADD: "


def ended(stdout: bytes = b"", stderr: bytes = b"", code: int = 1) -> Finished:
    return Finished(code=code, stdout=stdout, stderr=stderr)


def addresses(document: object) -> tuple[str, ...]:
    return result(ADD, "1.0.0", json.dumps(document)).addresses


def test_addresses_are_those_of_the_pods_interface() -> None:
    document = {
        "interfaces": [
            {"name": "cni0"},
            {"name": "eth0", "sandbox": "/run/ns"},
            {"name": "net1", "sandbox": "/run/ns"},
        ],
        "ips": [
            {"address": "10.0.0.1/24", "interface": 0},
            {"address": "fd00::2/64", "interface": 1, "gateway": "fd00::1"},
            {"address": "10.0.0.2/24", "interface": 1},
            {"address": "10.9.0.2/24", "interface": 2},
        ],
    }
    assert addresses(document) == ("fd00::2", "10.0.0.2")


def test_an_interface_of_another_name_is_the_pods_if_it_is_the_only_one() -> None:
    inside = [{"name": "tap0", "sandbox": "/run/ns"}]
    assert addresses({"interfaces": inside, "ips": [{"address": "10.0.0.2", "interface": 0}]}) == (
        "10.0.0.2",
    )


def test_addresses_of_no_interface_are_the_pods() -> None:
    assert addresses({"ips": [{"address": "10.0.0.2/24", "version": "4"}]}) == ("10.0.0.2",)
    assert addresses({"ips": None, "interfaces": None}) == ()


def test_a_result_is_passed_on_with_its_version() -> None:
    assert json.loads(result(ADD, "1.0.0", '{"more": {"a": 1}}').document) == {
        "more": {"a": 1},
        "cniVersion": "1.0.0",
    }
    assert json.loads(result(ADD, "1.0.0", '{"cniVersion": "0.4.0"}').document) == {
        "cniVersion": "0.4.0"
    }


@pytest.mark.parametrize(
    "output",
    [
        "",
        "garbage",
        "[]",
        "null",
        '{"ips": 1}',
        '{"ips": [{}]}',
        '{"ips": [{"address": "10.0.0.256/24"}]}',
        '{"ips": [{"address": "10.0.0.1/24"}], "x": 1e999}',
        "[" * 100_000,
    ],
)
def test_what_is_no_result_is_quoted(output: str) -> None:
    with pytest.raises(Error) as failed:
        result(ADD, "1.0.0", output)
    assert str(failed.value).startswith(f"{BEGIN}no result (")
    assert output[:10] in str(failed.value) or "it printed nothing" in str(failed.value)
    assert len(str(failed.value)) < 1000


def test_versions() -> None:
    output = '{"cniVersion": "1.0.0", "supportedVersions": ["0.4.0", "1.0.0"]}'
    assert versions(ADD, output) == ("0.4.0", "1.0.0")
    with pytest.raises(Error, match=r"no versions .* it printed nothing"):
        versions(ADD, "")


@pytest.mark.parametrize(
    ("stdout", "kind", "text"),
    [
        (b'{"code": 7, "msg": "bad", "details": "a\\nb"}', Error, "bad; a b (code 7)"),
        (b'{"code": 11, "msg": "later"}', UnavailableError, "later (code 11)"),
        (b'{"code": 50, "msg": "not now"}', UnavailableError, "not now (code 50)"),
        (
            b'{"code": 999, "msg": "no IP addresses available in range set: 10.0.0.1-10.0.0.2"}',
            ResourceExhaustedError,
            "no IP addresses available in range set: 10.0.0.1-10.0.0.2 (code 999)",
        ),
        (b'{"code": 7}', Error, "it ended with 1, it printed '{\"code\": 7}'"),
        (b"", Error, "it ended with 1, it printed nothing"),
        (b"panic", Error, "it ended with 1, it printed 'panic'"),
    ],
)
def test_a_refusal_is_in_the_plugins_words(stdout: bytes, kind: type[Error], text: str) -> None:
    error = refusal(ADD, ended(stdout))
    assert type(error) is kind
    assert str(error) == BEGIN + text


def test_the_end_by_a_signal_is_said() -> None:
    error = refusal(ADD, ended(b"", b"fatal error: stack\n", code=-6))
    assert str(error) == (
        f"{BEGIN}it was killed by signal 6, it printed 'fatal error: stack' to its standard error"
    )


def test_both_streams_are_quoted() -> None:
    assert printed(ended(b"a", b"b")) == "it printed 'a', and 'b' to its standard error"
    assert printed(ended()) == "it printed nothing"


@given(st.binary(max_size=2000), st.binary(max_size=2000))
def test_no_output_breaks_a_log_or_a_terminal(stdout: bytes, stderr: bytes) -> None:
    text = str(refusal(ADD, ended(stdout, stderr)))
    assert text.isprintable()
    assert len(text) < 2000
    assert quoted(stdout.decode(errors="replace")).isprintable()
