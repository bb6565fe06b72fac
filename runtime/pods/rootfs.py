"""A container's root filesystem: its own snapshot on the image's, mounted in the bundle.

Directories that the image declares as VOLUME live beside it, filled with what the image has there.
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from runtime import blocking, selinux
from runtime.kernel import Users
from runtime.kernel.threads import as_root_of
from runtime.pods.imagevolumes import ImageVolumes
from runtime.pods.layout import ContainerFiles
from runtime.pods.node import Node
from runtime.rollback import Rollback
from runtime.spec import MountRequest
from runtime.spec.beneath import open_directory_in_root
from runtime.spec.mounts import image_volumes
from store import trees
from store.errors import DataLossError, Error, InvalidArgumentError, NotFoundError
from store.images import UnpackedImage
from store.snapshots import Mount

T = TypeVar("T")

_VOLUME_LIMIT: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What a root filesystem is made of, whose ids it shows, and the SELinux label of its files."""

    image: UnpackedImage
    users: Users | None = None
    label: str = ""


class RootFilesystems:
    """Makes and removes them."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._images = ImageVolumes(node)

    async def make(
        self,
        namespace: str,
        id_: str,
        base: Base,
        undo: Rollback,
        enter: Callable[[ContainerFiles], T],
    ) -> tuple[ContainerFiles, T]:
        """Make the bundle directory, mount the root filesystem in it, and `enter` it.

        Returns:
            The files, and what `enter` returned; it runs on a thread whose new files are the
            container's root's.
        """
        files = self._node.layout.container(namespace, id_)
        undo.push("remove the snapshot", self.remove_snapshot, namespace, id_)
        mounts = await self._node.snapshotter.prepare(namespace, id_, base.image.chain_id or None)
        undo.push("remove the bundle", self.remove_files, namespace, id_)
        mount = partial(self._mount, files, mounts, base, enter)
        return files, await blocking.change("mount", id_[:12], mount)

    async def remove(self, namespace: str, id_: str) -> None:
        """Unmount and remove bundle, volumes and snapshots; idempotent."""
        await self._images.remove(namespace, id_)
        await self.remove_files(namespace, id_)
        await self.remove_snapshot(namespace, id_)

    async def remove_files(self, namespace: str, id_: str) -> None:
        """Unmount the root filesystem and remove bundle and volumes; idempotent."""
        files = self._node.layout.container(namespace, id_)
        await blocking.change("remove files", id_[:12], lambda: self._remove(files))

    async def remove_snapshot(self, namespace: str, id_: str) -> None:
        """Remove the container's own layer; idempotent."""
        with contextlib.suppress(NotFoundError):
            await self._node.snapshotter.remove(namespace, id_)

    def _mount(
        self,
        files: ContainerFiles,
        mounts: Iterable[Mount],
        base: Base,
        enter: Callable[[ContainerFiles], T],
    ) -> T:
        files.rootfs.mkdir(parents=True, mode=0o755)
        if base.image.config.volumes:
            files.volumes.mkdir(parents=True, mode=0o711)
        try:
            for mount in mounts:
                labelled = selinux.labelled(mount, base.label)
                self._node.mounts.mount(labelled, files.rootfs, users=base.users)
        except OSError as error:
            raise Error(f"cannot mount the root filesystem of {base.image.id}: {error}") from error
        return as_root_of(base.users, partial(enter, files))

    def _remove(self, files: ContainerFiles) -> None:
        self._node.mounts.unmount(files.rootfs)
        trees.remove_tree(files.bundle)
        trees.remove_tree(files.volumes)


def volumes(
    image: UnpackedImage, requested: Iterable[MountRequest], files: ContainerFiles
) -> tuple[MountRequest, ...]:
    """Make the image's volumes that the request does not cover; return them as mounts.

    Raises:
        InvalidArgumentError: the image declares a volume that cannot be one.
    """
    declared = image_volumes(image.config, requested)
    if len(declared) > _VOLUME_LIMIT:
        raise InvalidArgumentError(f"cannot use image {image.id}: {len(declared)} volumes")
    return tuple(
        MountRequest(container_path=path, host_path=str(_fill(files, path, number)))
        for number, path in enumerate(declared)
    )


def _fill(files: ContainerFiles, path: str, number: int) -> Path:
    target = files.volumes / str(number)
    target.mkdir()
    source = open_directory_in_root(files.rootfs, path)
    if source is None:
        return target
    try:
        _copy(Path(f"/proc/self/fd/{source}"), target)
    except shutil.Error as error:
        raise DataLossError(f"cannot fill the volume {path}: {error}") from error
    finally:
        os.close(source)
    return target


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, symlinks=True, copy_function=_copy_node, dirs_exist_ok=True)
    for root, directories, names in os.walk(source):
        below = target / Path(root).relative_to(source)
        for name in (*directories, *names):
            _own(Path(root) / name, below / name)
    _dress(target, source.stat())  # itself a link of /proc, to the directory


def _copy_node(source: str, target: str) -> None:
    path = Path(source)
    if not path.is_symlink() and not path.is_file():
        return  # a FIFO, socket or device in a volume's place would block the copy
    shutil.copy2(source, target, follow_symlinks=False)


def _own(source: Path, target: Path) -> None:
    if os.path.lexists(target):
        _dress(target, source.lstat())


def _dress(target: Path, status: os.stat_result) -> None:
    os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)
    if not target.is_symlink():
        target.chmod(status.st_mode & 0o7777)
