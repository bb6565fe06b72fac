import pytest

from cri.api.runtime.v1 import api_pb2 as pb
from cri.cli.removal import RUN_LABEL
from cri.cli.requests import Wish, container_config, pod_config, port
from cri.services.validation import check
from store.errors import InvalidArgumentError

WISH = Wish(image="example.org/a", name="one")


def test_a_pod_has_a_uid_of_its_own_and_a_place_for_its_logs() -> None:
    first, second = pod_config(WISH), pod_config(WISH)
    assert first.metadata.uid != second.metadata.uid
    assert (first.metadata.name, first.metadata.namespace, first.hostname) == (
        "one",
        "default",
        "one",
    )
    assert first.log_directory == f"/var/log/ferry/one_{first.metadata.uid}"
    assert dict(first.labels) == {RUN_LABEL: "true"}
    assert first.linux.security_context.namespace_options.network == pb.POD
    check(pb.RunPodSandboxRequest(config=first))


def test_the_nodes_network_goes_into_pod_and_container() -> None:
    wish = Wish(image="a", name="one", host_network=True)
    pod, container = pod_config(wish), container_config(wish)
    assert pod.hostname == ""
    for found in (pod.linux.security_context, container.linux.security_context):
        assert found.namespace_options.network == pb.NODE
        assert found.namespace_options.pid == pb.CONTAINER


def test_a_container_has_what_was_written() -> None:
    wish = Wish(image="a", name="one", command=("sh", "-c", "x"), env=("A=1=2", "B", "C="))
    config = container_config(wish, {"B": "from the shell"})
    assert (config.image.image, config.image.user_specified_image) == ("a", "a")
    assert list(config.args) == ["sh", "-c", "x"]
    assert {each.key: each.value for each in config.envs} == {
        "A": b"1=2",
        "B": b"from the shell",
        "C": b"",
    }


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a-", "a.b", "a" * 64, "../x", "a\n"])
def test_a_bad_name_is_refused_by_its_option(name: str) -> None:
    with pytest.raises(
        InvalidArgumentError, match=r"cannot use --name .*: want 1 to 63 lower-case"
    ):
        pod_config(Wish(image="a", name=name))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80:8080", (pb.TCP, 80, 8080)),
        ("80:8080/tcp", (pb.TCP, 80, 8080)),
        ("53:65535/udp", (pb.UDP, 53, 65535)),
        ("1:1/sctp", (pb.SCTP, 1, 1)),
    ],
)
def test_ports(text: str, expected: tuple[int, int, int]) -> None:
    found = port(text)
    assert (found.protocol, found.host_port, found.container_port) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "80",
        "80:",
        ":80",
        "0:80",
        "80:65536",
        "80:80/icmp",
        "-1:80",
        "80:80:80",
        "\N{FULLWIDTH DIGIT EIGHT}0:1",
    ],
)
def test_a_bad_port_is_refused_by_its_option(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"cannot use --publish .*: want HOST:CONTAINER"):
        port(text)


def test_ports_of_the_node_need_no_publishing() -> None:
    wish = Wish(image="a", name="one", host_network=True, publish=("80:80",))
    with pytest.raises(InvalidArgumentError, match="--publish with --net-host"):
        pod_config(wish)


@pytest.mark.parametrize(
    ("text", "why"),
    [("=x", "want KEY=VALUE or KEY"), ("A", "this shell does not have it")],
)
def test_a_bad_variable_is_refused_by_its_option(text: str, why: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"cannot use --env .*{why}"):
        container_config(Wish(image="a", name="one", env=(text,)), {})
