"""What a request or an answer is about, for the log and for operations in flight."""

import functools
from collections.abc import Callable
from typing import Final

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

_IDS: Final = ("pod_sandbox_id", "container_id", "image_ref")
_SHOWN: Final = 256

Getter = Callable[[Message], str]


def subject(message: object) -> dict[str, str]:
    """Return the ids and names in a message; never a secret, never more than a line."""
    if not isinstance(message, Message):
        return {}
    found = {name: get(message) for name, get in _getters(message.DESCRIPTOR)}
    return {name: value[:_SHOWN] for name, value in found.items() if value}


@functools.cache
def _getters(descriptor: Descriptor) -> tuple[tuple[str, Getter], ...]:
    fields = descriptor.fields_by_name
    found = [(name, _path(name)) for name in _IDS if name in fields]
    if "image" in fields and descriptor.name.endswith("Request"):
        found.append(("image", _path("image", "image")))
    if descriptor.name == "PullRequest":
        found.append(("image", _path("reference")))
    kind = fields["config"].message_type if "config" in fields else None
    if kind and kind.name == "PodSandboxConfig":
        found.append(("pod_namespace", _path("config", "metadata", "namespace")))
        found.append(("pod", _path("config", "metadata", "name")))
    if kind and kind.name == "ContainerConfig":
        found.append(("container", _path("config", "metadata", "name")))
    return tuple(found)


def _path(*names: str) -> Getter:
    def get(message: Message) -> str:
        value: object = message
        for name in names:
            value = getattr(value, name)
        return str(value)

    return get
