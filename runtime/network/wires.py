"""What the bridge network asks of the kernel: interfaces, rules, settings.

`BridgeNetwork` decides who gets what and keeps the records; a `Wires` makes it so. All calls block
and come from threads, several at a time.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from runtime.network import PortMapping
from runtime.network.addresses import Subnet
from runtime.network.bandwidth import Bandwidth
from store.errors import InvalidArgumentError

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,14}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeConfig:
    """The bridge network of a daemon; two on one node need other names and ranges.

    Attributes:
        name: of the bridge; the nftables table is `ferry-<name>`.
        subnets: the range of the pods, or one of each family.
        mtu: of bridge and pods; 0 takes that of the interface with the default route.
        masquerade: whether pods appear as the node where they leave their range.
        hairpin: whether a bridge port may send back where a packet came from.
        nft: the program that makes the table at start.
    """

    name: str = "ferry0"
    subnets: tuple[str, ...] = ("10.88.0.0/16",)
    mtu: int = 0
    masquerade: bool = True
    hairpin: bool = True
    nft: str = "nft"

    def __post_init__(self) -> None:
        """Refuse a name that the kernel or nft would read as something else.

        Raises:
            InvalidArgumentError: `name` can not be an interface's.
        """
        if not _NAME.fullmatch(self.name):
            raise InvalidArgumentError(
                f"cannot use network.bridge {self.name[:80]!r}: an interface's name has 1 to 15 "
                "letters, digits, - and _"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class PodLink:
    """What a pod was given; the record that frees it. `link` is its interface on the node."""

    link: str
    addresses: tuple[str, ...]
    ports: tuple[PortMapping, ...] = ()
    bandwidth: Bandwidth = field(default_factory=Bandwidth)

    @property
    def shaper(self) -> str:
        """The interface through which what it sends is led, if that is limited; or ""."""
        return f"fs{self.link[2:]}" if self.bandwidth.egress else ""


class Wires(Protocol):
    """What the bridge network needs of the kernel. Errors are `store.errors` or `OSError`."""

    def adopt(self, pods: Iterable[PodLink]) -> None:
        """Take `pods` as those that are connected; before the first `set_up`."""
        ...

    def set_up(self, subnets: Sequence[Subnet], pods: Iterable[PodLink]) -> list[str]:
        """Make or repair the bridge, with the interfaces of `pods` on it, and all rules.

        Returns:
            What may keep pods from being reached although all is set up.
        """
        ...

    def intact(self) -> bool:
        """Tell whether bridge and rules are still there."""
        ...

    def connect(self, pod: PodLink, netns: Path) -> None:
        """Give a namespace its interface, addresses, routes and host ports."""
        ...

    def disconnect(self, pod: PodLink) -> None:
        """Cut a pod off: host ports gone, interface down; what is not there is no error."""
        ...

    def delete(self, names: Iterable[str]) -> None:
        """Delete interfaces; slow (16 ms each). What is not there is no error."""
        ...

    def ports(self) -> list[str]:
        """Return the names of the interfaces on the bridge."""
        ...

    def tear_down(self) -> None:
        """Remove bridge and rules."""
        ...

    def close(self) -> None:
        """Give back what the daemon holds; the network stays as it is."""
        ...
