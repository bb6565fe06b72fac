"""Containers of pods: create, start, stop, remove, status, lists, limits, logs, exec."""

import json
from collections.abc import AsyncIterator
from typing import Final

from cri.api.runtime.v1 import api_pb2 as pb
from cri.api.runtime.v1 import api_pb2_grpc
from cri.convert.container import (
    container_config_from,
    container_filter_from,
    container_status_to,
    container_to,
)
from cri.convert.resources import resources_from
from cri.services.node import Node
from cri.services.serialised import MAX_UNARY, Serialised, chunks
from cri.services.validation import check
from runtime.oci import ExecOutput
from runtime.pods import Containers, ContainerStatus, Filter
from runtime.spec import Json
from store.errors import NotFoundError

_EVERYTHING: Final = Filter()

_Listed = tuple[list[ContainerStatus], bool]

# What a message's tags and lengths take beside the output itself, generously.
_FRAME: Final = 1024


def container_records() -> Serialised[ContainerStatus]:
    """Return an empty cache of what lists show of containers."""
    return Serialised(
        lambda status: status.id,
        lambda status: (status.container, status.state, status.created_at),
        container_to,
    )


class ContainerCalls(api_pb2_grpc.RuntimeServiceServicer):
    """CreateContainer to ExecSync."""

    _namespace: str
    _node: Node
    _containers: Containers
    _container_records: Serialised[ContainerStatus]

    async def CreateContainer(
        self, request: pb.CreateContainerRequest, context: object
    ) -> pb.CreateContainerResponse:
        """Make a container in a sandbox; it does not run yet."""
        check(request)
        config = self._node.defaults.container(container_config_from(request.config))
        id_ = await self._containers.create(self._namespace, request.pod_sandbox_id, config)
        return pb.CreateContainerResponse(container_id=id_)

    async def StartContainer(
        self, request: pb.StartContainerRequest, context: object
    ) -> pb.StartContainerResponse:
        """Run a created container."""
        check(request)
        await self._containers.start(self._namespace, self._known(request.container_id))
        return pb.StartContainerResponse()

    async def StopContainer(
        self, request: pb.StopContainerRequest, context: object
    ) -> pb.StopContainerResponse:
        """Stop it within `timeout` seconds, then by force; an unknown id is stopped already."""
        check(request)
        id_ = self._whole(request.container_id)
        await self._containers.stop(self._namespace, id_, float(request.timeout))
        return pb.StopContainerResponse()

    async def RemoveContainer(
        self, request: pb.RemoveContainerRequest, context: object
    ) -> pb.RemoveContainerResponse:
        """Force it away, but for its logs; an unknown id is removed already."""
        check(request)
        await self._containers.remove(self._namespace, self._whole(request.container_id))
        return pb.RemoveContainerResponse()

    async def ContainerStatus(
        self, request: pb.ContainerStatusRequest, context: object
    ) -> pb.ContainerStatusResponse:
        """Tell all about one container; NOT_FOUND is "gone" to the kubelet."""
        check(request)
        status = self._containers.get(self._namespace, request.container_id)
        info = {"info": json.dumps(_info(status))} if request.verbose else {}
        return pb.ContainerStatusResponse(status=container_status_to(status), info=info)

    async def ListContainers(
        self, request: pb.ListContainersRequest, context: object
    ) -> pb.ListContainersResponse:
        """List as a message; the server registers `list_containers` in its place."""
        return pb.ListContainersResponse.FromString(await self.list_containers(request, context))

    async def list_containers(self, request: pb.ListContainersRequest, context: object) -> bytes:
        """List from memory, as the bytes of a ListContainersResponse."""
        check(request)
        found, complete = self._listed_containers(request.filter)
        return self._container_records.answer(found, "StreamContainers", complete=complete)

    async def StreamContainers(
        self, request: pb.StreamContainersRequest, context: object
    ) -> AsyncIterator[pb.StreamContainersResponse]:
        """List as messages; the server registers `stream_containers` in its place."""
        async for chunk in self.stream_containers(request, context):
            yield pb.StreamContainersResponse.FromString(chunk)

    async def stream_containers(
        self, request: pb.StreamContainersRequest, context: object
    ) -> AsyncIterator[bytes]:
        """List in chunks, as the bytes of StreamContainersResponses."""
        check(request)
        found, complete = self._listed_containers(request.filter)
        for chunk in chunks(self._container_records.records(found, complete=complete)):
            yield chunk

    def _listed_containers(self, message: pb.ContainerFilter) -> _Listed:
        """Return what matches, and whether that is all there is."""
        wanted = container_filter_from(message)
        return self._containers.list(self._namespace, wanted), wanted == _EVERYTHING

    async def UpdateContainerResources(
        self, request: pb.UpdateContainerResourcesRequest, context: object
    ) -> pb.UpdateContainerResourcesResponse:
        """Change limits, all of them or none."""
        check(request)
        id_ = self._known(request.container_id)
        await self._containers.update(self._namespace, id_, resources_from(request.linux))
        return pb.UpdateContainerResourcesResponse()

    async def ReopenContainerLog(
        self, request: pb.ReopenContainerLogRequest, context: object
    ) -> pb.ReopenContainerLogResponse:
        """Return when a new log file is in use."""
        check(request)
        await self._containers.reopen_log(self._namespace, self._known(request.container_id))
        return pb.ReopenContainerLogResponse()

    async def ExecSync(self, request: pb.ExecSyncRequest, context: object) -> pb.ExecSyncResponse:
        """Run a program; an exit code other than 0 is an answer, a timeout is an error."""
        check(request)
        id_ = self._known(request.container_id)
        argv = tuple(request.cmd)
        output = fitted(
            await self._containers.exec_sync(self._namespace, id_, argv, float(request.timeout))
        )
        return pb.ExecSyncResponse(
            stdout=output.stdout, stderr=output.stderr, exit_code=output.exit_code
        )

    def _known(self, id_: str) -> str:
        """Return the whole id of a container, or raise NotFoundError."""
        return self._containers.get(self._namespace, id_).id

    def _whole(self, id_: str) -> str:
        """Return the whole id of a shortened one; what is unknown stays as it is."""
        try:
            return self._known(id_)
        except NotFoundError:
            return id_


def fitted(output: ExecOutput, limit: int = MAX_UNARY - _FRAME) -> ExecOutput:
    """Return the output cut to what one message may hold, in bytes; half of it for each stream.

    A stream that needs less than its half leaves the rest to the other.
    """
    stdout = output.stdout[: max(limit // 2, limit - len(output.stderr))]
    stderr = output.stderr[: limit - len(stdout)]
    return ExecOutput(stdout=stdout, stderr=stderr, exit_code=output.exit_code)


def _info(status: ContainerStatus) -> Json:
    container = status.container
    return {
        "containerID": status.id,
        "sandboxID": container.sandbox_id,
        "pid": status.pid,
        "state": status.state.value,
        "imageID": container.image_id,
        "imageRef": container.image_ref,
        "logPath": container.log_path,
        "stopSignal": container.stop_signal,
        "privileged": container.config.security.privileged,
        "damage": container.damage,
    }
