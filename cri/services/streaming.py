"""Exec, Attach, PortForward: URLs under which clients get their sessions."""

from cri.api.runtime.v1 import api_pb2 as pb
from cri.api.runtime.v1 import api_pb2_grpc
from cri.services.validation import check
from cri.streaming import PortForwardRequest, Urls
from runtime.io import AttachRequest, ExecRequest, Wanted
from runtime.pods import Containers, ContainerState, Sandboxes, SandboxState
from store.errors import FailedPreconditionError


class StreamingCalls(api_pb2_grpc.RuntimeServiceServicer):
    """What can be refused is refused here: a client that has a URL should get its session."""

    _namespace: str
    _sandboxes: Sandboxes
    _containers: Containers
    _urls: Urls

    async def Exec(self, request: pb.ExecRequest, context: object) -> pb.ExecResponse:
        """Return where to run a program with streams."""
        check(request)
        url = self._urls.url(
            ExecRequest(
                namespace=self._namespace,
                container_id=self._running("exec in", request.container_id),
                argv=tuple(request.cmd),
                wanted=_wanted(request),
            )
        )
        return pb.ExecResponse(url=url)

    async def Attach(self, request: pb.AttachRequest, context: object) -> pb.AttachResponse:
        """Return where to join a container's own streams."""
        check(request)
        url = self._urls.url(
            AttachRequest(
                namespace=self._namespace,
                container_id=self._running("attach to", request.container_id),
                wanted=_wanted(request),
            )
        )
        return pb.AttachResponse(url=url)

    async def PortForward(
        self, request: pb.PortForwardRequest, context: object
    ) -> pb.PortForwardResponse:
        """Return where to connect to a pod's ports."""
        check(request)
        sandbox = self._sandboxes.get(self._namespace, request.pod_sandbox_id)
        if sandbox.state is not SandboxState.READY:
            raise FailedPreconditionError(
                f"cannot forward ports to pod {sandbox.id}: it is {sandbox.state.value}"
            )
        url = self._urls.url(
            PortForwardRequest(
                namespace=self._namespace, sandbox_id=sandbox.id, ports=tuple(request.port)
            )
        )
        return pb.PortForwardResponse(url=url)

    def _running(self, what: str, id_: str) -> str:
        status = self._containers.get(self._namespace, id_)
        if status.state is not ContainerState.RUNNING:
            raise FailedPreconditionError(
                f"cannot {what} container {status.id}: it is {status.state.value}, not running"
            )
        return status.id


def _wanted(request: pb.ExecRequest | pb.AttachRequest) -> Wanted:
    return Wanted(
        stdin=request.stdin, stdout=request.stdout, stderr=request.stderr, terminal=request.tty
    )
