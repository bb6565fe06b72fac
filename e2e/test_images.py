"""Images, from a real registry to what a container sees of them."""

import asyncio
import base64
import contextlib
import os
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from grpc import StatusCode, aio

from cri.api.runtime.v1 import api_pb2 as pb
from e2e.client import Client, Container, Pod, code, connected
from e2e.daemon import Service
from e2e.images import BUSYBOX, LAYERED, LAYERED_TAGS, WEB
from e2e.leaks import Snapshot, leaks
from e2e.registry import ALICE, Options, Registry, serving
from tests.certificates import Authority

pytestmark = pytest.mark.root


@pytest.fixture
async def puller(empty: Service) -> AsyncIterator[Client]:
    """A daemon without images; it has none afterwards, and no file of one."""
    async with connected(empty.address) as client:
        keep = [image.id for image in await client.list_images() if image.pinned]
        before = Snapshot.take(empty.root, empty.state, pid=empty.pid)
        yield client
        for image in await client.list_images():
            if image.id not in keep:
                await client.remove_image(image.id)
        left = await leaks(before, empty.root, empty.state, pid=empty.pid)
    assert not left, "left behind:\n" + "\n".join(left)


async def test_one_identity_everywhere(puller: Client, registry: Registry, logs: Path) -> None:
    reference = registry.reference(BUSYBOX)
    identifier = await puller.pull(reference)
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", identifier)
    by_tag = await puller.image(reference)
    assert by_tag is not None
    assert by_tag.id == identifier
    assert by_tag.size > 0
    assert list(by_tag.repo_tags) == [reference]
    repository = reference.rpartition(":")[0]
    (digest,) = by_tag.repo_digests
    assert digest.startswith(f"{repository}@sha256:")
    assert await puller.image(identifier) == by_tag
    assert await puller.image(digest) == by_tag
    assert by_tag in await puller.list_images()
    async with puller.pod(Pod(name="identity", logs=logs)) as running:
        container = await puller.create(running, Container(name="main", image=identifier))
        status = await puller.status(container)
        assert status.image_id == identifier
        assert status.image_ref in {digest, identifier}
        (listed,) = await puller.list()
        assert listed.image_id == identifier


async def test_a_pull_by_digest_has_no_tags(puller: Client, registry: Registry) -> None:
    tagged = await puller.pull(registry.reference(BUSYBOX))
    (digest,) = (await found(puller, tagged)).repo_digests
    await puller.remove_image(tagged)
    assert await puller.image(digest) is None
    assert await puller.pull(digest) == tagged
    image = await found(puller, tagged)
    assert list(image.repo_tags) == []
    assert list(image.repo_digests) == [digest]


async def test_an_untagged_name_is_latest(puller: Client, registry: Registry) -> None:
    registry.push(registry.layout, BUSYBOX, "test/plain:latest")
    identifier = await puller.pull(registry.reference("test/plain"))
    image = await found(puller, registry.reference("test/plain:latest"))
    assert image.id == identifier


async def test_two_names_of_one_content_are_one_image(puller: Client, registry: Registry) -> None:
    names = [registry.reference(name) for name in (BUSYBOX, "test/busybox:same")]
    identifiers = {await puller.pull(name) for name in names}
    (identifier,) = identifiers
    assert sorted((await found(puller, identifier)).repo_tags) == sorted(names)
    images = [image for image in await puller.list_images() if not image.pinned]
    assert [image.id for image in images] == [identifier]
    await puller.remove_image(names[0])  # by one of its names goes the image
    assert await puller.image(names[1]) is None
    assert await puller.image(identifier) is None


@pytest.mark.parametrize(
    ("name", "uid", "username"),
    [("uid", 1000, ""), ("name", None, "user"), ("uid-group", 1003, "")],
)
async def test_who_an_image_runs_as(
    puller: Client, registry: Registry, name: str, uid: int | None, username: str
) -> None:
    image = await found(puller, await puller.pull(registry.reference(f"test/user-{name}:1")))
    assert (image.uid.value if image.HasField("uid") else None) == uid
    assert image.username == username


