"""Who holds which host port. Pure: reservations live here, records and rules elsewhere.

As with bind(2), a port on all addresses and the same port on one address are a conflict; the same
port of two protocols, or on two addresses, is none.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from runtime.network import PortMapping
from store.errors import AlreadyExistsError, InvalidArgumentError

PROTOCOLS: Final = {"tcp": 6, "udp": 17, "sctp": 132}
_EVERYWHERE: Final = frozenset({"", "0.0.0.0", "::"})


@dataclass(frozen=True, slots=True)
class _Place:
    """A port of a protocol, on whichever addresses."""

    protocol: str
    port: int


class PortTable:
    """The host ports that pods hold."""

    def __init__(self) -> None:
        self._holders: dict[_Place, dict[str, str]] = {}

    def reserve(self, sandbox_id: str, ports: Sequence[PortMapping]) -> None:
        """Give all of `ports` to a pod, or none.

        Raises:
            AlreadyExistsError: one is taken; names it and its holder.
        """
        for index, mapping in enumerate(ports):
            try:
                self._reserve(sandbox_id, mapping)
            except AlreadyExistsError:
                self._release(sandbox_id, ports[:index])
                raise

    def release(self, sandbox_id: str) -> None:
        """Give back everything a pod holds."""
        for place in list(self._holders):
            self._forget(place, sandbox_id)

    def __len__(self) -> int:
        return sum(len(holders) for holders in self._holders.values())

    def _reserve(self, sandbox_id: str, mapping: PortMapping) -> None:
        holders = self._holders.setdefault(_Place(mapping.protocol, mapping.host_port), {})
        holder = _conflict(holders, mapping.host_ip)
        if holder is not None:
            where = mapping.host_ip or "every address"
            raise AlreadyExistsError(
                f"cannot map host port {mapping.host_port}/{mapping.protocol} on {where}: "
                f"sandbox {holder} holds it"
            )
        holders[mapping.host_ip] = sandbox_id

    def _release(self, sandbox_id: str, ports: Sequence[PortMapping]) -> None:
        for mapping in ports:
            place = _Place(mapping.protocol, mapping.host_port)
            if self._holders.get(place, {}).get(mapping.host_ip) == sandbox_id:
                del self._holders[place][mapping.host_ip]
            self._forget(place, "")

    def _forget(self, place: _Place, sandbox_id: str) -> None:
        holders = self._holders[place]
        rest = {address: holder for address, holder in holders.items() if holder != sandbox_id}
        if rest:
            self._holders[place] = rest
        else:
            del self._holders[place]


def normalized(ports: Sequence[PortMapping]) -> tuple[PortMapping, ...]:
    """Return the mappings in one spelling each: lower case protocol, "" for every address.

    Raises:
        InvalidArgumentError: a field can not be; names it.
    """
    return tuple(_normalized(mapping) for mapping in ports)


def _normalized(mapping: PortMapping) -> PortMapping:
    protocol = mapping.protocol.lower()
    if protocol not in PROTOCOLS:
        raise InvalidArgumentError(
            f"cannot map a port: protocol {mapping.protocol[:40]!r} is none of tcp, udp, sctp"
        )
    for name, port in (
        ("host_port", mapping.host_port),
        ("container_port", mapping.container_port),
    ):
        if not 0 < port < 1 << 16:
            raise InvalidArgumentError(f"cannot map a port: {name} {port} is no port number")
    return replace(mapping, protocol=protocol, host_ip=_address(mapping.host_ip))


def _address(text: str) -> str:
    if text in _EVERYWHERE:
        return ""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as error:
        raise InvalidArgumentError(f"cannot map a port: host_ip: {error}") from error


def _conflict(holders: dict[str, str], address: str) -> str | None:
    if address in holders:
        return holders[address]
    if address == "":
        return next(iter(holders.values()), None)
    return holders.get("")
