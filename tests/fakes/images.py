"""Images without content: a pull of any name gives the image it is told to give."""

from collections.abc import AsyncIterator

from store.content import Descriptor
from store.digest import Digest
from store.errors import InvalidArgumentError, NotFoundError
from store.images import (
    Credentials,
    FilesystemUsage,
    ImageConfig,
    Progress,
    Report,
    UnpackedImage,
)


def image(number: int, *names: str) -> UnpackedImage:
    """Return a complete image with its own id."""
    digest = Digest(f"sha256:{number:064x}")
    return UnpackedImage(
        id=digest,
        names=names,
        repo_tags=names,
        repo_digests=tuple(f"{name.rpartition(':')[0]}@{digest}" for name in names),
        size=1000 + number,
        chain_id=digest,
        config=ImageConfig(cmd=("sh",), user="1000"),
        manifest=Descriptor(media_type="application/json", digest=digest, size=100),
    )


class FakeImages:
    """Keeps images by name; `available` is what a registry would have."""

    def __init__(self, *available: UnpackedImage) -> None:
        self.available = {name: one for one in available for name in one.names}
        self.kept: dict[tuple[str, str], UnpackedImage] = {}
        self.credentials: Credentials | None = None

    def find(self, namespace: str, reference: str) -> UnpackedImage | None:
        if reference.startswith("-"):
            raise InvalidArgumentError(f"image: {reference!r} is no reference")
        found = (
            one
            for one in self.list(namespace)
            if reference in {one.id, *one.names, *one.repo_digests}
        )
        return next(found, None)

    async def pull(
        self,
        namespace: str,
        reference: str,
        *,
        credentials: Credentials | None = None,
        report: Report | None = None,
    ) -> UnpackedImage:
        self.find(namespace, reference)
        self.credentials = credentials
        if reference not in self.available:
            raise NotFoundError(f"cannot pull {reference}: the registry does not have it")
        if report:
            report(Progress(stage="download", item="layer", done=5, total=10))
        found = self.available[reference]
        self.kept[namespace, reference] = found
        return found

    async def remove(self, namespace: str, reference: str) -> None:
        found = self.find(namespace, reference)
        self.kept = {
            key: one for key, one in self.kept.items() if key[0] != namespace or one != found
        }

    async def usage(self) -> list[FilesystemUsage]:
        return [FilesystemUsage(mountpoint="/", used_bytes=0, inodes_used=0, timestamp=1)]

    async def events(self) -> AsyncIterator[tuple[str, str]]:
        for _, name in tuple(self.kept):
            yield "/images/create", name

    def list(self, namespace: str) -> list[UnpackedImage]:
        found = {one.id: one for (owner, _), one in self.kept.items() if owner == namespace}
        return [found[id_] for id_ in sorted(found)]
