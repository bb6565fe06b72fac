"""A pod's user namespace, as its parts want it."""

import os
from pathlib import Path

from runtime.kernel import IdRange, UserMapping, Users
from runtime.pods.layout import SandboxFiles
from runtime.spec import IdMapping, NamespaceModes, ProcessUser
from store.errors import InvalidArgumentError


def mapping(modes: NamespaceModes) -> UserMapping | None:
    """Return what the pod's ids are on the node, None where they are the same."""
    users = modes.mapped
    if users is None:
        return None
    return UserMapping(uids=_range(users.uids[0]), gids=_range(users.gids[0]))


def pinned(modes: NamespaceModes, files: SandboxFiles) -> Users | None:
    """Return the pod's user namespace once it is made, None if it has none."""
    users = mapping(modes)
    if users is None:
        return None
    return Users(namespace=files.namespace("user"), uid=users.uids.first, gid=users.gids.first)


def give(path: Path, modes: NamespaceModes) -> None:
    """Let a file of the pod belong to its root."""
    users = mapping(modes)
    if users is not None:
        os.chown(path, users.uids.first, users.gids.first)


def check_mapped(user: ProcessUser, modes: NamespaceModes) -> None:
    """Refuse ids that the pod's user namespace does not have.

    Raises:
        InvalidArgumentError: the first of them.
    """
    users = mapping(modes)
    if users is None:
        return
    gids = (user.gid, *user.supplemental_groups)
    for kind, ids, held in (("user", (user.uid,), users.uids), ("group", gids, users.gids)):
        for one in ids:
            if one >= held.length:
                raise InvalidArgumentError(
                    f"cannot run as {kind} {one}: the pod's user namespace has the ids 0 to "
                    f"{held.length - 1}"
                )


def _range(one: IdMapping) -> IdRange:
    return IdRange(first=one.host_id, length=one.length)
