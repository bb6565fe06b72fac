"""What the bridge network asks of the node itself: settings, and what stands in its way."""

import fcntl
import json
import os
import socket
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypedDict

from runtime.network.addresses import Subnet
from store.errors import UnavailableError

_NET: Final = Path("/proc/sys/net")
_ROUTES: Final = Path("/proc/net/route")
_SIOCGIFMTU: Final = 0x8921
_DEFAULT_MTU: Final = 1500
_NFT_SECONDS: Final = 30.0


class _Chain(TypedDict, total=False):
    """What `nft -j list chains` says of a chain, as far as it matters here."""

    family: str
    table: str
    name: str
    hook: str
    policy: str


class _Item(TypedDict, total=False):
    chain: _Chain


class _Listing(TypedDict):
    nftables: list[_Item]


def forward(subnets: Sequence[Subnet]) -> None:
    """Let the node pass packets on for the families of `subnets`.

    A node that forwards IPv6 stops listening to router advertisements (accept_ra 1), which would
    cost it its own default route; interfaces that listen now are told to go on (accept_ra 2).
    """
    for subnet in subnets:
        if subnet.version == 4:
            _set(_NET / "ipv4/ip_forward", "1")
            continue
        for setting in (_NET / "ipv6/conf").glob("*/accept_ra"):
            if setting.read_text().strip() == "1":
                _set(setting, "2")
        _set(_NET / "ipv6/conf/all/forwarding", "1")


def prepare_interface(bridge: str) -> None:
    """Let the bridge take the loopback addresses that host ports need, and no router's word.

    A pod could otherwise advertise itself to the node as its IPv6 router (CVE-2020-10749).
    """
    _set(_NET / "ipv4/conf" / bridge / "route_localnet", "1")
    ignore_routers(bridge)


def ignore_routers(interface: str) -> None:
    """Let an interface of this thread's network namespace ignore router advertisements."""
    try:
        setting = os.open(_NET / "ipv6/conf" / interface / "accept_ra", os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # a kernel without IPv6
    try:
        os.write(setting, b"0")
    finally:
        os.close(setting)


def default_mtu() -> int:
    """Return the MTU of the interface that leads out: packets of pods must fit there."""
    for line in _ROUTES.read_text().splitlines()[1:]:
        interface, destination, *_ = line.split()
        if destination == "00000000":
            return _mtu(interface)
    return _DEFAULT_MTU


def run_nft(program: str, script: str) -> None:
    """Apply a script as one transaction.

    Raises:
        UnavailableError: nft is not installed, or refuses; quotes it.
    """
    _nft(program, ("-f", "-"), script)


def forward_obstacles(program: str) -> list[str]:
    """Return the chains, as `family table chain`, that drop forwarded packets by their policy.

    No rule of ours can overrule them: each base chain of a hook must let a packet pass.
    """
    listing: _Listing = json.loads(_nft(program, ("-j", "list", "chains"), ""))
    chains = [item["chain"] for item in listing["nftables"] if "chain" in item]
    return [
        f"{chain['family']} {chain['table']} {chain['name']}"
        for chain in chains
        if chain.get("hook") == "forward" and chain.get("policy") == "drop"
    ]


def _nft(program: str, arguments: tuple[str, ...], script: str) -> str:
    command = (program, *arguments)
    try:
        done = subprocess.run(
            command, input=script, capture_output=True, text=True, timeout=_NFT_SECONDS, check=False
        )
    except OSError as error:
        raise UnavailableError(
            f"cannot set up masquerade and host ports: {program}: {error.strerror} "
            "(install the package nftables)"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"cannot set up masquerade and host ports: {error}") from error
    if done.returncode:
        raise UnavailableError(
            f"cannot set up masquerade and host ports: {program}: {done.stderr.strip()}"
        )
    return done.stdout


def _mtu(interface: str) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as handle:
        request = struct.pack("16s16x", interface.encode())
        answer = fcntl.ioctl(handle, _SIOCGIFMTU, request)
    return int(struct.unpack_from("i", answer, 16)[0])


def _set(setting: Path, value: str) -> None:
    # Writing what is there already fails where /proc/sys is read-only though nothing is missing.
    if setting.read_text().strip() != value:
        setting.write_text(value)
