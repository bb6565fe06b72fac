"""What is mounted in a container: the kernel's own, the pod's files, and what was asked for.

A requested mount replaces the default one at the same path. All are sorted by depth, parents
first, so that none hides another.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from runtime.spec import (
    EditedMount,
    HostFacts,
    IdMapping,
    Json,
    MountRequest,
    NamespaceMode,
    Propagation,
    SpecRequest,
    devices,
)
from runtime.spec.text import absolute
from store.errors import Error, FailedPreconditionError, InvalidArgumentError
from store.images import ImageConfig

_CONFINED: Final = ("nosuid", "noexec", "nodev")
_ALLOWED_OPTIONS: Final = frozenset(_CONFINED)
_TTY_GROUP: Final = 5
_KERNEL_PLACES: Final = frozenset({"proc", "sys", "dev"})
_HOST_SHM: Final = Path("/dev/shm")  # noqa: S108 - the node's own, for pods that share its IPC


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mount:
    """One entry of `mounts`, in the order that its fields have in the OCI spec."""

    destination: str
    type: str
    source: str
    options: tuple[str, ...]
    uid_mappings: tuple[IdMapping, ...] = ()
    gid_mappings: tuple[IdMapping, ...] = ()

    def document(self) -> dict[str, Json]:
        entry: dict[str, Json] = {
            "destination": self.destination,
            "type": self.type,
            "source": self.source,
            "options": list(self.options),
        }
        if self.uid_mappings:
            entry["uidMappings"] = id_mappings(self.uid_mappings)
            entry["gidMappings"] = id_mappings(self.gid_mappings)
        return entry


def id_mappings(mappings: Iterable[IdMapping]) -> list[Json]:
    """Return mappings in the OCI form."""
    return [
        {"containerID": one.container_id, "hostID": one.host_id, "size": one.length}
        for one in mappings
    ]


def _kernel(destination: str, kind: str, source: str, *options: str) -> _Mount:
    return _Mount(destination=destination, type=kind, source=source, options=options)


def _bind(destination: str, source: Path, *options: str) -> _Mount:
    return _Mount(
        destination=destination,
        type="bind",
        source=str(source),
        options=("rbind", "rprivate", *options),
    )


def _kernel_mounts(request: SpecRequest) -> Iterator[_Mount]:
    access = "rw" if request.security.privileged else "ro"
    users = request.sandbox_modes.mapped
    pts = ["newinstance", "ptmxmode=0666", "mode=0620"]
    if users is None or users.gids[0].length > _TTY_GROUP:
        pts.append(f"gid={_TTY_GROUP}")
    yield _kernel("/proc", "proc", "proc", *_CONFINED)
    yield _kernel("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k")
    yield _kernel("/dev/pts", "devpts", "devpts", "nosuid", "noexec", *pts)
    yield _kernel("/dev/mqueue", "mqueue", "mqueue", *_CONFINED)
    if users is not None and request.sandbox_modes.network is NamespaceMode.NODE:
        # sysfs shows a network, and may be mounted by whoever owns that.
        yield _bind("/sys", Path("/sys"), *_CONFINED, "rro")
    else:
        yield _kernel("/sys", "sysfs", "sysfs", *_CONFINED, access)
    yield _kernel("/sys/fs/cgroup", "cgroup", "cgroup", *_CONFINED, "relatime", access)


def _pod_mounts(request: SpecRequest) -> Iterator[_Mount]:
    """Yield what the pod's containers share: shared memory and the files of its name service."""
    shm = request.sandbox.shm
    if request.sandbox_modes.ipc is NamespaceMode.NODE:
        shm = _HOST_SHM
    if shm is None:
        raise Error("cannot build spec: the /dev/shm of the pod is not known")
    yield _bind("/dev/shm", shm, "rw", *_CONFINED)  # noqa: S108 - the container's own
    access = "ro" if request.security.readonly_rootfs else "rw"
    for destination, source in (
        ("/etc/resolv.conf", request.sandbox.resolv_conf),
        ("/etc/hostname", request.sandbox.hostname),
    ):
        if source is not None:
            yield _bind(destination, source, access)


def _check_recursive(field: str, mount: MountRequest, host: HostFacts) -> None:
    if not mount.readonly:
        raise InvalidArgumentError(
            f"cannot use {field}.recursive_read_only: the mount is not readonly"
        )
    if mount.propagation is not Propagation.PRIVATE:
        raise InvalidArgumentError(
            f"cannot use {field}.recursive_read_only: propagation must be private"
        )
    if not host.recursive_readonly:
        raise FailedPreconditionError(
            f"RROUnsupported: cannot use {field}.recursive_read_only: this node or its OCI "
            "runtime lacks recursive read-only mounts (Linux 5.12)"
        )


def _access(field: str, mount: MountRequest, host: HostFacts) -> str:
    if mount.recursive_readonly:
        _check_recursive(field, mount, host)
        return "rro"
    if mount.image and not mount.readonly:
        raise InvalidArgumentError(f"cannot use {field}.image: the mount must be readonly")
    return "ro" if mount.readonly else "rw"


def _check_details(field: str, mount: MountRequest) -> None:
    unknown = sorted(set(mount.options) - _ALLOWED_OPTIONS)
    if unknown:
        raise InvalidArgumentError(
            f"cannot use {field}.mount_options {unknown}: must be of noexec, nodev, nosuid"
        )
    if bool(mount.uid_mappings) is not bool(mount.gid_mappings):
        raise InvalidArgumentError(f"cannot use {field}: uidMappings and gidMappings go together")


def _target(field: str, mount: MountRequest) -> str:
    target = absolute(f"{field}.container_path", mount.container_path)
    if target == "/":
        raise InvalidArgumentError(
            f"cannot use {field}.container_path {mount.container_path!r}: the root itself"
        )
    return target