@pytest.mark.parametrize("tag", LAYERED_TAGS)
async def test_layers_in_every_packing(
    puller: Client, registry: Registry, logs: Path, handler: str, tag: str
) -> None:
    image = await puller.pull(registry.reference(f"{LAYERED}:{tag}"))
    async with puller.pod(Pod(name="layers", logs=logs), handler) as running:
        container = await puller.run(
            running, Container(name="main", image=image, command=["sleep", "600"])
        )

        async def listing(script: str) -> list[str]:
            return (await puller.output(container, "sh", "-c", script)).splitlines()

        long_name = "long-name-" * 20
        assert await listing("cd /data; find . -type f | sort") == [
            "./added/deep/down/file",
            "./changed",
            "./kept",
            "./linked",
            f"./{long_name}",
            "./opaque/new",
            "./owned",
            "./replaced",
            "./second-name",
            "./setuid",
            "./tagged",
        ]
        assert await listing("cat /data/changed /data/replaced /data/second-name /data/link") == [
            "after",
            "a file now",
            "linked",
            "kept",
        ]
        assert await listing("stat -c '%a %u %g %Y' /data/owned") == ["640 1000 50000 1000000000"]
        assert await listing("stat -c %a /data/setuid /data/sticky") == ["4755", "1777"]
        assert await listing("stat -c %h /data/linked") == ["2"]
        assert await listing("[ /data/linked -ef /data/second-name ]") == []
        root = Path(f"/proc/{await puller.pid(container)}/root")
        assert os.getxattr(root / "data/tagged", "user.color") == b"blue"


async def test_callers_share_a_pull(puller: Client, registry: Registry) -> None:
    reference = registry.reference(WEB)
    seen = len(registry.log())
    async with asyncio.TaskGroup() as group:
        pulls = [group.create_task(puller.pull(reference)) for _ in range(8)]
    assert len({pull.result() for pull in pulls}) == 1
    blobs = re.findall(r'"GET (/v2/\S+/blobs/\S+) HTTP', registry.log()[seen:])
    assert len(blobs) == len(set(blobs)) > 0, blobs


async def test_a_deadline_ends_a_pull_and_leaves_nothing(
    puller: Client, registry: Registry
) -> None:
    request = pb.PullImageRequest(image=pb.ImageSpec(image=registry.reference(WEB)))
    with pytest.raises(aio.AioRpcError) as late:
        await puller.images.PullImage(request, timeout=0.001)
    # Which end notices first is a race: the server's reset of the stream reads as CANCELLED.
    assert code(late.value) in {StatusCode.DEADLINE_EXCEEDED, StatusCode.CANCELLED}


async def test_a_cancelled_pull_leaves_nothing_and_can_be_repeated(
    puller: Client, registry: Registry
) -> None:
    reference = registry.reference(WEB)
    for milliseconds in (2, 10, 40, 120):
        with contextlib.suppress(TimeoutError):  # a machine may be quicker than the last ones
            async with asyncio.timeout(milliseconds / 1000):
                await puller.pull(reference)
                await puller.remove_image(reference)
    assert await puller.pull(reference)


@pytest.mark.parametrize(
    ("reference", "codes"),
    [
        ("{host}/test/nothing:1", {StatusCode.NOT_FOUND}),
        ("{host}/test/busybox:none", {StatusCode.NOT_FOUND}),
        (
            "{host}/test/busybox@sha256:" + "0" * 64,
            {StatusCode.NOT_FOUND},
        ),
        ("127.0.0.1:1/test/busybox:1", {StatusCode.UNAVAILABLE, StatusCode.UNKNOWN}),
        ("{host}/UPPER:1", {StatusCode.INVALID_ARGUMENT, StatusCode.UNKNOWN}),
    ],
)
async def test_what_cannot_be_pulled_says_why(
    puller: Client, registry: Registry, reference: str, codes: set[StatusCode]
) -> None:
    name = reference.format(host=registry.host)
    with pytest.raises(aio.AioRpcError, match=re.escape(name.partition("@")[0])) as failed:
        await puller.pull(name)
    assert code(failed.value) in codes
    assert await puller.list_images() == [i for i in await puller.list_images() if i.pinned]


@pytest.fixture
def private(image_layout: Path, tmp_path: Path) -> Iterator[Registry]:
    with serving(tmp_path / "private", Options(user=ALICE)) as registry:
        registry.push(image_layout, BUSYBOX)
        yield registry


