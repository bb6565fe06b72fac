import base64
import dataclasses

import pytest

from cri.api.runtime.v1 import api_pb2 as pb
from cri.convert.image import credentials_from, image_to, usage_to
from store.content import Descriptor
from store.digest import Digest
from store.errors import InvalidArgumentError
from store.images import Credentials, FilesystemUsage, ImageConfig, UnpackedImage

ID = Digest("sha256:" + "1" * 64)
IMAGE = UnpackedImage(
    id=ID,
    names=("docker.io/library/a:1",),
    repo_tags=("docker.io/library/a:1",),
    repo_digests=("docker.io/library/a@sha256:" + "2" * 64,),
    size=2**40,
    chain_id="sha256:3",
    config=ImageConfig(),
    manifest=Descriptor(media_type="m", digest=ID, size=1, annotations={"k": "v"}),
    pinned=True,
)


def test_an_image_tells_its_names_size_and_pin() -> None:
    assert image_to(IMAGE) == pb.Image(
        id=ID,
        repo_tags=IMAGE.repo_tags,
        repo_digests=IMAGE.repo_digests,
        size=2**40,
        spec=pb.ImageSpec(image=ID, annotations={"k": "v"}),
        pinned=True,
    )


@pytest.mark.parametrize(
    ("user", "uid", "username"),
    [
        ("", None, ""),
        ("0", 0, ""),
        ("1000:50", 1000, ""),
        ("www-data", None, "www-data"),
        ("www-data:100", None, "www-data"),
        ("-1", None, "-1"),
        ("9" * 30, None, "9" * 30),
        ("\u0661", None, "\u0661"),
    ],
)
def test_a_user_is_a_number_or_a_name(user: str, uid: int | None, username: str) -> None:
    image = image_to(dataclasses.replace(IMAGE, config=ImageConfig(user=user)))
    assert (image.uid.value if image.HasField("uid") else None) == uid
    assert image.username == username


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (pb.AuthConfig(), None),
        (pb.AuthConfig(server_address="https://r"), None),
        (
            pb.AuthConfig(username="u", password="p", server_address="r"),
            Credentials(username="u", password="p", server_address="r"),
        ),
        (pb.AuthConfig(auth=b64("u:p:q")), Credentials(username="u", password="p:q")),
        (pb.AuthConfig(auth=b64("u:p\0\0")), Credentials(username="u", password="p")),
        (
            pb.AuthConfig(username="a", password="b", auth=b64("u:p")),
            Credentials(username="a", password="b"),
        ),
        (pb.AuthConfig(identity_token="i"), Credentials(identity_token="i")),
        (pb.AuthConfig(registry_token="r"), Credentials(registry_token="r")),
    ],
)
def test_credentials_come_in_one_form(message: pb.AuthConfig, expected: Credentials | None) -> None:
    assert credentials_from(message) == expected


@pytest.mark.parametrize("auth", ["not base64!", b64("nocolon"), "/w=="])
def test_a_broken_auth_is_refused_without_being_quoted(auth: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^auth\.auth: ") as raised:
        credentials_from(pb.AuthConfig(auth=auth))
    assert auth not in str(raised.value)


def test_usage_has_every_field_the_kubelet_reads() -> None:
    usage = FilesystemUsage(mountpoint="/v", used_bytes=0, inodes_used=0, timestamp=7)
    message = usage_to(usage)
    assert message.HasField("used_bytes")
    assert message.HasField("inodes_used")
    assert (message.timestamp, message.fs_id.mountpoint) == (7, "/v")
