"""Images as volumes: each use is a read-only view of its own, mounted in the container's bundle.

The view is a snapshot that the container's record refers to, so that it and the layers below stay
until the container is removed, even if the image is. What a sub path leads to is looked up with
the image as the root directory, whatever links it holds.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from runtime import blocking
from runtime.kernel import Users
from runtime.pods.layout import ContainerFiles
from runtime.pods.node import Node
from runtime.rollback import Rollback
from runtime.spec import MountRequest
from runtime.spec.beneath import find_in_root
from store.errors import Error, FailedPreconditionError, InvalidArgumentError, NotFoundError
from store.images import UnpackedImage
from store.references import SNAPSHOT
from store.snapshots import Mount

PREFIX: Final = "ImageVolumeMountFailed"
"""How errors start that the kubelet shows as a reason of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageUse:
    """A mount of an image, and the image."""

    mount: MountRequest
    image: UnpackedImage


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageMounts:
    """What was made: by container path, where on the node it is and which image it was."""

    sources: Mapping[str, Path]
    refs: Mapping[str, str]


def labels(id_: str, uses: Iterable[ImageUse], snapshotter: str) -> dict[str, str]:
    """Return the labels that keep the views of a container from being collected."""
    return {
        f"{SNAPSHOT}{snapshotter}/image.{number}": _key(id_, str(number))
        for number, _ in enumerate(uses)
    }


def image_mounts(mounts: Iterable[MountRequest]) -> Iterator[MountRequest]:
    """Yield the mounts that are of images."""
    return (mount for mount in mounts if mount.image)


class ImageVolumes:
    """Makes and removes them."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def find(self, namespace: str, mounts: Iterable[MountRequest]) -> tuple[ImageUse, ...]:
        """Return which images the mounts are of.

        Raises:
            NotFoundError: one is not here.
            FailedPreconditionError: one has no files.
        """
        return tuple(
            ImageUse(mount=mount, image=self._image(namespace, mount.image))
            for mount in image_mounts(mounts)
        )

    async def make(
        self,
        namespace: str,
        id_: str,
        uses: tuple[ImageUse, ...],
        users: Users | None,
        undo: Rollback,
    ) -> ImageMounts:
        """Mount them, in a bundle that exists; they show the ids of `users`.

        Raises:
            InvalidArgumentError, NotFoundError: a sub path that cannot be used, or is not there.
            Error: one cannot be mounted. All texts start with `ImageVolumeMountFailed`.
        """
        sources: dict[str, Path] = {}
        if uses:
            undo.push("remove the image volumes", self.remove, namespace, id_)
        files = self._node.layout.container(namespace, id_)
        for number, use in enumerate(uses):
            target = files.images / str(number)
            await blocking.change("image volume", id_[:12], partial(_make_target, target))
            view = await self._node.snapshotter.view(
                namespace, _key(id_, target.name), use.image.chain_id
            )
            mount = partial(self._mount, view, target, use.mount, users)
            sources[use.mount.container_path] = await blocking.change(
                "image volume", id_[:12], mount
            )
        refs = {use.mount.container_path: use.image.id for use in uses}
        return ImageMounts(sources=sources, refs=refs)

    async def remove(self, namespace: str, id_: str) -> None:
        """Unmount all of a container's and let go of their views; idempotent."""
        files = self._node.layout.container(namespace, id_)
        found = await blocking.change("image volumes", id_[:12], partial(self._unmount, files))
        for name in found:
            with contextlib.suppress(NotFoundError):
                await self._node.snapshotter.remove(namespace, _key(id_, name))
        if found:
            await blocking.change("image volumes", id_[:12], partial(_forget, files, found))

    def _image(self, namespace: str, reference: str) -> UnpackedImage:
        image = self._node.images.find(namespace, reference)
        if image is None:
            raise NotFoundError(f"{PREFIX}: image {reference!r} is not here: pull it first")
        if not image.chain_id:
            raise FailedPreconditionError(f"{PREFIX}: image {reference!r} has no files")
        return image

    def _mount(
        self, view: Iterable[Mount], target: Path, asked: MountRequest, users: Users | None
    ) -> Path:
        try:
            for mount in view:
                self._node.mounts.mount(mount, target, users=users)
        except OSError as error:
            raise Error(f"{PREFIX}: cannot mount image {asked.image!r}: {error}") from error
        return _inside(target, asked) if asked.image_sub_path else target

    def _unmount(self, files: ContainerFiles) -> list[str]:
        if not files.images.is_dir():
            return []
        found = list(files.images.iterdir())
        for target in found:
            self._node.mounts.unmount(target)
        return [target.name for target in found]


def _inside(target: Path, asked: MountRequest) -> Path:
    what = f"image_sub_path {asked.image_sub_path!r} of image {asked.image!r}"
    try:
        found = find_in_root(target, f"/{asked.image_sub_path}")
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{PREFIX}: cannot use {what}: {error}") from error
    if found is None:
        raise NotFoundError(f"{PREFIX}: {what} does not exist")
    return found


def _make_target(target: Path) -> None:
    target.mkdir(parents=True)


def _forget(files: ContainerFiles, names: Iterable[str]) -> None:
    """Remove the mount points once nothing is there to be found by them."""
    for name in names:
        (files.images / name).rmdir()


def _key(id_: str, name: str) -> str:
    return f"{id_}.image.{name}"
