import os
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.spec import Json, Profile, ProfileKind, Security
from runtime.spec.capabilities import DEFAULT, KNOWN
from runtime.spec.seccomp import (
    default_profile,
    document,
    localhost_profile,
    read_profile,
)
from runtime.spec.seccomp_default import ALWAYS, BY_ARCHITECTURE, BY_CAPABILITY
from store.errors import InvalidArgumentError
from tests.specs import REQUEST

DANGEROUS = (
    "add_key keyctl request_key userfaultfd io_uring_setup io_uring_enter io_uring_register "
    "kexec_load kexec_file_load swapon swapoff nfsservctl uselib ustat vm86 vm86old _sysctl "
    "create_module get_kernel_syms query_module"
)


def allowed(profile: dict[str, Json]) -> set[Json]:
    """Return the calls that are allowed whatever their arguments."""
    rules = profile["syscalls"]
    assert isinstance(rules, list)
    names: set[Json] = set()
    for rule in rules:
        assert isinstance(rule, dict)
        if rule["action"] == "SCMP_ACT_ALLOW" and "args" not in rule:
            assert isinstance(rule["names"], list)
            names.update(str(name) for name in rule["names"])
    return names


def rules_for(profile: dict[str, Json], name: str) -> list[Json]:
    rules = profile["syscalls"]
    assert isinstance(rules, list)
    return [rule for rule in rules if isinstance(rule, dict) and rule["names"] == [name]]


def test_the_default_denies_with_eperm_and_knows_both_machines() -> None:
    profile = default_profile(DEFAULT, "x86_64")
    assert (profile["defaultAction"], profile["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", 1)
    assert profile["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    assert "arch_prctl" in allowed(profile)
    arm = default_profile(DEFAULT, "aarch64")
    assert arm["architectures"] == ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]
    assert {"set_tls", "cacheflush"} <= allowed(arm)
    assert "arch_prctl" not in allowed(arm)


def test_no_container_gets_what_was_left_out_on_purpose() -> None:
    everything = default_profile(frozenset(KNOWN), "x86_64")
    assert not set(DANGEROUS.split()) & allowed(everything)


@pytest.mark.parametrize("capability", sorted(BY_CAPABILITY))
def test_a_capability_brings_its_calls_and_no_others(capability: str) -> None:
    without = allowed(default_profile(frozenset(), "x86_64"))
    with_it = allowed(default_profile(frozenset({capability}), "x86_64"))
    assert with_it - without == set(BY_CAPABILITY[capability])


def test_every_condition_names_a_capability_that_exists() -> None:
    assert set(BY_CAPABILITY) <= set(KNOWN)
    assert set(BY_ARCHITECTURE) == {"x86_64", "aarch64"}
    assert not ALWAYS & {name for names in BY_CAPABILITY.values() for name in names}


def test_new_namespaces_take_sys_admin() -> None:
    confined = default_profile(DEFAULT, "x86_64")
    assert not {"clone", "clone3", "unshare", "setns", "mount"} & allowed(confined)
    assert rules_for(confined, "clone") == [
        {
            "names": ["clone"],
            "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": 0x7E020000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}],
        }
    ]
    assert rules_for(confined, "clone3") == [
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}
    ]
    admin = default_profile(DEFAULT | {"CAP_SYS_ADMIN"}, "x86_64")
    assert {"clone", "clone3", "unshare", "setns", "mount"} <= allowed(admin)
    assert rules_for(admin, "clone3") == []


def test_sockets_leave_out_the_hypervisor_and_kernel_crypto() -> None:
    rules = rules_for(default_profile(DEFAULT, "x86_64"), "socket")
    comparisons = []
    for rule in rules:
        assert isinstance(rule, dict)
        assert isinstance(rule["args"], list)
        argument = rule["args"][0]
        assert isinstance(argument, dict)
        comparisons.append((argument["op"], argument["value"]))
    assert comparisons == [("SCMP_CMP_LT", 38), ("SCMP_CMP_EQ", 39), ("SCMP_CMP_GT", 40)]


