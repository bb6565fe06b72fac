"""CDI files: their format, read strictly.

A file with an unknown field is refused, as the specification says: it may be about something that
must not be left out.
"""

import os
import re
import stat
from pathlib import Path
from typing import Final

import msgspec

from store.errors import Error, InvalidArgumentError

_LARGEST: Final = 4 << 20
_OLDEST: Final = (0, 3)
_NEWEST_MAJOR: Final = 1
_VERSION: Final = re.compile(r"v?(\d+)\.(\d+)\.\d+([-+].*)?")
_VENDOR: Final = re.compile(r"[A-Za-z]([A-Za-z0-9_.-]*[A-Za-z0-9])?")
_CLASS: Final = re.compile(r"[A-Za-z]([A-Za-z0-9_.-]*[A-Za-z0-9])?")
_DEVICE: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.:-]*[A-Za-z0-9])?")
_LONGEST: Final = 253
_HOOKS: Final = frozenset(
    {"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"}
)
_KINDS: Final = frozenset({"", "b", "c", "u", "p"})
_NO_ACCESS: Final = "none"


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What all parts of a document have in common."""


class DeviceNode(_Part, frozen=True, kw_only=True):
    """A device in /dev; what is not said is looked up at the host path."""

    path: str
    host_path: str = ""
    type: str = ""
    major: int = 0
    minor: int = 0
    file_mode: int | None = None
    permissions: str = ""
    uid: int | None = None
    gid: int | None = None


class Mount(_Part, frozen=True, kw_only=True):
    """A mount of something on the node."""

    host_path: str
    container_path: str
    type: str = ""
    options: tuple[str, ...] = ()


class Hook(_Part, frozen=True, kw_only=True):
    """A program of the node that the OCI runtime starts at some moment; `timeout` in seconds."""

    hook_name: str
    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    timeout: int | None = None


class IntelRdt(_Part, frozen=True, kw_only=True):
    """Cache and memory bandwidth, as resctrl has them."""

    clos_id: str = msgspec.field(default="", name="closID")
    l3_cache_schema: str = msgspec.field(default="", name="l3CacheSchema")
    mem_bw_schema: str = ""
    schemata: tuple[str, ...] = ()
    enable_monitoring: bool = False
    enable_cmt: bool = msgspec.field(default=False, name="enableCMT")
    enable_mbm: bool = msgspec.field(default=False, name="enableMBM")


class NetDevice(_Part, frozen=True, kw_only=True):
    """A network interface of the node that moves into the container."""

    host_interface_name: str
    name: str


class ContainerEdits(_Part, frozen=True, kw_only=True):
    """What a device, or every device of a kind, changes."""

    env: tuple[str, ...] = ()
    device_nodes: tuple[DeviceNode, ...] = ()
    mounts: tuple[Mount, ...] = ()
    hooks: tuple[Hook, ...] = ()
    net_devices: tuple[NetDevice, ...] = ()
    additional_gids: tuple[int, ...] = ()
    intel_rdt: IntelRdt | None = None


class Device(_Part, frozen=True, kw_only=True):
    """One device."""

    name: str
    container_edits: ContainerEdits = msgspec.field(default_factory=ContainerEdits)
    annotations: dict[str, str] = msgspec.field(default_factory=dict)


class Document(_Part, frozen=True, kw_only=True):
    """One file: devices of one kind (`vendor/class`)."""

    cdi_version: str
    kind: str
    devices: tuple[Device, ...]
    container_edits: ContainerEdits = msgspec.field(default_factory=ContainerEdits)
    annotations: dict[str, str] = msgspec.field(default_factory=dict)


def read(path: Path) -> Document:
    """Return what a file says.

    Raises:
        Error: it cannot be read.
        InvalidArgumentError: it is no CDI file that this can be made sense of; names the field.
    """
    try:
        text = _content(path)
    except OSError as error:
        raise Error(f"cannot read {path}: {error.strerror}") from error
    if len(text) > _LARGEST:
        raise InvalidArgumentError(f"cannot use {path}: larger than {_LARGEST} bytes")
    try:
        return parse(text, json=path.suffix == ".json")
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"cannot use {path}: {error}") from error


def _content(path: Path) -> bytes:
    # Whoever opens a named pipe waits for a writer, unless he says that he will not.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise InvalidArgumentError(f"cannot use {path}: not a regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(_LARGEST + 1)
    finally:
        os.close(descriptor)


def parse(text: bytes, *, json: bool) -> Document:
    """Return what the text of a file, JSON or YAML, says.

    Raises:
        InvalidArgumentError: as `read`.
    """
    decode = msgspec.json.decode if json else msgspec.yaml.decode
    try:
        document = decode(text, type=Document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidArgumentError(str(error).replace("\n", " ")) from error
    _check(document)
    return document


def check_name(name: str) -> None:
    """Refuse what cannot be a device's name.

    Raises:
        InvalidArgumentError: it is not of the form vendor/class=name.
    """
    kind, equals, device = name.partition("=")
    if not equals or not _is_kind(kind) or not _is(_DEVICE, device):
        raise InvalidArgumentError(
            f"cannot use CDI device {name[:_LONGEST]!r}: want the form vendor/class=name"
        )


def _is(pattern: re.Pattern[str], text: str) -> bool:
    return len(text) <= _LONGEST and pattern.fullmatch(text) is not None


def _is_kind(kind: str) -> bool:
    vendor, slash, class_ = kind.partition("/")
    return bool(slash) and _is(_VENDOR, vendor) and _is(_CLASS, class_)


def _check(document: Document) -> None:
    version = _VERSION.fullmatch(document.cdi_version)
    if version is None:
        raise InvalidArgumentError(f"cdiVersion {document.cdi_version!r} is no version")
    major, minor = int(version[1]), int(version[2])
    if (major, minor) < _OLDEST or major > _NEWEST_MAJOR:
        raise InvalidArgumentError(f"cdiVersion {document.cdi_version} is not supported")
    if not _is_kind(document.kind):
        raise InvalidArgumentError(f"kind {document.kind!r} is not of the form vendor/class")
    if not document.devices:
        raise InvalidArgumentError("devices is empty")
    _check_edits("containerEdits", document.container_edits)
    names = [device.name for device in document.devices]
    for number, device in enumerate(document.devices):
        if not _is(_DEVICE, device.name):
            raise InvalidArgumentError(f"devices[{number}].name {device.name!r} is no name")
        if device.name in names[:number]:
            raise InvalidArgumentError(f"devices[{number}].name {device.name!r} is there twice")
        _check_edits(f"devices[{number}].containerEdits", device.container_edits)


def _check_edits(at: str, edits: ContainerEdits) -> None:
    for number, entry in enumerate(edits.env):
        _check_variable(f"{at}.env[{number}]", entry)
    for number, node in enumerate(edits.device_nodes):
        _check_node(f"{at}.deviceNodes[{number}]", node)
    for number, mount in enumerate(edits.mounts):
        _check_path(f"{at}.mounts[{number}].hostPath", mount.host_path)
        _check_path(f"{at}.mounts[{number}].containerPath", mount.container_path)
    for number, hook in enumerate(edits.hooks):
        _check_hook(f"{at}.hooks[{number}]", hook)
    if edits.net_devices:
        raise InvalidArgumentError(f"{at}.netDevices is not supported by the OCI runtimes here")
    for number, gid in enumerate(edits.additional_gids):
        _check_id(f"{at}.additionalGids[{number}]", gid)


def _check_node(at: str, node: DeviceNode) -> None:
    _check_path(f"{at}.path", node.path)
    if node.host_path:
        _check_path(f"{at}.hostPath", node.host_path)
    if node.type not in _KINDS:
        raise InvalidArgumentError(f"{at}.type {node.type!r} is not b, c, u or p")
    if node.permissions != _NO_ACCESS and set(node.permissions) - set("rwm"):
        raise InvalidArgumentError(f"{at}.permissions {node.permissions!r} are not of r, w, m")
    if node.major < 0 or node.minor < 0:
        raise InvalidArgumentError(f"{at}: {node.major}:{node.minor} is no device number")
    for name, number in (("uid", node.uid), ("gid", node.gid)):
        if number is not None:
            _check_id(f"{at}.{name}", number)


def _check_hook(at: str, hook: Hook) -> None:
    if hook.hook_name not in _HOOKS:
        raise InvalidArgumentError(f"{at}.hookName {hook.hook_name!r} is not one of the OCI's")
    _check_path(f"{at}.path", hook.path)
    if hook.timeout is not None and hook.timeout < 1:
        raise InvalidArgumentError(f"{at}.timeout {hook.timeout} is not positive")
    for number, entry in enumerate(hook.env):
        _check_variable(f"{at}.env[{number}]", entry)


def _check_variable(at: str, entry: str) -> None:
    if entry.find("=") < 1 or "\0" in entry:
        raise InvalidArgumentError(f"{at} {entry!r} is not of the form NAME=value")


def _check_path(at: str, path: str) -> None:
    if not path.startswith("/") or "\0" in path:
        raise InvalidArgumentError(f"{at} {path!r} is no absolute path")


def _check_id(at: str, number: int) -> None:
    if not 0 <= number < 2**32 - 1:
        raise InvalidArgumentError(f"{at} {number} is no id")
