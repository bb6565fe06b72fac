"""Images, credentials and the space they take."""

import base64
import binascii
from typing import Final

from cri.api.runtime.v1 import api_pb2 as pb
from store.errors import InvalidArgumentError
from store.images import Credentials, FilesystemUsage, UnpackedImage

_MAX_DIGITS: Final = len(str(2**32))


def image_to(image: UnpackedImage) -> pb.Image:
    """Return an image as lists and ImageStatus show it; the same by whichever name it was found.

    A numeric USER becomes `uid`, a name `username`, none neither: the kubelet takes that as root.
    """
    user = image.config.user.partition(":")[0]
    uid = _uid(user)
    return pb.Image(
        id=str(image.id),
        repo_tags=image.repo_tags,
        repo_digests=image.repo_digests,
        size=image.size,
        uid=None if uid is None else pb.Int64Value(value=uid),
        username=user if uid is None else "",
        spec=pb.ImageSpec(image=str(image.id), annotations=image.manifest.annotations),
        pinned=image.pinned,
    )


def _uid(user: str) -> int | None:
    """Return a numeric user; a number that is no user id stays a name, which will not resolve."""
    numeric = user.isascii() and user.isdecimal() and len(user) <= _MAX_DIGITS
    return int(user) if numeric else None


def credentials_from(message: pb.AuthConfig, at: str = "auth") -> Credentials | None:
    """Return what a client gives for a pull, or None when it gives nothing.

    `auth` is `username:password` in base64, as in Docker's config.json; a username wins over it.

    Raises:
        InvalidArgumentError: `auth` is no such text; the message never quotes it.
    """
    username, password = message.username, message.password
    if message.auth and not username:
        username, password = _decode(message.auth, f"{at}.auth")
    if not (username or message.identity_token or message.registry_token):
        return None
    return Credentials(
        username=username,
        password=password,
        identity_token=message.identity_token,
        registry_token=message.registry_token,
        server_address=message.server_address,
    )


def _decode(text: str, field: str) -> tuple[str, str]:
    try:
        plain = base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        raise InvalidArgumentError(f"{field}: is not base64 of UTF-8 text") from None
    username, separator, password = plain.partition(":")
    if not separator:
        raise InvalidArgumentError(f"{field}: must be username:password in base64")
    return username, password.rstrip("\0")


def usage_to(usage: FilesystemUsage) -> pb.FilesystemUsage:
    """Return what the store takes on one filesystem; the kubelet needs every field."""
    return pb.FilesystemUsage(
        timestamp=usage.timestamp,
        fs_id=pb.FilesystemIdentifier(mountpoint=usage.mountpoint),
        used_bytes=pb.UInt64Value(value=usage.used_bytes),
        inodes_used=pb.UInt64Value(value=usage.inodes_used),
    )
