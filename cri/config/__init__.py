"""ferry's configuration: every option, its type, default and reason.

One dataclass for each TOML section. `cri.config.load` reads files into a `Config`,
`cri.config.text` writes it out. Numbers carry their unit in their name.
"""

import enum
import ipaddress
import re
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cri.config.fields import absolute, addresses, all_absolute, at_least, networks, option

DEFAULT_FILE: Final = Path("/etc/ferry/config.toml")
"""Read when no other file is named; it need not exist."""


class LogLevel(enum.StrEnum):
    """The least severe message that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(enum.StrEnum):
    """How a line of the log is written."""

    TEXT = "text"
    JSON = "json"


class CgroupDriver(enum.StrEnum):
    """Who makes cgroups; `auto` takes systemd where systemd runs the node on cgroup v2."""

    AUTO = "auto"
    CGROUPFS = "cgroupfs"
    SYSTEMD = "systemd"


class NetworkPlugin(enum.StrEnum):
    """Who connects pods; `auto` is cni if a network configuration is there at start."""

    AUTO = "auto"
    BRIDGE = "bridge"
    CNI = "cni"


class SeccompDefault(enum.StrEnum):
    """What a request without any seccomp profile gets."""

    UNCONFINED = "Unconfined"
    RUNTIME_DEFAULT = "RuntimeDefault"


def _metrics(value: str) -> str:
    host, _, port = value.rpartition(":")
    fits = value in {"", "off"} or value.startswith("/") or (host and port.isdecimal())
    return "" if fits else 'must be "", "off", an absolute path or host:port'


def _address(value: str) -> str:
    return "" if not value or value.startswith("/") else "must be an absolute path"


def _ip(value: str) -> str:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return "must be an IP address"
    return ""


def _port(value: int) -> str:
    return "" if 0 <= value <= 65535 else "must be a TCP port"


def _url(value: str) -> str:
    fits = re.fullmatch(r"(https?://[^/\s?#]+(/[^\s?#]*)?)?", value)
    return "" if fits else "must look like https://node.example:10010"


def _interface(value: str) -> str:
    fits = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}", value)
    return "" if fits else "must be an interface name of at most 15 characters"


def _platform(value: str) -> str:
    fits = re.fullmatch(r"(linux/[a-z0-9]+(/v[0-9]+)?)?", value)
    return "" if fits else 'must look like "linux/amd64" or "linux/arm/v7"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """[daemon]: where it lives and how it speaks."""

    root: Path = option(
        Path("/var/lib/ferry"),
        "What must survive a reboot: images, layers, records. One daemon for each root.",
        check=absolute,
    )
    state: Path = option(
        Path("/run/ferry"),
        "What must not survive a reboot: sockets, pinned namespaces, mounts.",
        check=absolute,
    )
    address: str = option(
        "",
        'The socket that the kubelet and crictl use; "" is ferry.sock in the state directory.',
        check=_address,
    )
    log_level: LogLevel = option(
        LogLevel.INFO, "Lists and statuses are logged at debug, all other calls at info.", live=True
    )
    log_format: LogFormat = option(
        LogFormat.TEXT, "text is key=value for people, json is one object a line for collectors."
    )
    metrics_address: str = option(
        "",
        'Prometheus metrics: a socket path or host:port; "" is metrics.sock in the state'
        ' directory, "off" is none.',
        check=_metrics,
    )
    drain_seconds: float = option(
        10.0,
        "How long calls in flight may go on after SIGTERM; containers go on in any case.",
        check=at_least(0),
        live=True,
    )

    @property
    def socket(self) -> Path:
        """The path the CRI server listens on."""
        return Path(self.address) if self.address else self.state / "ferry.sock"

    @property
    def metrics(self) -> str | None:
        """The socket path or host:port of the metrics, or None."""
        if self.metrics_address == "off":
            return None
        return self.metrics_address or str(self.state / "metrics.sock")


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """[images]: where images come from and what they may cost."""

    hosts_directories: tuple[Path, ...] = option(
        (Path("/etc/ferry/certs.d"), Path("/etc/containerd/certs.d")),
        "Where HOST/hosts.toml is looked for, in this order: mirrors, certificates, headers.",
        check=all_absolute,
    )
    max_concurrent_downloads: int = option(
        3,
        "How many blobs of one image are downloaded at once; registries limit connections.",
        check=at_least(1),
    )
    max_concurrent_unpacks: int = option(
        2, "How many layers are unpacked at once, each in a process of its own.", check=at_least(1)
    )
    no_progress_seconds: float = option(
        60.0, "A pull that receives nothing for so long is given up.", check=at_least(1)
    )
    max_unpacked_bytes: int = option(
        64 << 30, "A layer that unpacks to more bytes is refused.", check=at_least(1 << 20)
    )
    max_unpacked_entries: int = option(
        4_000_000, "A layer with more files, links and directories is refused.", check=at_least(1)
    )
    pinned: tuple[str, ...] = option(
        (),
        "Image names (shell patterns) that neither the kubelet's nor ferry's cleaning removes;"
        " ferry itself needs no pause image.",
        live=True,
    )
    platform: str = option(
        "",
        'Which entry of a multi-platform image is taken, as "linux/arm64"; "" is this machine\'s.',
        check=_platform,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """[network]: how pods get their addresses. `bridge` to `masquerade` are the built-in one's."""

    plugin: NetworkPlugin = option(
        NetworkPlugin.AUTO,
        "auto takes CNI if a file is in cni_conf_directory when the daemon starts, otherwise the"
        " built-in bridge. Say cni where the file comes later; pods keep the network they have.",
    )
    cni_conf_directory: Path = option(
        Path("/etc/cni/net.d"),
        "Where CNI configurations are put; the first valid one by name counts, changes at once.",
        check=absolute,
    )
    cni_bin_directories: tuple[Path, ...] = option(
        (Path("/opt/cni/bin"), Path("/usr/lib/cni")),
        "Where CNI plugins are looked for, in this order.",
        check=all_absolute,
    )
    cni_plugin_seconds: float = option(
        60.0, "A CNI plugin that runs longer is killed, and the pod fails.", check=at_least(1)
    )
    bridge: str = option(
        "ferry0", "The bridge that pods are attached to; made when missing.", check=_interface
    )
    subnets: tuple[str, ...] = option(
        ("10.88.0.0/16",),
        "Where pod addresses come from until Kubernetes sends a pod CIDR; add an IPv6 network for"
        " dual stack.",
        check=networks,
    )
    masquerade: bool = option(
        True,  # noqa: FBT003 - the default of an option
        "Hide pod addresses behind the node's for traffic that leaves the pod network.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cgroups:
    """[cgroups]: who makes them."""

    driver: CgroupDriver = option(
        CgroupDriver.AUTO,
        "The kubelet takes over what is chosen here; it cannot change while pods run.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """[runtimes.NAME]: one handler, as a RuntimeClass names it."""

    binary: str = option(
        "",
        "A path, or a name that is looked for like the tools; empty is the handler's own name.",
    )
    options: tuple[str, ...] = option((), "Global options for every call of the program.")
    annotations: tuple[str, ...] = option(
        (), "Pod and container annotations (shell patterns) that the program gets to see."
    )


def _known_runtimes() -> Mapping[str, Runtime]:
    return types.MappingProxyType({"crun": Runtime(), "runc": Runtime()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtimes:
    """[runtimes]: the programs that run containers. `handlers` are its sub-tables, by name."""

    default: str = option(
        "auto",
        "The handler of pods that name none; auto takes crun when it works here, otherwise runc.",
    )
    handlers: Mapping[str, Runtime] = field(default_factory=_known_runtimes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """[tools]: the node's programs. A name is looked for in `prefix`/bin, then in PATH."""

    prefix: Path = option(
        Path("/opt/ferry"), "Where newer programs than the system's are laid.", check=absolute
    )
    conmon: str = option("conmon", "The monitor beside each container: a name or a path.")
    catatonit: str = option(
        "catatonit", "Holds a shared PID namespace; needed only by pods that ask for one."
    )
    nft: str = option("nft", "Writes masquerade and host port rules (nftables).")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pods:
    """[pods]: what pods get when their request does not say."""

    dns_servers: tuple[str, ...] = option(
        (),
        "Name servers for requests without DNS settings; empty is the node's resolv.conf.",
        check=addresses,
    )
    dns_searches: tuple[str, ...] = option((), "Search domains beside dns_servers.")
    dns_options: tuple[str, ...] = option((), "Resolver options beside dns_servers.")
    cdi_directories: tuple[Path, ...] = option(
        (Path("/etc/cdi"), Path("/var/run/cdi")),
        "Where vendors describe devices (CDI files); what a later directory says counts.",
        check=all_absolute,
    )
    seccomp_default: SeccompDefault = option(
        SeccompDefault.UNCONFINED,
        "For requests without any seccomp profile; the kubelet always sends one.",
    )
    unprivileged_ports: bool = option(
        True,  # noqa: FBT003 - the default of an option
        "Let processes without privileges listen below port 1024 inside their pod.",
    )
    unprivileged_icmp: bool = option(
        True,  # noqa: FBT003 - the default of an option
        "Let processes without privileges ping.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Streaming:
    """[streaming]: where clients of exec, attach and port-forward come to."""

    address: str = option(
        "127.0.0.1", "The IP address that is listened on; the kubelet is on this node.", check=_ip
    )
    port: int = option(0, "0 is any that is free.", check=_port)
    base_url: str = option(
        "",
        "What clients are told instead of the address, when they reach it through something else.",
        check=_url,
    )
    certificate: str = option(
        "", "PEM file with the certificate chain; makes it HTTPS.", check=_address
    )
    key: str = option("", "PEM file with the certificate's key.", check=_address)
    client_authority: str = option(
        "",
        "PEM file with the authorities that may sign clients' certificates; without it a client"
        " needs nothing but its URL.",
        check=_address,
    )
    idle_seconds: float = option(
        4 * 3600.0, "A session in which no byte moves for so long ends.", check=at_least(1)
    )
    creation_seconds: float = option(
        30.0, "How long a client may take to open the streams it asked for.", check=at_least(0.1)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gc:
    """[gc]: removing what nothing refers to any more."""

    interval_seconds: float = option(
        300.0,
        "How often it runs by itself; it also runs after images are removed.",
        check=at_least(1),
        live=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that can be configured; a valid value of it needs no further check."""

    daemon: Daemon = field(default_factory=Daemon)
    images: Images = field(default_factory=Images)
    network: Network = field(default_factory=Network)
    cgroups: Cgroups = field(default_factory=Cgroups)
    runtimes: Runtimes = field(default_factory=Runtimes)
    tools: Tools = field(default_factory=Tools)
    pods: Pods = field(default_factory=Pods)
    streaming: Streaming = field(default_factory=Streaming)
    gc: Gc = field(default_factory=Gc)
