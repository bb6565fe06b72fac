"""RPCs that this version of ferry does not have; clients fall back on UNIMPLEMENTED.

They are written out so that the type checker tells when CRI gets a new one.
"""

from typing import NoReturn

from cri.api.runtime.v1 import api_pb2 as pb
from cri.api.runtime.v1 import api_pb2_grpc
from store.errors import UnimplementedError


def _refuse(rpc: str, instead: str) -> NoReturn:
    raise UnimplementedError(f"cannot serve {rpc}: ferry does not have it yet; {instead}")


_CHECKPOINT = "no handler can checkpoint"


class LaterCalls(api_pb2_grpc.RuntimeServiceServicer):
    """Checkpoints."""

    async def CheckpointContainer(
        self, request: pb.CheckpointContainerRequest, context: object
    ) -> pb.CheckpointContainerResponse:
        """Refuse."""
        _refuse("CheckpointContainer", _CHECKPOINT)

    async def CheckpointPod(
        self, request: pb.CheckpointPodRequest, context: object
    ) -> pb.CheckpointPodResponse:
        """Refuse."""
        _refuse("CheckpointPod", _CHECKPOINT)

    async def RestorePod(
        self, request: pb.RestorePodRequest, context: object
    ) -> pb.RestorePodResponse:
        """Refuse."""
        _refuse("RestorePod", _CHECKPOINT)
