"""Devices by name, as their vendors describe them (Container Device Interface, CDI): the contract.

Vendors put files into directories of the node; each describes devices of one kind, and what a
container needs for each: device nodes, mounts, environment, hooks. A client names devices in its
request (`CDI_devices`), and only that counts: no annotation and nothing in an image ever asks for
one. The files are the administrator's, so what they say is done, hooks on the node included.

https://github.com/cncf-tags/container-device-interface/blob/main/SPEC.md
"""

from collections.abc import Sequence
from typing import Protocol

from runtime.spec import Edits


class Devices(Protocol):
    """What the node has. Blocking: call from a thread."""

    def resolve(self, names: Sequence[str]) -> Edits:
        """Return all that the named devices (`vendor/class=name`) change of a container, in order.

        What is said of a whole kind comes before what its first device says.

        Raises:
            InvalidArgumentError: that is not the name of a device.
            NotFoundError: there is no such device, or something it needs is not on the node.
            FailedPreconditionError: two files of equal rank describe it.
        """
        ...

    def problems(self) -> list[str]:
        """Return what is wrong: files that are left out, devices that two files describe."""
        ...