def test_which_profile_applies() -> None:
    default = Profile(kind=ProfileKind.RUNTIME_DEFAULT)
    assert document(replace(REQUEST, security=Security()), DEFAULT) is None
    unconfined = Security(seccomp=Profile(kind=ProfileKind.UNCONFINED))
    assert document(replace(REQUEST, security=unconfined), DEFAULT) is None
    privileged = Security(seccomp=default, privileged=True)
    assert document(replace(REQUEST, security=privileged), DEFAULT) is None
    confined = replace(REQUEST, security=Security(seccomp=default))
    assert document(confined, DEFAULT) == default_profile(DEFAULT)


def test_localhost_needs_its_profile() -> None:
    wanted = Security(seccomp=Profile(kind=ProfileKind.LOCALHOST, localhost="/p.json"))
    request = replace(REQUEST, security=wanted)
    with pytest.raises(InvalidArgumentError, match=r"/p\.json"):
        document(request, DEFAULT)
    given = replace(request, seccomp_profile={"defaultAction": "SCMP_ACT_LOG"})
    assert document(given, DEFAULT) == {"defaultAction": "SCMP_ACT_LOG", "syscalls": []}


def test_conditions_of_docker_profiles_are_resolved() -> None:
    profile: dict[str, Json] = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "archMap": [
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
        ],
        "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ALLOW", "includes": {}, "excludes": {}},
            {"names": ["mount"], "includes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["clone"], "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["arch_prctl"], "includes": {"arches": ["amd64", "x32"]}},
            {"names": ["set_tls"], "includes": {"arches": ["arm", "arm64"]}},
        ],
    }
    plain = localhost_profile(profile, frozenset(), "x86_64")
    assert plain["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    assert plain["syscalls"] == [
        {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["clone"]},
        {"names": ["arch_prctl"]},
    ]
    assert "archMap" not in plain
    admin = localhost_profile(profile, frozenset({"CAP_SYS_ADMIN"}), "aarch64")
    assert admin["syscalls"] == [
        {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["mount"]},
        {"names": ["set_tls"]},
    ]


@pytest.mark.parametrize(
    ("profile", "text"),
    [
        ({}, "defaultAction is missing"),
        ({"defaultAction": 1}, "defaultAction is missing"),
        ({"defaultAction": "SCMP_ACT_LOG", "syscalls": {"a": 1}}, "syscalls is not a list"),
        ({"defaultAction": "SCMP_ACT_LOG", "syscalls": ["read"]}, "syscalls holds a non-object"),
    ],
)
def test_what_is_no_profile_is_refused(profile: dict[str, Json], text: str) -> None:
    with pytest.raises(InvalidArgumentError, match=text):
        localhost_profile(profile, frozenset(), "x86_64")


def test_profiles_are_read_from_the_node(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text('{"defaultAction": "SCMP_ACT_LOG", "syscalls": [{"names": ["read"]}]}')
    assert read_profile(str(path)) == {
        "defaultAction": "SCMP_ACT_LOG",
        "syscalls": [{"names": ["read"]}],
    }


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("[]", "not a JSON object"),
        ("{", "truncated"),
        ("[" * 100_000, "cannot use seccomp profile"),
        (" " * (1 << 20) + "{}", "larger than 1 MiB"),
    ],
    ids=["list", "cut", "deep", "large"],
)
def test_files_that_are_no_profile_are_refused(tmp_path: Path, content: str, text: str) -> None:
    (tmp_path / "p.json").write_text(content)
    with pytest.raises(InvalidArgumentError, match=text):
        read_profile(str(tmp_path / "p.json"))


def test_paths_that_are_no_file_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path, text in (
        ("p.json", "seccomp.localhost_ref"),
        (str(tmp_path / "missing"), "No such file"),
        (str(tmp_path / "fifo"), "not a regular file"),
        (str(tmp_path), "Is a directory"),
    ):
        with pytest.raises(InvalidArgumentError, match=text):
            read_profile(path)
