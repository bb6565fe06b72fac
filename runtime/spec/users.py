"""Who a container's process is: the request's ids, the image's USER, and its account files.

/etc/passwd and /etc/group come from an image: both are bounded, parsed as bytes and wrong lines
are passed over, as every libc does. Formats: passwd(5), group(5).
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runtime.spec import GroupsPolicy, ProcessUser, Security
from runtime.spec.beneath import read_regular_file
from store.errors import InvalidArgumentError

_LARGEST_FILE: Final = 10 * 1024 * 1024
_LONGEST_LINE: Final = 1024 * 1024
_MOST_LINES: Final = 100_000
_LARGEST_ID: Final = (1 << 31) - 1
_MOST_GROUPS: Final = 65536
_ROOT: Final = "/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A line of passwd(5), as far as it matters."""

    name: str
    uid: int
    gid: int
    home: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A line of group(5)."""

    name: str
    gid: int
    members: frozenset[str]


def read_account_file(rootfs: Path, name: str) -> bytes | None:
    """Return /etc/passwd or /etc/group (`name` is the path) of a root filesystem, if it is there.

    Raises:
        InvalidArgumentError: not a regular file, or larger than 10 MiB.
    """
    return read_regular_file(rootfs, name, _LARGEST_FILE)


def _number(text: str) -> int | None:
    """Return an id that the kernel and Kubernetes take, or None."""
    if not (text.isascii() and text.isdigit()):
        return None
    value = int(text) if len(text) <= 10 else _LARGEST_ID + 1
    return value if value <= _LARGEST_ID else None


def _lines(content: bytes | None, fields: int) -> Iterator[list[str]]:
    for number, line in enumerate(io.BytesIO(content or b"")):
        if number >= _MOST_LINES or len(line) > _LONGEST_LINE:
            raise InvalidArgumentError(
                f"cannot look up the image's users: more than {_MOST_LINES} lines or "
                f"{_LONGEST_LINE} bytes in one"
            )
        parts = line.decode(errors="replace").rstrip("\n").split(":")
        if len(parts) >= fields and parts[0] and not parts[0].startswith("#"):
            yield parts


def parse_passwd(content: bytes | None) -> Iterator[Account]:
    """Yield the accounts of a passwd file, in its order."""
    for parts in _lines(content, 4):
        uid, gid = _number(parts[2]), _number(parts[3])
        if uid is not None and gid is not None:
            home = parts[5] if len(parts) > 5 else ""
            clean = home.startswith("/") and "\0" not in home and "\ufffd" not in home
            yield Account(name=parts[0], uid=uid, gid=gid, home=home if clean else _ROOT)


def parse_group(content: bytes | None) -> Iterator[Group]:
    """Yield the groups of a group file, in its order."""
    for parts in _lines(content, 3):
        gid = _number(parts[2])
        if gid is not None:
            members = frozenset((parts[3] if len(parts) > 3 else "").split(",")) - {""}
            yield Group(name=parts[0], gid=gid, members=members)


def _account(user: str, passwd: bytes | None) -> Account:
    """Return who `user`, a name or a number, is; a number needs no account."""
    uid = _number(user)
    for account in parse_passwd(passwd):
        if account.uid == uid if uid is not None else account.name == user:
            return account
    if uid is None:
        raise InvalidArgumentError(f"cannot find user {user!r} in the image's /etc/passwd")
    return Account(name="", uid=uid, gid=0, home=_ROOT)


def _gid(group: str, groups: bytes | None) -> int:
    gid = _number(group)
    if gid is not None:
        return gid
    for entry in parse_group(groups):
        if entry.name == group:
            return entry.gid
    raise InvalidArgumentError(f"cannot find group {group!r} in the image's /etc/group")


def _checked(field: str, value: int | None) -> str:
    if value is None:
        return ""
    if not 0 <= value <= _LARGEST_ID:
        raise InvalidArgumentError(f"cannot use {field} {value}: must be 0 to {_LARGEST_ID}")
    return str(value)


def _wanted(image_user: str, security: Security) -> tuple[str, str]:
    """Return user and group as text: the request's, else the image's; empty means not given."""
    user = _checked("run_as_user", security.run_as_user) or security.run_as_username
    group = _checked("run_as_group", security.run_as_group)
    if group and not user:
        raise InvalidArgumentError(
            "cannot use run_as_group: run_as_user and run_as_username are not set"
        )
    if user:
        return user, group
    name, _, named_group = image_user.partition(":")
    return name, named_group


def _supplemental(account: Account, gid: int, security: Security, group: bytes | None) -> set[int]:
    for number, wanted in enumerate(security.supplemental_groups):
        _checked(f"supplemental_groups[{number}]", wanted)
    found = {gid, *security.supplemental_groups}
    if security.groups_policy is GroupsPolicy.MERGE and account.name:
        found |= {entry.gid for entry in parse_group(group) if account.name in entry.members}
    if len(found) > _MOST_GROUPS:
        raise InvalidArgumentError(
            f"cannot use the groups of {account.name}: more than {_MOST_GROUPS}"
        )
    return found


def resolve_user(
    image_user: str, security: Security, passwd: bytes | None, group: bytes | None
) -> ProcessUser:
    """Return who PID 1 is; pure.

    The request's user wins over the image's whole USER (`user`, `user:group`, names or numbers). A
    user without a group has the one of its account, else 0. The supplemental groups are the
    primary one, the requested ones and, with the policy Merge, those that list the user's name.

    Args:
        image_user: USER of the image's config.
        security: what the request asks for.
        passwd: the image's /etc/passwd, None if it has none.
        group: the image's /etc/group, None if it has none.

    Raises:
        InvalidArgumentError: a name the image does not know, a group without a user, an id out of
            range.
    """
    user, named_group = _wanted(image_user, security)
    account = _account(user or "0", passwd)
    gid = _gid(named_group, group) if named_group else account.gid
    return ProcessUser(
        uid=account.uid,
        gid=gid,
        supplemental_groups=tuple(sorted(_supplemental(account, gid, security, group))),
        home=account.home,
    )
