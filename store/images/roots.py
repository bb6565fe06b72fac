"""What images need to be kept."""

from collections.abc import Iterator

from store import references
from store.images import Image
from store.metadata import Records
from store.references import Root


class ImageRoots:
    """The targets of images' names, and what the names' labels refer to."""

    def __init__(self, images: Records[Image]) -> None:
        self._images = images

    def roots(self) -> Iterator[Root]:
        """Yield what every image keeps."""
        for namespace, name, image in self._images.walk():
            reason = f"image {name}"
            yield Root(node=references.content(namespace, image.target.digest), reason=reason)
            for node in references.labelled(namespace, image.labels):
                yield Root(node=node, reason=reason)
