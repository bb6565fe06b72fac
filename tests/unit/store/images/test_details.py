import json

import pytest

from store.content import Descriptor
from store.digest import Digest, sha256
from store.errors import DataLossError, NotFoundError
from store.images import details, manifest
from store.images.details import Details, Read
from store.images.platform import Platform
from tests.pulling import LINUX, Built, describe


def reading(*documents: bytes) -> Read:
    """Return a way to read these documents."""
    known = {sha256(document): document for document in documents}

    async def read(descriptor: Descriptor) -> bytes:
        if descriptor.digest not in known:
            raise NotFoundError(descriptor.digest)
        return known[descriptor.digest]

    return read


def target(data: bytes, media_type: str) -> Descriptor:
    return Descriptor(media_type=media_type, digest=sha256(data), size=0)


async def find(built: Built, platform: Platform = LINUX) -> Details:
    read = reading(built.index, built.manifest, built.config)
    return await details.find(target(built.index, manifest.OCI_INDEX), platform, read)


async def test_the_way_leads_from_the_target_to_the_config() -> None:
    built = Built()
    found = await find(built)
    assert [descriptor.digest for descriptor in found.path] == [
        sha256(built.index),
        sha256(built.manifest),
    ]
    assert found.path[0].size == len(built.index)
    assert (found.id, found.size) == (built.id, built.size)
    assert found.chain_ids[0] == sha256(built.layers[0])
    assert found.chain_id == found.chain_ids[1]


async def test_a_manifest_may_be_the_target() -> None:
    built = Built()
    read = reading(built.manifest, built.config)
    found = await details.find(target(built.manifest, manifest.OCI_MANIFEST), LINUX, read)
    assert [descriptor.size for descriptor in found.path] == [len(built.manifest)]


async def test_an_index_may_lead_to_an_index() -> None:
    built = Built()
    entry = describe(built.index, manifest.OCI_INDEX)
    outer = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    read = reading(outer, built.index, built.manifest, built.config)
    found = await details.find(target(outer, manifest.OCI_INDEX), LINUX, read)
    assert len(found.path) == 3
    assert found.id == built.id


async def test_a_large_document_is_read_too() -> None:
    built = Built(run={"Env": [f"V{number}={'x' * 100}" for number in range(1000)]})
    assert len((await find(built)).config.run.env) == 1000


async def test_what_is_missing_is_not_found() -> None:
    built = Built()
    with pytest.raises(NotFoundError, match=built.id):
        await details.find(
            target(built.manifest, manifest.OCI_MANIFEST), LINUX, reading(built.manifest)
        )


async def test_another_platform_is_not_there() -> None:
    with pytest.raises(NotFoundError, match="only linux/amd64"):
        await find(Built(), Platform(os="linux", architecture="arm64"))


async def test_an_image_of_another_system_is_refused() -> None:
    built = Built()
    config = built.config.replace(b'"linux"', b'"plan9"')
    document = built.manifest.replace(built.id.encode(), sha256(config).encode())
    read = reading(document, config)
    with pytest.raises(NotFoundError, match="plan9"):
        await details.find(target(document, manifest.OCI_MANIFEST), LINUX, read)


async def test_a_config_that_does_not_fit_is_refused() -> None:
    with pytest.raises(DataLossError, match="3 diff_ids"):
        await find(Built(diff_ids=[Digest(f"sha256:{'0' * 64}")] * 3))
