"""Which network connects the pods: the bridge, or CNI."""

from functools import partial

from cri.config import Network, NetworkPlugin
from cri.daemon.base import Base
from cri.daemon.storage import Storage
from runtime import blocking
from runtime.network import NodeNetwork
from runtime.network.bridge import BridgeNetwork
from runtime.network.cni.directory import present
from runtime.network.cni.ledger import CniPod, CniRecords
from runtime.network.cni.network import CniConfig, CniNetwork
from runtime.network.cni.programs import Programs
from runtime.network.ledger import NetworkRecords, PodRange
from runtime.network.linux import LinuxWires
from runtime.network.succession import Succession
from runtime.network.wires import BridgeConfig, PodLink
from store.metadata.records import SqliteRecords


async def choose_network(base: Base, store: Storage) -> NodeNetwork:
    """Return the network that is wanted; the other one, too, while pods are connected by it.

    It is chosen at start only: a file that appears in the directory would otherwise split the pods
    of a running node into two networks that may not reach each other.
    """
    ranges = SqliteRecords(store.database, "network.ranges", PodRange)
    links = SqliteRecords(store.database, "network.pods", PodLink)
    pods = SqliteRecords(store.database, "network.cni", CniPod)
    by_bridge = partial(_bridge, base, NetworkRecords(pods=links, ranges=ranges))
    by_cni = partial(_cni, base, CniRecords(pods=pods, ranges=ranges))
    if await _wants_cni(base.config.network):
        return Succession(by_cni(), by_bridge()) if any(links.walk()) else by_cni()
    return Succession(by_bridge(), by_cni()) if any(pods.walk()) else by_bridge()


async def _wants_cni(config: Network) -> bool:
    if config.plugin is not NetworkPlugin.AUTO:
        return config.plugin is NetworkPlugin.CNI
    directory = config.cni_conf_directory
    return await blocking.run("look for CNI", str(directory), partial(present, directory))


def _cni(base: Base, records: CniRecords) -> CniNetwork:
    config = base.config.network
    programs = Programs(
        config.cni_bin_directories, base.equipment.environment, timeout=config.cni_plugin_seconds
    )
    return CniNetwork(CniConfig(directory=config.cni_conf_directory), records, programs)


def _bridge(base: Base, records: NetworkRecords) -> BridgeNetwork:
    config = base.config.network
    bridge = BridgeConfig(
        name=config.bridge,
        subnets=config.subnets,
        masquerade=config.masquerade,
        nft=str(base.equipment.program("nft")),
    )
    return BridgeNetwork(bridge, records, LinuxWires(bridge))
