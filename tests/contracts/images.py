"""What every store of images must do.

A subclass supplies the fixtures `images`, with nothing in it, and `name`, the full reference by
tag of an image that can be pulled.
"""

import pytest

from store.errors import InvalidArgumentError, NotFoundError
from store.images import ImageStore, Progress


class ImageStoreContract:
    """Images come by pulling, are found by every name, and go by any of them."""

    async def test_nothing_is_found_in_an_empty_store(self, images: ImageStore, name: str) -> None:
        assert images.find("one", name) is None
        assert images.list("one") == []
        await images.remove("one", name)

    async def test_what_was_pulled_is_found_by_every_name(
        self, images: ImageStore, name: str
    ) -> None:
        image = await images.pull("one", name)
        assert image.repo_tags == (name,)
        assert len(image.repo_digests) == 1
        for reference in (name, image.repo_digests[0], image.id):
            assert images.find("one", reference) == image
        assert images.list("one") == [image]
        assert image.size > 0

    async def test_namespaces_do_not_share_names(self, images: ImageStore, name: str) -> None:
        await images.pull("one", name)
        assert images.find("two", name) is None
        assert images.list("two") == []

    async def test_pulling_again_changes_nothing(self, images: ImageStore, name: str) -> None:
        first = await images.pull("one", name)
        assert await images.pull("one", name) == first
        assert images.list("one") == [first]

    @pytest.mark.parametrize("by", ["tag", "digest", "id"])
    async def test_any_name_removes_all(self, images: ImageStore, name: str, by: str) -> None:
        image = await images.pull("one", name)
        names = {"tag": name, "digest": image.repo_digests[0], "id": image.id}
        await images.remove("one", names[by])
        assert [images.find("one", reference) for reference in names.values()] == [None] * 3
        assert images.list("one") == []
        await images.remove("one", names[by])

    async def test_what_nobody_has_cannot_be_pulled(self, images: ImageStore, name: str) -> None:
        with pytest.raises(NotFoundError):
            await images.pull("one", f"{name}-unknown")
        assert images.list("one") == []

    async def test_what_is_no_reference_is_refused(self, images: ImageStore) -> None:
        with pytest.raises(InvalidArgumentError):
            images.find("one", "-not-a-name")
        with pytest.raises(InvalidArgumentError):
            await images.pull("one", "-not-a-name")

    async def test_progress_is_reported(self, images: ImageStore, name: str) -> None:
        told: list[Progress] = []
        await images.pull("one", name, report=told.append)
        assert {progress.stage for progress in told} <= {
            "resolve",
            "download",
            "unpack",
            "publish",
        }
        assert told

    async def test_usage_is_always_known(self, images: ImageStore) -> None:
        (usage,) = await images.usage()
        assert usage.mountpoint.startswith("/")
        assert usage.timestamp > 0
