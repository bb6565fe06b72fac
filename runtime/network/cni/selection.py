"""Which network configuration is in force, and whether pods can be connected by it."""

import asyncio
import logging
from functools import partial
from pathlib import Path
from typing import Final

from runtime import blocking
from runtime.network import NetworkStatus
from runtime.network.cni import Chosen, Configuration
from runtime.network.cni.chain import Chain
from runtime.network.cni.directory import Reading, read
from store.errors import Error, FailedPreconditionError

_NEVER: Final = NetworkStatus(ready=False, reason="NotSetUp", message="not set up yet")

_log = logging.getLogger(__name__)


class Selection:
    """Looks at the directory and asks the plugins, when it is told to; remembers the answers.

    Attributes:
        chosen: what is in force, also while its plugins can take no pods; None if nothing is.
        status: whether pods can be connected; the reason names files and plugins.
    """

    def __init__(self, directory: Path, chain: Chain) -> None:
        self.chosen: Chosen | None = None
        self.status = _NEVER
        self._directory = directory
        self._chain = chain
        self._looking = asyncio.Lock()
        # The numbers of the last look that began, and of the last that came to its end.
        self._begun = 0
        self._done = 0

    def __repr__(self) -> str:
        return f"<Selection {self._directory}: {self.status.reason}>"

    async def refresh(self) -> None:
        """Look again; nothing raises, what is wrong is in the status.

        Those who ask while somebody looks share the next look: plugins may be slow to answer.
        """
        asked = self._begun
        async with self._looking:
            if self._done <= asked:
                self._begun = number = self._begun + 1
                await self._look()
                self._done = number

    async def _look(self) -> None:
        look = partial(read, self._directory)
        reading = await blocking.run("read network configurations", str(self._directory), look)
        self.chosen, status = await self._judge(reading)
        if status != self.status:
            level = logging.INFO if status.ready else logging.WARNING
            _log.log(level, "network: %s: %s", status.reason, status.message)
        self.status = status

    async def _judge(self, reading: Reading) -> tuple[Chosen | None, NetworkStatus]:
        configuration = reading.configuration
        if configuration is None:
            reason = "BadConfiguration" if reading.problems else "NoConfiguration"
            none = f"no network configuration in {self._directory}"
            return None, _status(reason, none, *reading.problems)
        if missing := await self._missing(configuration):
            return None, _status("PluginMissing", f"{reading.source}: {missing}", *reading.problems)
        try:
            chosen = await self._choose(reading.source, configuration)
        except FailedPreconditionError as error:
            why = f"{reading.source}: {error}"
            return None, _status("VersionMismatch", why, *reading.problems)
        try:
            await self._chain.status(chosen)
        except Error as error:
            return chosen, _status("PluginNotReady", str(error), *reading.problems)
        name = f"network {configuration.name} of {reading.source}"
        return chosen, _status("CniReady", name, *reading.problems, ready=True)

    async def _missing(self, configuration: Configuration) -> str:
        types = [plugin.type for plugin in configuration.plugins]
        look = partial(self._chain.plugins.missing, types)
        return await blocking.run("look for plugins", configuration.name, look)

    async def _choose(self, source: str, configuration: Configuration) -> Chosen:
        now = self.chosen
        if now is not None and (now.source, now.configuration) == (source, configuration):
            return now
        version = await self._chain.negotiate(configuration)
        return Chosen(source=source, configuration=configuration, version=version)


def _status(reason: str, *messages: str, ready: bool = False) -> NetworkStatus:
    return NetworkStatus(ready=ready, reason=reason, message="; ".join(messages))
