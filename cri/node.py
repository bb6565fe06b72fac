"""What this node has, looked at once at start: programs, handlers, cgroups, kernel, boot id."""

import logging
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from cri.config import CgroupDriver, Config, Runtime
from runtime import apparmor, blocking, doctor, tools
from runtime.cgroups import Driver, detect, home
from runtime.cgroups.detect import CgroupLayout
from runtime.doctor import Finding, Grade
from runtime.kernel.users import UserPrograms, obstacle
from runtime.oci import Handler
from runtime.oci import features as probing
from runtime.spec import HostFacts
from runtime.spec import host as hosts
from runtime.tools import Tool
from store.errors import Error, FailedPreconditionError

_PREFERRED: Final = ("crun", "runc")
# What crun says of itself (`crun features`), whatever its program is called.
_CRUN: Final = "run.oci.crun.version"
_AUTO: Final = "auto"
_FILESYSTEMS: Final = Path("/proc/filesystems")
_MODULES: Final = Path("/lib/modules")
_BUS: Final = Path("/run/dbus/system_bus_socket")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Equipment:
    """What was found. `handlers` has the default one under "" too, unless none works.

    `user_programs` make user namespaces; None where one is missing.
    """

    tools: Mapping[str, Tool]
    handlers: Mapping[str, Handler]
    cgroups: CgroupLayout
    driver: Driver
    host: HostFacts
    boot_id: str
    findings: tuple[Finding, ...]
    user_programs: UserPrograms | None
    environment: Mapping[str, str]

    def require(self) -> None:
        """Return only if every program is there that pods cannot do without.

        Raises:
            FailedPreconditionError: names each that is missing, and how to mend that.
        """
        missing = [tool for tool in self.tools.values() if tool.required and tool.path is None]
        if missing:
            raise FailedPreconditionError(
                f"cannot start: {'. '.join(tool.line() for tool in missing)}"
            )

    def program(self, name: str) -> Path:
        """Return the path of a program.

        Raises:
            FailedPreconditionError: it is missing; says how to mend that.
        """
        tool = self.tools[name]
        if tool.path is None:
            raise FailedPreconditionError(f"cannot start: {tool.line()}")
        return tool.path


def boot_id() -> str:
    """Return what the kernel calls this boot, random(4)."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def environment(config: Config) -> dict[str, str]:
    """Return what the node's programs start with: runtimes find criu through PATH."""
    return {"PATH": f"{config.tools.prefix}/bin:{tools.search_path()}"}


async def prepare(config: Config) -> None:
    """Give the kernel what ferry brings for it: AppArmor's default profile.

    What stands in the way is logged, and among the findings.
    """
    if not apparmor.enabled():
        return
    try:
        await apparmor.load_default(tools.find("apparmor_parser", config.tools.prefix))
    except Error as error:
        _log.warning("%s", error)


async def equipment(config: Config) -> Equipment:
    """Look at this node, and change nothing."""
    configured = {
        "conmon": config.tools.conmon,
        "catatonit": config.tools.catatonit,
        "nft": config.tools.nft,
        **{name: runtime.binary for name, runtime in config.runtimes.handlers.items()},
    }
    found = await tools.survey(configured, config.tools.prefix)
    layout = detect.detect()
    driver = _driver(config.cgroups.driver, layout)
    handlers: dict[str, Handler] = {}
    findings: list[Finding] = []
    for name, runtime in config.runtimes.handlers.items():
        handler = await _handler(config, name, runtime, driver)
        obstacle = _obstacle(handler, layout)
        if handler is None or obstacle:
            findings.append(_unusable(name, obstacle))
        else:
            handlers[name] = handler
    default = _default(config.runtimes.default, handlers)
    if default is not None:
        handlers[""] = default
    if home.exposed():
        findings.append(doctor.of_monitors())
    apparmor_default = _apparmor_default(config.tools.prefix, findings)
    return Equipment(
        tools=found,
        handlers=handlers,
        cgroups=layout,
        driver=driver,
        host=hosts.gather(layout, apparmor_default=apparmor_default),
        boot_id=boot_id(),
        findings=tuple(findings),
        user_programs=_user_programs(config.tools.prefix),
        environment=environment(config),
    )


def _apparmor_default(prefix: Path, findings: list[Finding]) -> str:
    if not apparmor.enabled():
        return ""
    problem = apparmor.missing_default(tools.find("apparmor_parser", prefix))
    if problem:
        findings.append(doctor.of_apparmor(problem))
    return "" if problem else apparmor.DEFAULT


def _user_programs(prefix: Path) -> UserPrograms | None:
    unshare, cat = tools.find("unshare", prefix), tools.find("cat", prefix)
    return UserPrograms(unshare=unshare, cat=cat) if unshare and cat else None


async def users_obstacle(found: Equipment, layers: Path) -> str:
    """Return why pods cannot have user namespaces here; empty if they can.

    Args:
        found: what this node has.
        layers: where the layers of root filesystems are.
    """
    if found.user_programs is None:
        return "unshare or cat is missing (apt-get install util-linux coreutils)"
    look = partial(obstacle, found.user_programs, layers)
    return await blocking.run("user namespaces", str(layers), look)


async def _handler(config: Config, name: str, runtime: Runtime, driver: Driver) -> Handler | None:
    binary = tools.find(runtime.binary or name, config.tools.prefix)
    if binary is None:
        return None
    try:
        features = await probing.probe(binary, environment(config))
    except Error as error:
        _log.warning("handler %s: %s", name, error)
        return None
    return Handler(
        name=name,
        binary=binary,
        root=config.daemon.state / "runtimes" / name,
        systemd_cgroup=driver is Driver.SYSTEMD,
        options=runtime.options,
        annotations=runtime.annotations,
        features=features,
    )


def _obstacle(handler: Handler | None, layout: CgroupLayout) -> str:
    if handler is None:
        return "not found, or it does not run"
    crun = _CRUN in handler.features.annotations or handler.binary.name == "crun"
    return layout.crun_obstacle if crun else ""


def _unusable(name: str, obstacle: str) -> Finding:
    return Finding(
        subject=f"handler {name}", grade=Grade.LIMITED, text=f"cannot be used: {obstacle}"
    )


def _default(wanted: str, handlers: Mapping[str, Handler]) -> Handler | None:
    if wanted != _AUTO:
        return handlers.get(wanted)
    return next((handlers[name] for name in _PREFERRED if name in handlers), None)


def _driver(wanted: CgroupDriver, layout: CgroupLayout) -> Driver:
    if wanted is CgroupDriver.AUTO:
        systemd = layout.version == 2 and Path("/run/systemd/system").is_dir()
        return Driver.SYSTEMD if systemd else Driver.CGROUPFS
    return Driver(wanted.value)


def _has_overlay_module() -> bool:
    modules = _MODULES / platform.release() / "kernel/fs/overlayfs"
    return any(modules.glob("overlay.ko*"))


def findings(found: Equipment) -> list[Finding]:
    """Return what is to be said of this node: what it has, and what it cannot do."""
    return [
        *(doctor.of_tool(tool) for tool in found.tools.values()),
        *doctor.of_handlers(found.handlers),
        *found.findings,
        doctor.of_kernel(
            platform.release(), _FILESYSTEMS.read_text(), loadable=_has_overlay_module()
        ),
        *doctor.of_cgroups(found.cgroups, found.driver, bus=_BUS.is_socket()),
        *doctor.of_host(found.host, found.handlers.get("")),
    ]
