"""Which address of a range is given to whom next. Pure: what is given out is recorded elsewhere.

Addresses are handed out in turn, so one that was just given back is the last to be used again: a
neighbour's cache or a client's connection may still mean the pod that had it.
"""

import ipaddress
from collections.abc import Iterable
from typing import Final, TypeAlias

from store.errors import InvalidArgumentError, ResourceExhaustedError

Subnet: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_SMALLEST: Final = 4


def parse_subnets(texts: Iterable[str], field: str) -> tuple[Subnet, ...]:
    """Return one range, or two of different families.

    Args:
        texts: the ranges in CIDR notation; host bits are cut off.
        field: what an error calls them.

    Raises:
        InvalidArgumentError: they are not that, or too small for a gateway and a pod.
    """
    subnets = []
    for text in texts:
        try:
            subnet = ipaddress.ip_network(text.strip(), strict=False)
        except ValueError as error:
            raise InvalidArgumentError(f"cannot use {field}: {error}") from error
        if subnet.num_addresses < _SMALLEST:
            raise InvalidArgumentError(f"cannot use {field}: {subnet} is too small for pods")
        subnets.append(subnet)
    families = [subnet.version for subnet in subnets]
    if not subnets or len(families) != len(set(families)):
        raise InvalidArgumentError(f"cannot use {field}: one range of each family is needed")
    return tuple(subnets)


class AddressPool:
    """The addresses of one range. The first is the gateway's; an IPv4 broadcast is never used."""

    def __init__(self, subnet: Subnet) -> None:
        self.subnet = subnet
        self._first = int(subnet.network_address) + 2
        self._last = int(subnet.broadcast_address) - (1 if subnet.version == 4 else 0)
        self._next = self._first
        self._used: set[int] = set()

    def __repr__(self) -> str:
        return f"<AddressPool {self.subnet}: {len(self._used)} used>"

    def __len__(self) -> int:
        return len(self._used)

    @property
    def gateway(self) -> str:
        """The address of the bridge, where pods send what leaves the range."""
        return str(self.subnet[1])

    def allocate(self) -> str:
        """Return a free address, which is used from now on.

        Raises:
            ResourceExhaustedError: there is none; names the range.
        """
        size = self._last - self._first + 1
        if len(self._used) >= size:
            raise ResourceExhaustedError(
                f"cannot give the pod an address: all {size} of {self.subnet} are in use"
            )
        while self._next in self._used:
            self._advance()
        address = self._next
        self._used.add(address)
        self._advance()
        return str(self.subnet[address - int(self.subnet.network_address)])

    def take(self, address: str) -> bool:
        """Mark an address as used; False if it is another family's, no pod's, or used already.

        The next allocation starts after it: in a new daemon the recently freed come last, too.
        """
        number = self._number(address)
        if number is None or number in self._used:
            return False
        self._used.add(number)
        if number >= self._next:
            self._next = number
            self._advance()
        return True

    def free(self, address: str) -> None:
        """Give an address back; nothing if it was not used."""
        number = self._number(address)
        if number is not None:
            self._used.discard(number)

    def _number(self, address: str) -> int | None:
        parsed = ipaddress.ip_address(address)
        if parsed.version != self.subnet.version:
            return None
        return int(parsed) if self._first <= int(parsed) <= self._last else None

    def _advance(self) -> None:
        self._next = self._next + 1 if self._next < self._last else self._first
