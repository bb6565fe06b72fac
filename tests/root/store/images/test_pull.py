"""Pulls from Debian's docker-registry, filled by skopeo, with the caged unpacker."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from e2e.oci import Content, Image, Layer, Tree
from e2e.registry import ALICE, Options, Registry, serving
from store.errors import DataLossError, PermissionDeniedError
from store.images import Credentials
from store.images.store import Images
from store.images.unpack import WorkerUnpacker
from tests.certificates import Authority
from tests.pulling import NAMESPACE, Node

pytestmark = pytest.mark.root


def tree(**files: str) -> Tree:
    result = Tree()
    for path, text in files.items():
        result.file(path.replace("__", "/"), text)
    return result


def layout(folder: Path) -> Path:
    """Write a layout with one image in every form that registries know."""
    base = tree(etc__base="base", etc__old="old")
    top = tree(etc__top="top")
    top.file("etc/.wh.old", "")
    top.hard_link("etc/again", "etc/base")
    content = Content()
    for name, compression in (("gzip", "gzip"), ("zstd", "zstd"), ("plain", "")):
        layers = [Layer.of(base, compression), Layer.of(top, compression)]
        content.add(Image(references=[f"{name}:v1"], layers=layers, indexed=name != "plain"))
    layers = [Layer.of(base), Layer.of(top)]
    content.add(Image(references=["docker:v1"], layers=layers, docker=True, indexed=False))
    content.write(folder)
    return folder


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("registry")
    with serving(folder / "served") as registry:
        registry.push_layout(layout(folder / "layout"))
        yield registry


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with WorkerUnpacker() as unpacker:
        node = Node(tmp_path, unpacker)
        yield node
        await node.check_nothing_half_made()
        node.close()


@pytest.fixture
async def images(node: Node) -> AsyncIterator[Images]:
    async with node.images() as images:
        yield images


@pytest.mark.parametrize("name", ["gzip", "zstd", "plain", "docker"])
async def test_every_form_of_an_image_unpacks_to_the_same(
    registry: Registry, node: Node, images: Images, name: str
) -> None:
    image = await images.pull(NAMESPACE, registry.reference(f"{name}:v1"))
    top, base = await node.snapshotter.layers(NAMESPACE, image.chain_id)
    assert (base / "etc/base").read_text() == "base"
    assert (top / "etc/top").read_text() == "top"
    assert (top / "etc/old").is_char_device()
    assert (top / "etc/again").read_text() == "base"
    assert image.repo_tags == (registry.reference(f"{name}:v1"),)


async def test_forms_share_layers(registry: Registry, node: Node, images: Images) -> None:
    for name in ("gzip", "zstd", "plain", "docker"):
        await images.pull(NAMESPACE, registry.reference(f"{name}:v1"))
    assert len(await node.snapshots()) == 2


async def test_many_pulls_at_once(registry: Registry, node: Node, images: Images) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            for name in ("gzip", "zstd", "plain", "docker"):
                group.create_task(images.pull(NAMESPACE, registry.reference(f"{name}:v1")))
    assert len(images.list(NAMESPACE)) <= 4
    assert len(await node.snapshots()) == 2


async def test_a_layer_that_is_no_tar_leaves_nothing(
    registry: Registry, node: Node, images: Images, tmp_path: Path
) -> None:
    content = Content()
    bad = Layer.of_tar(b"this is no tar archive" * 1000)
    content.add(Image(references=["bad:v1"], layers=[bad]))
    content.write(tmp_path / "layout")
    registry.push_layout(tmp_path / "layout")
    with pytest.raises(DataLossError, match="cannot use layer sha256:"):
        await images.pull(NAMESPACE, registry.reference("bad:v1"))
    assert await node.snapshots() == {}
    assert images.list(NAMESPACE) == []


async def test_a_private_registry_over_tls(tmp_path: Path, node: Node, images: Images) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("registry")
    options = Options(certificate=pair.certificate, key=pair.key, user=ALICE)
    with serving(tmp_path / "served", options) as registry:
        registry.push_layout(layout(tmp_path / "layout"))
        here = node.certs / registry.host
        here.mkdir(parents=True)
        server = f'server = "https://{registry.host}"\nca = "{authority.certificate}"\n'
        (here / "hosts.toml").write_text(server)
        name = registry.reference("gzip:v1")
        with pytest.raises(PermissionDeniedError, match="wants a user name"):
            await images.pull(NAMESPACE, name)
        wrong = Credentials(username=ALICE.name, password="looking glass")
        with pytest.raises(PermissionDeniedError, match="answers 401"):
            await images.pull(NAMESPACE, name, credentials=wrong)
        right = Credentials(username=ALICE.name, password=ALICE.password)
        image = await images.pull(NAMESPACE, name, credentials=right)
    assert images.find(NAMESPACE, name) == image
