"""The bridge network on the running kernel."""

import contextlib
import errno
import os
import socket
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from runtime.kernel import netlink
from runtime.kernel.netlink import Netlink, Request
from runtime.kernel.threads import in_thread
from runtime.network import host, links, shaping
from runtime.network.addresses import Subnet
from runtime.network.rules import PortRules
from runtime.network.wires import BridgeConfig, PodLink
from store.errors import FailedPreconditionError

_LINK_LOCAL: Final = "fe80:"


class LinuxWires:
    """`Wires` in the network namespace of the thread that makes it."""

    def __init__(self, config: BridgeConfig) -> None:
        self._config = config
        self._socket = Netlink(netlink.ROUTE)
        self._rules = PortRules(config)
        self._subnets: tuple[Subnet, ...] = ()
        self._mtu = config.mtu
        self._index = 0
        self._claim: socket.socket | None = None
        self._setting_up = threading.Lock()

    def set_up(self, subnets: Sequence[Subnet], pods: Iterable[PodLink]) -> list[str]:
        """Make or repair bridge and rules."""
        with self._setting_up:  # the thread of a cancelled call may still be at it
            return self._set_up(subnets, pods)

    def adopt(self, pods: Iterable[PodLink]) -> None:
        """Take `pods` as those that are connected."""
        self._rules.adopt(pods)

    def intact(self) -> bool:
        """Tell whether bridge and rules are still there."""
        return self._bridge_index() == self._index and self._rules.intact()

    def connect(self, pod: PodLink, netns: Path) -> None:
        """Give a namespace its interface, addresses, routes and host ports."""
        with _opened(netns) as descriptor:
            self._socket.send(self._pair(pod, descriptor))
        self._limit(pod)
        in_thread(lambda: _configure(pod.addresses, self._subnets), netns)
        self._rules.add(pod)

    def disconnect(self, pod: PodLink) -> None:
        """Cut a pod off: host ports gone, interface down."""
        self._rules.remove(pod)
        with _gone_is_fine():
            self._socket.send((links.set_down(pod.link),))
        if pod.shaper:  # it does not go with the namespace
            self.delete((pod.shaper,))

    def delete(self, names: Iterable[str]) -> None:
        """Delete interfaces."""
        for name in names:
            with _gone_is_fine():
                self._socket.send((links.delete_link(name),))

    def ports(self) -> list[str]:
        """Return the names of the interfaces on the bridge."""
        index = self._bridge_index()
        return links.port_names(self._socket.dump(links.list_ports(index)), index) if index else []

    def tear_down(self) -> None:
        """Remove bridge and rules."""
        self._rules.clear()
        self.delete((self._config.name,))

    def close(self) -> None:
        """Close the sockets; the network stays as it is."""
        self._rules.close()
        self._socket.close()
        if self._claim is not None:
            self._claim.close()

    def _set_up(self, subnets: Sequence[Subnet], pods: Iterable[PodLink]) -> list[str]:
        name = self._config.name
        self._claim_bridge()
        self._refuse_overlap(subnets)
        self._subnets = tuple(subnets)
        self._mtu = self._config.mtu or host.default_mtu()
        host.forward(subnets)
        self._make_bridge()
        self._plug_in(pod.link for pod in pods)
        self._rules.load(subnets)
        return [
            f"the chain {chain} drops forwarded packets by its policy: pods reach nothing beyond "
            f"this node until it accepts what comes from and goes to {name}"
            for chain in host.forward_obstacles(self._config.nft)
        ]

    def _claim_bridge(self) -> None:
        """Keep other daemons off this bridge for as long as this one lives.

        An abstract socket belongs to the network namespace, as the bridge does, and a crash frees
        it.
        """
        if self._claim is not None:
            return
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            claim.bind(f"\0ferry-bridge/{self._config.name}")
        except OSError as error:
            claim.close()
            raise FailedPreconditionError(
                f"cannot use the bridge {self._config.name}: another daemon does; give this one"
                " another network.bridge and network.subnets"
            ) from error
        self._claim = claim

    def _make_bridge(self) -> None:
        name = self._config.name
        gateway = str(self._subnets[0][1])
        self._socket.send((links.make_bridge(name, self._mtu, gateway),))
        self._index = socket.if_nametoindex(name)
        wanted = {(str(subnet[1]), subnet.prefixlen) for subnet in self._subnets}
        present = {(a, p) for i, a, p in self._addresses() if i == self._index}
        stale = {pair for pair in present - wanted if not pair[0].startswith(_LINK_LOCAL)}
        requests = [links.remove_address(name, self._index, *pair) for pair in sorted(stale)]
        requests += [links.add_address(name, self._index, *pair) for pair in sorted(wanted)]
        self._socket.send(requests)
        host.prepare_interface(name)

    def _plug_in(self, names: Iterable[str]) -> None:
        """Put back what belongs on the bridge, if somebody made the bridge anew."""
        present = set(self.ports())
        for name in names:
            if name not in present:
                with _gone_is_fine():
                    self._socket.send((links.plug_in(name, self._index),))

    def _pair(self, pod: PodLink, netns: int) -> list[Request]:
        mac = links.hardware_address(pod.addresses[0])
        pair = links.make_pair(pod.link, self._index, netns, mac, self._mtu)
        return [pair, links.set_hairpin(pod.link)] if self._config.hairpin else [pair]

    def _limit(self, pod: PodLink) -> None:
        """Hold a pod to its bandwidth, from the node's end."""
        limits, link = pod.bandwidth, pod.link
        if limits.ingress:
            index = socket.if_nametoindex(link)
            self._socket.send((shaping.limit(f"what {link} receives", index, limits.ingress),))
        if limits.egress:
            self._socket.send((shaping.make_shaper(pod.shaper),))
            indexes = socket.if_nametoindex(link), socket.if_nametoindex(pod.shaper)
            self._socket.send(shaping.redirect(link, *indexes))
            self._socket.send((shaping.limit(f"what {link} sends", indexes[1], limits.egress),))

    def _refuse_overlap(self, subnets: Sequence[Subnet]) -> None:
        own = self._bridge_index()
        for index, address, prefix in self._addresses():
            other = links.network(address, prefix)
            if index != own and any(
                other.version == subnet.version and other.overlaps(subnet) for subnet in subnets
            ):
                raise FailedPreconditionError(
                    f"cannot use {', '.join(map(str, subnets))} for pods: interface "
                    f"{socket.if_indextoname(index)} has {address}/{prefix}; choose other"
                    " network.subnets"
                )

    def _addresses(self) -> list[tuple[int, str, int]]:
        return links.interface_addresses(self._socket.dump(links.list_addresses()))

    def _bridge_index(self) -> int:
        try:
            return socket.if_nametoindex(self._config.name)
        except OSError:
            return 0


def _configure(addresses: Sequence[str], subnets: Sequence[Subnet]) -> None:
    """Set up the pod's end, in the network namespace of this thread."""
    index = socket.if_nametoindex(links.POD_INTERFACE)
    with Netlink(netlink.ROUTE) as inside:
        inside.send(links.configure_pod(index, addresses, subnets))
    host.ignore_routers(links.POD_INTERFACE)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _gone_is_fine() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise
