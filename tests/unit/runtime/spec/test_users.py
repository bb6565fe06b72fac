from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.spec import GroupsPolicy, ProcessUser, Security
from runtime.spec.users import parse_group, parse_passwd, read_account_file, resolve_user
from store.errors import InvalidArgumentError

PASSWD = b"""root:x:0:0:root:/root:/bin/sh
# comment:x:5:5::/:
broken
web:x:1000:1001:Web,,,:/home/web:/bin/sh
noid:x:a:b::/:
"""
GROUP = b"""root:x:0:
users:x:100:web,other
broken
extra:x:50000:other,web
staff:x:50:other
"""


def resolve(image_user: str = "", security: Security | None = None) -> ProcessUser:
    return resolve_user(image_user, security or Security(), PASSWD, GROUP)


@pytest.mark.parametrize(
    ("image_user", "uid", "gid", "groups", "home"),
    [
        ("", 0, 0, (0,), "/root"),
        ("0", 0, 0, (0,), "/root"),
        ("web", 1000, 1001, (100, 1001, 50000), "/home/web"),
        ("1000", 1000, 1001, (100, 1001, 50000), "/home/web"),
        ("web:staff", 1000, 50, (50, 100, 50000), "/home/web"),
        ("web:7", 1000, 7, (7, 100, 50000), "/home/web"),
        ("1000:staff", 1000, 50, (50, 100, 50000), "/home/web"),
        ("4242", 4242, 0, (0,), "/"),
        ("4242:99", 4242, 99, (99,), "/"),
    ],
)
def test_users_of_images(
    image_user: str, uid: int, gid: int, groups: tuple[int, ...], home: str
) -> None:
    assert resolve(image_user) == ProcessUser(
        uid=uid, gid=gid, supplemental_groups=groups, home=home
    )


@pytest.mark.parametrize(
    ("security", "uid", "gid"),
    [
        (Security(run_as_user=1000), 1000, 1001),
        (Security(run_as_user=1000, run_as_group=5), 1000, 5),
        (Security(run_as_user=0, run_as_group=0), 0, 0),
        (Security(run_as_username="web"), 1000, 1001),
        (Security(run_as_username="web", run_as_group=5), 1000, 5),
        (Security(run_as_user=7, run_as_username="web"), 7, 0),
    ],
)
def test_the_request_wins_over_the_whole_user_of_the_image(
    security: Security, uid: int, gid: int
) -> None:
    found = resolve("root:staff", security)
    assert (found.uid, found.gid) == (uid, gid)


def test_merge_adds_the_images_groups_and_strict_does_not() -> None:
    merge = Security(run_as_user=1000, supplemental_groups=(1234,))
    strict = replace(merge, groups_policy=GroupsPolicy.STRICT)
    assert resolve(security=merge).supplemental_groups == (100, 1001, 1234, 50000)
    assert resolve(security=strict).supplemental_groups == (1001, 1234)


@pytest.mark.parametrize(
    ("image_user", "security", "text"),
    [
        ("", Security(run_as_group=5), "run_as_group: run_as_user and run_as_username are not"),
        ("web", Security(run_as_group=5), "run_as_group"),
        ("", Security(run_as_user=-1), "run_as_user -1"),
        ("", Security(run_as_user=1 << 31), "run_as_user"),
        ("", Security(run_as_user=1, run_as_group=-1), "run_as_group -1"),
        ("", Security(supplemental_groups=(1, -1)), r"supplemental_groups\[1\] -1"),
        ("", Security(run_as_username="ghost"), "user 'ghost'"),
        ("ghost", Security(), "user 'ghost'"),
        ("web:ghosts", Security(), "group 'ghosts'"),
        ("99999999999999999999", Security(), "user '99999"),
        ("-1", Security(), "user '-1'"),
    ],
)
def test_who_cannot_be_is_refused(image_user: str, security: Security, text: str) -> None:
    with pytest.raises(InvalidArgumentError, match=text):
        resolve(image_user, security)


def test_images_without_account_files_have_numbers_only() -> None:
    assert resolve_user("5:6", Security(), None, None) == ProcessUser(
        uid=5, gid=6, supplemental_groups=(6,), home="/"
    )
    with pytest.raises(InvalidArgumentError, match="user 'root'"):
        resolve_user("root", Security(), None, None)


def test_a_home_that_no_environment_can_hold_is_the_root() -> None:
    for home in (b"relative", b"", b"/a\0b", b"/\xff"):
        (account,) = parse_passwd(b"a:x:1:1::" + home + b":/bin/sh\n")
        assert account.home == "/"


def test_too_many_groups_are_refused() -> None:
    members = b"".join(b"g:x:%d:web\n" % number for number in range(1, 65538))
    with pytest.raises(InvalidArgumentError, match="more than 65536"):
        resolve_user("web", Security(), PASSWD, members)


@given(st.binary(max_size=200))
def test_any_bytes_can_be_parsed(content: bytes) -> None:
    assert all(0 <= one.uid < 1 << 31 and one.home.startswith("/") for one in parse_passwd(content))
    assert all(0 <= one.gid < 1 << 31 for one in parse_group(content))


def test_reading_account_files(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    assert read_account_file(tmp_path, "/etc/passwd") is None
    (tmp_path / "etc/passwd").write_bytes(PASSWD)
    assert read_account_file(tmp_path, "/etc/passwd") == PASSWD
