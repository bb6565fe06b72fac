"""The verbs of CNI over a chain of plugins."""

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from runtime.network.cni import (
    VERSIONS,
    Call,
    Chosen,
    Configuration,
    Plugin,
    Plugins,
    Target,
    Verb,
    requests,
    results,
    since,
)
from runtime.network.cni.ledger import CniPod
from runtime.network.cni.results import Result
from store.errors import Error, FailedPreconditionError

_log = logging.getLogger(__name__)

# What came with which version.
_CHECK: Final = "0.4.0"
_RESULT_TO_DELETE: Final = "0.4.0"
_COLLECT: Final = "1.1.0"
_STATUS: Final = "1.1.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pass:
    """One way through the chain of a pod."""

    purpose: str
    verb: Verb
    sandbox_id: str
    pod: CniPod

    def call(self, plugin: Plugin, previous: str) -> Call:
        """Return what starts one of its plugins."""
        pod = self.pod
        return Call(
            plugin=plugin.type,
            verb=self.verb,
            document=requests.document(
                pod.network, pod.version, plugin, pod.capabilities, previous
            ),
            purpose=self.purpose,
            target=Target(container_id=self.sandbox_id, netns=pod.netns, arguments=pod.arguments),
        )


@dataclass(frozen=True, slots=True)
class Chain:
    """Runs chains of `plugins`."""

    plugins: Plugins

    async def add(self, sandbox_id: str, pod: CniPod) -> Result:
        """Connect a pod: every plugin gets the result of the one before it.

        Raises:
            Error: a plugin failed, or there is no address; what was done is the caller's to undo.
        """
        purpose = f"connect sandbox {sandbox_id}"
        way = _Pass(purpose=purpose, verb=Verb.ADD, sandbox_id=sandbox_id, pod=pod)
        result = Result()
        for plugin in pod.plugins:
            call = way.call(plugin, result.document)
            result = results.result(call, pod.version, await self.plugins.call(call))
        if not result.addresses:
            chain = ", ".join(plugin.type for plugin in pod.plugins)
            raise Error(
                f"cannot connect sandbox {sandbox_id}: plugin {chain} ADD: no address for the pod, "
                f"{results.quoted(result.document)}"
            )
        return result

    async def delete(self, sandbox_id: str, pod: CniPod) -> None:
        """Disconnect a pod: in reverse, each plugin although others fail.

        Raises:
            Error: the first failure.
        """
        known = pod.result if since(pod.version, _RESULT_TO_DELETE) else ""
        purpose = f"disconnect sandbox {sandbox_id}"
        way = _Pass(purpose=purpose, verb=Verb.DEL, sandbox_id=sandbox_id, pod=pod)
        await self._every(way.call(plugin, known) for plugin in reversed(pod.plugins))

    async def check(self, sandbox_id: str, pod: CniPod) -> None:
        """Ask every plugin whether a pod is still connected as it was.

        Raises:
            Error: one says no.
        """
        if not pod.checks or not since(pod.version, _CHECK):
            return
        purpose = f"rely on the network of sandbox {sandbox_id}"
        way = _Pass(purpose=purpose, verb=Verb.CHECK, sandbox_id=sandbox_id, pod=pod)
        for plugin in pod.plugins:
            await self.plugins.call(way.call(plugin, pod.result))

    async def status(self, chosen: Chosen) -> None:
        """Ask every plugin whether it can take pods.

        Raises:
            Error: one says no.
        """
        if since(chosen.version, _STATUS):
            for call in _calls("connect pods", Verb.STATUS, chosen, requests.document):
                await self.plugins.call(call)

    async def collect(self, chosen: Chosen, valid: Sequence[str]) -> None:
        """Have every plugin free what belongs to no sandbox of `valid`; nothing else may run.

        Raises:
            Error: the first failure.
        """
        if not chosen.configuration.collects or not since(chosen.version, _COLLECT):
            return

        def document(network: str, version: str, plugin: Plugin) -> str:
            return requests.collection(network, version, plugin, valid)

        await self._every(_calls("free what no pod has", Verb.GC, chosen, document))

    async def negotiate(self, configuration: Configuration) -> str:
        """Return the newest version that the configuration and all plugins speak.

        A plugin that does not answer, as some scripts, is taken to speak what it is asked.

        Raises:
            FailedPreconditionError: there is none.
        """
        common = list(configuration.versions)
        for name in dict.fromkeys(plugin.type for plugin in configuration.plugins):
            spoken = await self._versions(name)
            common = [version for version in common if not spoken or version in spoken]
            if not common:
                raise FailedPreconditionError(
                    f"plugin {name} speaks {', '.join(spoken)}, the configuration "
                    f"{', '.join(configuration.versions)}"
                )
        return common[-1]

    async def _versions(self, name: str) -> tuple[str, ...]:
        call = Call(
            plugin=name,
            verb=Verb.VERSION,
            document=json.dumps({"cniVersion": VERSIONS[-1]}),
            purpose="ask for versions",
        )
        try:
            return results.versions(call, await self.plugins.call(call))
        except Error as error:
            _log.warning("%s", error)
            return ()

    async def _every(self, calls: Iterable[Call]) -> None:
        first: Error | None = None
        for call in calls:
            try:
                await self.plugins.call(call)
            except Error as error:
                first = first or error
        if first is not None:
            raise first


def _calls(
    purpose: str, verb: Verb, chosen: Chosen, document: Callable[[str, str, Plugin], str]
) -> list[Call]:
    configuration = chosen.configuration
    return [
        Call(
            plugin=plugin.type,
            verb=verb,
            document=document(configuration.name, chosen.version, plugin),
            purpose=purpose,
        )
        for plugin in configuration.plugins
    ]
