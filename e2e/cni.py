"""CNI for end-to-end tests: a directory of configurations, the real plugins, and scripts."""

import asyncio
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cri.api.runtime.v1 import api_pb2 as pb
from e2e.client import Client, Container, Pod, eventually_logged
from e2e.daemon import default_settings
from e2e.images import WEB
from e2e.registry import Registry

PLUGINS: Final = Path("/usr/lib/cni")
BRIDGE: Final = "ferrycni0"
SUBNETS: Final = ("10.94.0.0/24", "fd00:94::/64")
CONFIGURATION: Final = "10-test.conflist"

_SPOKEN: Final = """VERSION) echo '{"supportedVersions": ["0.4.0", "1.0.0"]}';;"""
ONWARD: Final = r"""sed 's/.*"prevResult": *//; s/}$//'"""
"""What a script passes on the result of the plugin before it with."""

Plugin = Mapping[str, object]


def why_not() -> str:
    """Say why there is no CNI on this machine; nothing if there is."""
    if (PLUGINS / "bridge").exists():
        return ""
    return f"no CNI plugins in {PLUGINS}: package containernetworking-plugins (make tools)"


def bridge(leases: Path, name: str = BRIDGE) -> Plugin:
    """Return a bridge of two families, whose addresses have a file each below `leases`."""
    return {
        "type": "bridge",
        "bridge": name,
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(leases),
            "ranges": [[{"subnet": subnet}] for subnet in SUBNETS],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
        },
    }


PORTMAP: Final[Plugin] = {
    "type": "portmap",
    "capabilities": {"portMappings": True},
    "snat": True,
}
BANDWIDTH: Final[Plugin] = {"type": "bandwidth", "capabilities": {"bandwidth": True}}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a daemon's plugins, their configurations and addresses are."""

    path: Path

    @property
    def configurations(self) -> Path:
        """The directory that the daemon watches."""
        return self.path / "net.d"

    @property
    def leases(self) -> Path:
        """Where `bridge` keeps its addresses."""
        return self.path / "leases"

    def network(self, plugin: str = "cni", *, seconds: float = 60) -> dict[str, object]:
        """Return the daemon's options; `seconds` is what a plugin may take."""
        return {
            "plugin": plugin,
            "cni_conf_directory": str(self.configurations),
            "cni_bin_directories": [str(self.path / "bin"), str(PLUGINS)],
            "cni_plugin_seconds": seconds,
        }

    def settings(self, plugin: str = "cni", *, seconds: float = 60) -> dict[str, dict[str, object]]:
        """Return all of a daemon's settings."""
        settings = default_settings(self.path, number=5)
        settings["network"] |= self.network(plugin, seconds=seconds)
        return settings

    def write(self, *more: Plugin) -> None:
        """Put a configuration in its place: bridge, host ports, bandwidth, and `more`."""
        self.put(bridge(self.leases), PORTMAP, BANDWIDTH, *more)

    def put(self, *plugins: Plugin, network: str = "podnet") -> None:
        """Put a configuration of these plugins in its place."""
        self.configurations.mkdir(parents=True, exist_ok=True)
        document = {"cniVersion": "1.0.0", "name": network, "plugins": plugins}
        draft = self.configurations / f".{CONFIGURATION}"
        draft.write_text(json.dumps(document))
        draft.rename(self.configurations / CONFIGURATION)

    def script(self, name: str, **verbs: str) -> Plugin:
        """Make a plugin that runs these commands for some verbs and behaves for the others."""
        cases = "\n".join(f"{verb}) {command};;" for verb, command in verbs.items())
        path = self.path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            f'#!/bin/sh\ncase "$CNI_COMMAND" in\n{cases}\n{_SPOKEN}\nADD) {ONWARD};;\nesac\n'
        )
        path.chmod(0o755)
        return {"type": name}

    def leased(self) -> set[str]:
        """Return the addresses that are in use."""
        names = {path.name for path in self.leases.glob("*/*")}
        return {name.replace("_", ":") for name in names if name[0].isdigit() or "::" in name}

    def leave(self) -> None:
        """Take away the bridge, which plugins leave on purpose."""
        subprocess.run(["ip", "link", "delete", BRIDGE], capture_output=True, check=False)


async def condition(client: Client) -> pb.RuntimeCondition:
    """Return whether the network is ready, and why."""
    status = (await client.runtime.Status(pb.StatusRequest())).status
    (found,) = [each for each in status.conditions if each.type == "NetworkReady"]
    return found


async def until_reason(client: Client, reason: str) -> pb.RuntimeCondition:
    """Return the condition once it has a reason; asked as a kubelet does, which has no event."""
    async with asyncio.timeout(20):
        while (found := await condition(client)).reason != reason:
            await asyncio.sleep(0.05)
    return found


async def serving_pod(client: Client, registry: Registry, pod: Pod) -> tuple[str, str]:
    """Run a pod with a web server; return its id and the container's."""
    image = await client.pull(registry.reference(WEB))
    running = await client.run_pod(pod)
    container = Container(name="web", image=image, env={"PORT": "8080"})
    server = await client.run(running, container)
    await eventually_logged(pod, "web", "listening 8080")
    return running.id, server


async def remove(client: Client, sandbox: str) -> None:
    """Stop and remove a pod."""
    await client.stop_pod(sandbox)
    await client.remove_pod(sandbox)
