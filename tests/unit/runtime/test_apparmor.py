import asyncio
from pathlib import Path

import pytest

from runtime.apparmor import (
    DEFAULT,
    DEFAULT_TEXT,
    check_loaded,
    enabled,
    load_default,
    loaded,
    missing_default,
)
from runtime.spec import Profile, ProfileKind
from store.errors import Error, FailedPreconditionError

LISTED = "ferry-strict (enforce)\n/usr/sbin/x y (complain)\nbroken\n"


@pytest.fixture
def profiles(tmp_path: Path) -> Path:
    (tmp_path / "profiles").write_text(LISTED)
    return tmp_path / "profiles"


def parser(tmp_path: Path, script: str) -> Path:
    path = tmp_path / "apparmor_parser"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_the_kernel_says_whether_it_has_it(tmp_path: Path) -> None:
    parameter = tmp_path / "enabled"
    assert not enabled(parameter)
    parameter.write_text("N\n")
    assert not enabled(parameter)
    parameter.write_text("Y\n")
    assert enabled(parameter)


def test_names_of_profiles_may_have_spaces(profiles: Path) -> None:
    assert loaded(profiles) == {"ferry-strict", "/usr/sbin/x y"}


def test_a_named_profile_must_be_loaded(profiles: Path) -> None:
    check_loaded(None, profiles)
    check_loaded(Profile(kind=ProfileKind.UNCONFINED), profiles)
    check_loaded(Profile(kind=ProfileKind.LOCALHOST, localhost="ferry-strict"), profiles)
    with pytest.raises(FailedPreconditionError, match="'other': it is not loaded"):
        check_loaded(Profile(kind=ProfileKind.LOCALHOST, localhost="other"), profiles)


def test_without_securityfs_nothing_can_be_said(tmp_path: Path) -> None:
    with pytest.raises(FailedPreconditionError, match="securityfs"):
        loaded(tmp_path / "missing")


async def test_the_default_profile_is_given_to_the_parser(profiles: Path, tmp_path: Path) -> None:
    program = parser(tmp_path, f'echo "$@" >{tmp_path}/words; cat >{tmp_path}/text')
    await load_default(program, profiles)
    assert (tmp_path / "words").read_text() == "--replace --skip-cache\n"
    assert (tmp_path / "text").read_text() == DEFAULT_TEXT
    assert f"profile {DEFAULT} " in DEFAULT_TEXT


def test_why_the_default_confines_nothing(profiles: Path, tmp_path: Path) -> None:
    assert "apt-get install apparmor" in missing_default(None, profiles)
    assert "is not loaded" in missing_default(tmp_path, profiles)
    assert "securityfs" in missing_default(tmp_path, tmp_path / "missing")
    profiles.write_text(f"{DEFAULT} (enforce)\n")
    assert missing_default(None, profiles) == ""


async def test_a_loaded_default_profile_will_do_where_there_is_no_parser(tmp_path: Path) -> None:
    profiles = tmp_path / "profiles"
    await asyncio.to_thread(profiles.write_text, f"{DEFAULT} (enforce)\n")
    await load_default(None, profiles)


async def test_a_failing_or_missing_parser_is_named(profiles: Path, tmp_path: Path) -> None:
    with pytest.raises(Error, match="ferry-default: no such abstraction"):
        await load_default(parser(tmp_path, "echo no such abstraction >&2; exit 1"), profiles)
    with pytest.raises(FailedPreconditionError, match="apparmor_parser is missing"):
        await load_default(None, profiles)
