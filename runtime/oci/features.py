"""What an OCI runtime can do, from its own `features` (runtime-spec, features.md).

Runtimes that do not know the command are asked for their version, and count as able to do nothing
beyond the basics.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from runtime.oci import Features
from runtime.oci.messages import plain
from runtime.process import run
from store.errors import FailedPreconditionError

_TIMEOUT: Final = 10.0
_VERSIONS: Final = ("run.oci.crun.version", "org.opencontainers.runc.version")
_CHECKPOINT: Final = "org.opencontainers.runc.checkpoint.enabled"


class _Switch(msgspec.Struct):
    enabled: bool = False


class _Extensions(msgspec.Struct):
    idmap: _Switch = msgspec.field(default_factory=_Switch)


class _Linux(msgspec.Struct, rename="camel"):
    namespaces: tuple[str, ...] = ()
    seccomp: _Switch = msgspec.field(default_factory=_Switch)
    apparmor: _Switch = msgspec.field(default_factory=_Switch)
    selinux: _Switch = msgspec.field(default_factory=_Switch)
    mount_extensions: _Extensions = msgspec.field(default_factory=_Extensions)


class _Document(msgspec.Struct, rename="camel"):
    mount_options: tuple[str, ...] = ()
    linux: _Linux = msgspec.field(default_factory=_Linux)
    annotations: dict[str, str] = msgspec.field(default_factory=dict)


def parse(text: bytes) -> Features:
    """Return what a `features` document says.

    Raises:
        FailedPreconditionError: it is not one; names the field.
    """
    try:
        document = msgspec.json.decode(text, type=_Document)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise FailedPreconditionError(f"cannot read OCI runtime features: {error}") from error
    notes, linux = document.annotations, document.linux
    return Features(
        version=next((notes[name] for name in _VERSIONS if name in notes), ""),
        recursive_readonly="rro" in document.mount_options,
        idmap_mounts=linux.mount_extensions.idmap.enabled,
        user_namespaces="user" in linux.namespaces,
        seccomp=linux.seccomp.enabled,
        apparmor=linux.apparmor.enabled,
        selinux=linux.selinux.enabled,
        checkpoint=notes.get(_CHECKPOINT) == "true",
        annotations=notes,
    )


async def probe(binary: Path, env: Mapping[str, str] | None = None) -> Features:
    """Ask a runtime.

    Raises:
        FailedPreconditionError: it cannot be started, or says nothing that makes sense.
        DeadlineExceededError: it hangs.
    """
    result = await run((str(binary), "features"), timeout=_TIMEOUT, env=env)
    if result.code == 0:
        return parse(result.stdout)
    result = await run((str(binary), "--version"), timeout=_TIMEOUT, env=env)
    if result.code != 0:
        said = plain(result.stderr) or f"exit code {result.code}"
        raise FailedPreconditionError(f"cannot ask {binary} for its version: {said}")
    return Features(version=version(result.stdout))


def version(text: bytes) -> str:
    """Return the number in a line such as `crun version 1.28`; the whole line if there is none."""
    first = text.decode(errors="replace").partition("\n")[0].strip()
    return next((word for word in first.split() if word[:1].isdigit()), first)