@pytest.mark.parametrize(
    "auth",
    [
        pb.AuthConfig(username=ALICE.name, password=ALICE.password),
        pb.AuthConfig(auth=base64.b64encode(f"{ALICE.name}:{ALICE.password}".encode()).decode()),
    ],
    ids=["user and password", "auth"],
)
async def test_credentials_open_a_private_registry(
    puller: Client, private: Registry, auth: pb.AuthConfig
) -> None:
    assert await puller.pull(private.reference(BUSYBOX), auth)


@pytest.mark.parametrize(
    "auth",
    [None, pb.AuthConfig(username=ALICE.name, password=ALICE.name)],
    ids=["none", "wrong"],
)
async def test_without_credentials_it_stays_shut(
    puller: Client, private: Registry, auth: pb.AuthConfig | None
) -> None:
    with pytest.raises(aio.AioRpcError, match=r"(?i)401|auth|denied|credential"):
        await puller.pull(private.reference(BUSYBOX), auth)


def write_hosts(service: Service, host: str, text: str) -> Path:
    folder = service.folder / "certs.d" / host
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hosts.toml").write_text(text)
    return folder


async def test_a_mirror_serves_for_its_upstream(
    puller: Client, empty: Service, registry: Registry
) -> None:
    url = f"http://{registry.host}"
    write_hosts(
        empty,
        "upstream.example",
        f'server = "{url}"\n[host."{url}"]\ncapabilities = ["pull", "resolve"]\n',
    )
    identifier = await puller.pull("upstream.example/test/busybox:1")
    image = await found(puller, identifier)
    assert list(image.repo_tags) == ["upstream.example/test/busybox:1"]


@pytest.mark.parametrize("trust", ["ca", "skip_verify"])
async def test_a_registry_over_tls_must_be_trusted(
    puller: Client, empty: Service, image_layout: Path, tmp_path: Path, trust: str
) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("registry")
    options = Options(certificate=pair.certificate, key=pair.key)
    with serving(tmp_path / "tls", options) as registry:
        registry.push(image_layout, BUSYBOX)
        url = f"https://{registry.host}"
        write_hosts(empty, registry.host, f'server = "{url}"\n[host."{url}"]\n')
        with pytest.raises(aio.AioRpcError, match=r"(?i)certificate"):
            await puller.pull(registry.reference(BUSYBOX))
        line = f'ca = "{authority.certificate}"' if trust == "ca" else "skip_verify = true"
        write_hosts(empty, registry.host, f'server = "{url}"\n[host."{url}"]\n{line}\n')
        assert await puller.pull(registry.reference(BUSYBOX))


async def test_a_running_container_keeps_its_removed_image(
    puller: Client, registry: Registry, logs: Path
) -> None:
    image = await puller.pull(registry.reference(BUSYBOX))
    async with puller.pod(Pod(name="keeps", logs=logs)) as running:
        main = Container(name="main", image=image, command=["sleep", "600"])
        container = await puller.run(running, main)
        await puller.remove_image(image)
        assert await puller.image(image) is None
        assert await puller.output(container, "cat", "/etc/passwd")
        assert await puller.pull(registry.reference(BUSYBOX)) == image


async def test_removing_at_once_and_again_succeeds(puller: Client, registry: Registry) -> None:
    image = await puller.pull(registry.reference(BUSYBOX))
    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(puller.remove_image(image))
    assert await puller.image(image) is None
    await puller.remove_image(image)


async def test_the_file_system_is_known_before_the_first_image(
    puller: Client, empty: Service, registry: Registry
) -> None:
    before = await usage(puller)
    assert os.statvfs(before.fs_id.mountpoint).f_blocks > 0
    assert before.timestamp > 0
    await puller.pull(registry.reference(WEB))
    async with asyncio.timeout(20):
        while (await usage(puller)).used_bytes.value <= before.used_bytes.value + 1_000_000:
            await asyncio.sleep(0.1)


async def found(client: Client, reference: str) -> pb.Image:
    image = await client.image(reference)
    assert image is not None, f"{reference} is not there"
    return image


async def usage(client: Client) -> pb.FilesystemUsage:
    information = await client.images.ImageFsInfo(pb.ImageFsInfoRequest())
    (filesystem,) = information.image_filesystems
    return filesystem