def _requested(request: SpecRequest, number: int, mount: MountRequest) -> _Mount:
    field = f"mounts[{number}]"
    target = _target(field, mount)
    _check_details(field, mount)
    access = _access(field, mount, request.host)
    source = request.sources.get(mount.container_path)
    if source is None:
        raise Error(f"cannot build spec: the source of {field} {target} is not known")
    if not source.is_absolute():
        raise InvalidArgumentError(f"cannot use {field}.host_path {source}: must be absolute")
    if mount.image:  # mounted by ourselves, with the pod's ids, and nothing travels there
        mount = replace(mount, propagation=Propagation.PRIVATE, uid_mappings=(), gid_mappings=())
    deep = ("ridmap",) if mount.container_path in request.deeply_mapped else ()
    return _Mount(
        destination=target,
        type="bind",
        source=str(source),
        options=("rbind", mount.propagation.value, access, *mount.options, *deep),
        uid_mappings=mount.uid_mappings,
        gid_mappings=mount.gid_mappings,
    )


def _edited(request: SpecRequest, mount: EditedMount) -> _Mount:
    """Return a mount that named devices bring; in a user namespace binds show the pod's ids."""
    users = request.sandbox_modes.mapped if mount.type == "bind" else None
    deep = ("ridmap",) if mount.target in request.deeply_mapped else ()
    return _Mount(
        destination=absolute("CDI mount", mount.target),
        type=mount.type,
        source=mount.source,
        options=(*mount.options, *deep),
        uid_mappings=users.uids if users else (),
        gid_mappings=users.gids if users else (),
    )


def _by_depth(mounts: Iterable[_Mount]) -> list[_Mount]:
    return sorted(mounts, key=lambda mount: mount.destination.count("/"))


def document(request: SpecRequest) -> list[Json]:
    """Return `mounts`. Of several requests for one path the last one counts.

    Raises:
        InvalidArgumentError: a request that cannot be; names its number and field.
        FailedPreconditionError: RROUnsupported.
    """
    defaults = _kernel_mounts(request)
    by_target: dict[str, _Mount] = {
        mount.destination: mount for mount in (*defaults, *_pod_mounts(request))
    }
    for number, mount in enumerate(request.mounts):
        wanted = _requested(request, number, mount)
        by_target.pop(wanted.destination, None)
        by_target[wanted.destination] = wanted
    for place, source in devices.bound(request).items():
        by_target[place] = _bind(place, Path(source), "rw", "nosuid", "noexec")
    for edited in request.edits.mounts:
        brought = _edited(request, edited)
        by_target.pop(brought.destination, None)
        by_target[brought.destination] = brought
    return [mount.document() for mount in _by_depth(by_target.values())]


def rootfs_propagation(mounts: Iterable[MountRequest]) -> str:
    """Return `linux.rootfsPropagation`, as wide as the widest mount needs; empty for none."""
    asked = {mount.propagation for mount in mounts}
    if Propagation.BIDIRECTIONAL in asked:
        return Propagation.BIDIRECTIONAL.value
    if Propagation.HOST_TO_CONTAINER in asked:
        return Propagation.HOST_TO_CONTAINER.value
    return ""


def image_volumes(image: ImageConfig, mounts: Iterable[MountRequest]) -> tuple[str, ...]:
    """Return the paths of an image's VOLUME entries that no request mounts on, sorted.

    Whoever makes the container gives each a directory of its own and a `MountRequest`.

    Raises:
        InvalidArgumentError: a volume is relative, the root, or in a place of the kernel's.
    """
    taken = {absolute("mounts.container_path", mount.container_path) for mount in mounts}
    paths = {absolute("the image's VOLUME", volume) for volume in image.volumes}
    for path in paths:
        if path == "/" or path.split("/")[1] in _KERNEL_PLACES:
            raise InvalidArgumentError(f"cannot use the image's VOLUME {path}: not its to replace")
    return tuple(sorted(paths - taken))


def _peers(mountinfo: str) -> Mapping[str, frozenset[str]]:
    """Return the optional fields (`shared:N`, `master:N`) of every mount point; the last wins."""
    found: dict[str, frozenset[str]] = {}
    for line in mountinfo.splitlines():
        fields = line.partition(" - ")[0].split()
        if len(fields) >= 6:
            point = fields[4].encode().decode("unicode_escape")
            found[point] = frozenset(field.partition(":")[0] for field in fields[6:])
    return found


def check_propagation(
    mounts: Iterable[MountRequest], sources: Mapping[str, Path], mountinfo: str
) -> None:
    """Refuse mounts that ask for more propagation than the mount they come from has.

    Args:
        mounts: the requests.
        sources: the resolved host paths, as in `SpecRequest`.
        mountinfo: the text of /proc/self/mountinfo.

    Raises:
        FailedPreconditionError: the source is not on a shared mount (bidirectional), or neither
            shared nor a slave (host to container).
    """
    enough = {
        Propagation.PRIVATE: frozenset[str](),
        Propagation.HOST_TO_CONTAINER: frozenset({"shared", "master"}),
        Propagation.BIDIRECTIONAL: frozenset({"shared"}),
    }
    peers = _peers(mountinfo)
    for mount in mounts:
        wanted = enough[mount.propagation]
        source = sources[mount.container_path]
        point = next((path for path in (source, *source.parents) if str(path) in peers), None)
        if wanted and (point is None or not wanted & peers[str(point)]):
            raise FailedPreconditionError(
                f"cannot mount {source} with propagation {mount.propagation.value}: "
                f"its mount {point} is not shared"
            )
