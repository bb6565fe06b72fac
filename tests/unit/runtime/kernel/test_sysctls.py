import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.kernel.sysctls import check_sysctls, path_of
from store.errors import InvalidArgumentError


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
        ("net.ipv4.conf.eth0/100.forwarding", "net/ipv4/conf/eth0.100/forwarding"),
        ("net/ipv4/conf/eth0.100/forwarding", "net/ipv4/conf/eth0.100/forwarding"),
        ("kernel.sem", "kernel/sem"),
    ],
)
def test_both_spellings_are_one_path(name: str, path: str) -> None:
    assert path_of(name) == path


@given(st.text(alphabet="net./-_a\n\0 A", max_size=40))
def test_what_passes_stays_below_proc_sys(name: str) -> None:
    try:
        path = path_of(name)
    except InvalidArgumentError:
        return
    assert not path.startswith("/")
    assert all(part not in {"", ".", ".."} for part in path.split("/"))


@pytest.mark.parametrize(
    "name", ["", "/net/ipv4", "net..ipv4", "net/../kernel", "Net.x", "net.a\n", "n" * 256, "net."]
)
def test_malformed_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidArgumentError, match="not a sysctl's name"):
        check_sysctls({name: "1"}, network=True, ipc=True)


@pytest.mark.parametrize(
    "name", ["kernel.core_pattern", "vm.max_map_count", "kernel.hostname", "fs.file-max", "network"]
)
def test_sysctls_of_the_node_are_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"{name}.*belongs to the node"):
        check_sysctls({name: "1"}, network=True, ipc=True)


@pytest.mark.parametrize("value", ["1\n2", "\0", "x" * 4097, "\x1b[0m"])
def test_malformed_values_are_refused(value: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"kernel\.msgmax.*value is malformed"):
        check_sysctls({"kernel.msgmax": value}, network=True, ipc=True)


def test_a_value_is_never_parsed_for_more_sysctls() -> None:
    # CRI-O CVE-2022-0811: the value was pasted into a list of assignments.
    check_sysctls({"kernel.shm_rmid_forced": "1+kernel.core_pattern=x"}, network=True, ipc=True)


def test_sysctls_of_shared_namespaces_are_refused() -> None:
    somaxconn, messages = {"net.core.somaxconn": "1"}, {"fs.mqueue.msg_max": "1"}
    check_sysctls(somaxconn | messages, network=True, ipc=True)
    with pytest.raises(InvalidArgumentError, match=r"net\.core.*shares the network namespace"):
        check_sysctls(somaxconn, network=False, ipc=True)
    with pytest.raises(InvalidArgumentError, match=r"fs\.mqueue.*shares the IPC namespace"):
        check_sysctls(messages, network=True, ipc=False)
