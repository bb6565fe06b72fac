"""Pod sandboxes: run, stop, remove, status, lists."""

import json
import time
from collections.abc import AsyncIterator
from typing import Final, cast

import msgspec

from cri.api.runtime.v1 import api_pb2 as pb
from cri.api.runtime.v1 import api_pb2_grpc
from cri.convert.container import container_status_to
from cri.convert.resources import resources_from
from cri.convert.sandbox import (
    sandbox_config_from,
    sandbox_filter_from,
    sandbox_status_to,
    sandbox_to,
)
from cri.services.node import Node
from cri.services.serialised import Serialised, chunks
from cri.services.validation import check
from runtime.pods import Containers, Filter, Sandbox, Sandboxes
from runtime.spec import Json, Resources
from store.errors import NotFoundError

_EVERYTHING: Final = Filter()


def sandbox_records() -> Serialised[Sandbox]:
    """Return an empty cache of what lists show of sandboxes."""
    return Serialised(lambda sandbox: sandbox.id, lambda sandbox: (sandbox,), sandbox_to)


class SandboxCalls(api_pb2_grpc.RuntimeServiceServicer):
    """RunPodSandbox to StreamPodSandboxes."""

    _namespace: str
    _node: Node
    _sandboxes: Sandboxes
    _containers: Containers
    _sandbox_records: Serialised[Sandbox]

    async def RunPodSandbox(
        self, request: pb.RunPodSandboxRequest, context: object
    ) -> pb.RunPodSandboxResponse:
        """Make a sandbox that is READY, or leave nothing behind."""
        check(request)
        config = self._node.defaults.sandbox(sandbox_config_from(request.config))
        id_ = await self._sandboxes.run(self._namespace, config, request.runtime_handler)
        return pb.RunPodSandboxResponse(pod_sandbox_id=id_)

    async def StopPodSandbox(
        self, request: pb.StopPodSandboxRequest, context: object
    ) -> pb.StopPodSandboxResponse:
        """Stop all of it; an unknown id is stopped already."""
        check(request)
        await self._sandboxes.stop(self._namespace, self._sandbox_id(request.pod_sandbox_id))
        return pb.StopPodSandboxResponse()

    async def RemovePodSandbox(
        self, request: pb.RemovePodSandboxRequest, context: object
    ) -> pb.RemovePodSandboxResponse:
        """Remove all of it; an unknown id is removed already."""
        check(request)
        await self._sandboxes.remove(self._namespace, self._sandbox_id(request.pod_sandbox_id))
        return pb.RemovePodSandboxResponse()

    def _sandbox_id(self, id_: str) -> str:
        """Return the whole id of a shortened one; what is unknown stays as it is."""
        try:
            return self._sandboxes.get(self._namespace, id_).id
        except NotFoundError:
            return id_

    async def PodSandboxStatus(
        self, request: pb.PodSandboxStatusRequest, context: object
    ) -> pb.PodSandboxStatusResponse:
        """Tell all about one sandbox; NOT_FOUND is "gone" to the kubelet."""
        check(request)
        sandbox = self._sandboxes.get(self._namespace, request.pod_sandbox_id)
        containers = self._containers.list(self._namespace, Filter(sandbox_id=sandbox.id))
        info = {"info": json.dumps(_info(sandbox))} if request.verbose else {}
        return pb.PodSandboxStatusResponse(
            status=sandbox_status_to(sandbox),
            info=info,
            containers_statuses=[container_status_to(status) for status in containers],
            timestamp=time.time_ns(),
        )

    async def UpdatePodSandboxResources(
        self, request: pb.UpdatePodSandboxResourcesRequest, context: object
    ) -> pb.UpdatePodSandboxResourcesResponse:
        """Agree to new limits of a pod, whose cgroup the kubelet writes, or refuse them all."""
        check(request)
        await self._sandboxes.resize(
            self._namespace,
            request.pod_sandbox_id,
            overhead=resources_from(request.overhead) if request.HasField("overhead") else None,
            resources=resources_from(request.resources) if request.HasField("resources") else None,
        )
        return pb.UpdatePodSandboxResourcesResponse()

    async def ListPodSandbox(
        self, request: pb.ListPodSandboxRequest, context: object
    ) -> pb.ListPodSandboxResponse:
        """List as a message; the server registers `list_pod_sandbox` in its place."""
        return pb.ListPodSandboxResponse.FromString(await self.list_pod_sandbox(request, context))

    async def list_pod_sandbox(self, request: pb.ListPodSandboxRequest, context: object) -> bytes:
        """List from memory, as the bytes of a ListPodSandboxResponse."""
        check(request)
        found, complete = self._listed_sandboxes(request.filter)
        return self._sandbox_records.answer(found, "StreamPodSandboxes", complete=complete)

    async def StreamPodSandboxes(
        self, request: pb.StreamPodSandboxesRequest, context: object
    ) -> AsyncIterator[pb.StreamPodSandboxesResponse]:
        """List as messages; the server registers `stream_pod_sandboxes` in its place."""
        async for chunk in self.stream_pod_sandboxes(request, context):
            yield pb.StreamPodSandboxesResponse.FromString(chunk)

    async def stream_pod_sandboxes(
        self, request: pb.StreamPodSandboxesRequest, context: object
    ) -> AsyncIterator[bytes]:
        """List in chunks, as the bytes of StreamPodSandboxesResponses."""
        check(request)
        found, complete = self._listed_sandboxes(request.filter)
        for chunk in chunks(self._sandbox_records.records(found, complete=complete)):
            yield chunk

    def _listed_sandboxes(self, message: pb.PodSandboxFilter) -> tuple[list[Sandbox], bool]:
        """Return what matches, and whether that is all there is."""
        wanted = sandbox_filter_from(message)
        return self._sandboxes.list(self._namespace, wanted), wanted == _EVERYTHING


def _info(sandbox: Sandbox) -> Json:
    return {
        "sandboxID": sandbox.id,
        "runtimeHandler": sandbox.handler,
        "state": sandbox.state.value,
        "reason": sandbox.reason,
        "pid": sandbox.holder_pid,
        "cgroup": sandbox.cgroup,
        "addresses": list(sandbox.addresses),
        "createdAt": sandbox.created_at,
        "stoppedAt": sandbox.stopped_at,
        "bootID": sandbox.boot_id,
        "overhead": _limits(sandbox.overhead or sandbox.config.overhead),
        "resources": _limits(sandbox.resources or sandbox.config.resources),
    }


def _limits(resources: Resources) -> Json:
    """Return the limits that are set, by ferry's own names."""
    found = cast("dict[str, Json]", msgspec.to_builtins(resources))
    return {name: value for name, value in found.items() if value}
