"""The nftables table of a bridge, kept in step with the pods that have host ports."""

import contextlib
import threading
from collections.abc import Iterable, Sequence
from typing import Final

from runtime.kernel import netlink
from runtime.kernel.netlink import Netlink
from runtime.network import host, nat
from runtime.network.addresses import Subnet
from runtime.network.nat import HostPort
from runtime.network.wires import BridgeConfig, PodLink

# Old datagrams keep their way through connection tracking; streams are refused and tried again.
_CONNECTIONLESS: Final = "udp"


class PortRules:
    """Host ports and masquerade of one bridge; any thread may call.

    It remembers whose host ports are in the table, so that the table can be made anew at any time
    without missing a pod that comes or goes meanwhile.
    """

    def __init__(self, config: BridgeConfig) -> None:
        self._config = config
        self._socket = Netlink(netlink.NETFILTER)
        self._lock = threading.Lock()
        self._ports: dict[str, list[HostPort]] = {}
        self._subnets: tuple[Subnet, ...] = ()

    def adopt(self, pods: Iterable[PodLink]) -> None:
        """Take `pods` as all that have host ports, for the next `load`."""
        with self._lock:
            found = {pod.link: nat.host_ports(pod.addresses, pod.ports) for pod in pods}
            self._ports = {link: ports for link, ports in found.items() if ports}

    def load(self, subnets: Sequence[Subnet]) -> None:
        """Make the table anew, at once; starts nft."""
        with self._lock:
            self._subnets = tuple(subnets)
            self._load()

    def intact(self) -> bool:
        """Tell whether the table is there."""
        try:
            self._socket.send((nat.find_table(self._config.name),))
        except OSError:
            return False
        return True

    def add(self, pod: PodLink) -> None:
        """Lead a pod's host ports to it."""
        ports = nat.host_ports(pod.addresses, pod.ports)
        if not ports:
            return
        with self._lock:
            self._ports[pod.link] = ports
            try:
                self._socket.send(nat.add_ports(self._config.name, ports))
            except FileNotFoundError:
                self._load()  # somebody flushed the rules of the node
        self._forget_connections(ports)

    def remove(self, pod: PodLink) -> None:
        """Take a pod's host ports back; nothing if it has none."""
        with self._lock:
            ports = self._ports.get(pod.link)
            if ports is None:
                return
            # One that is missing must not keep the others, and a batch is all or nothing.
            for port in ports:
                with contextlib.suppress(FileNotFoundError):
                    self._socket.send(nat.remove_ports(self._config.name, (port,)))
            del self._ports[pod.link]
        self._forget_connections(ports)

    def clear(self) -> None:
        """Remove the table."""
        with self._lock:
            self._ports.clear()
            host.run_nft(self._config.nft, nat.delete_script(self._config.name))

    def close(self) -> None:
        """Close the socket; the table stays."""
        self._socket.close()

    def _load(self) -> None:
        ports = [port for ports in self._ports.values() for port in ports]
        name, masquerade = self._config.name, self._config.masquerade
        host.run_nft(
            self._config.nft, nat.script(name, self._subnets, ports, masquerade=masquerade)
        )

    def _forget_connections(self, ports: Iterable[HostPort]) -> None:
        for port in ports:
            if port.mapping.protocol == _CONNECTIONLESS:
                with contextlib.suppress(FileNotFoundError):
                    self._socket.send((nat.forget_connections(port),))
