"""What happens to pods and containers, told to whoever listens."""

from collections.abc import AsyncIterator

from cri.api.runtime.v1 import api_pb2 as pb
from cri.api.runtime.v1 import api_pb2_grpc
from cri.convert.events import event_to
from cri.services.validation import check
from runtime import operations
from runtime.pods import PodEvents


class EventCalls(api_pb2_grpc.RuntimeServiceServicer):
    """GetContainerEvents."""

    _namespace: str
    _events: PodEvents

    async def GetContainerEvents(
        self, request: pb.GetEventsRequest, context: object
    ) -> AsyncIterator[pb.ContainerEventResponse]:
        """Send every event from now on; RESOURCE_EXHAUSTED tells a client that it missed some."""
        check(request)
        events = self._events.listen(self._namespace)
        operations.endless("listen", "events")
        async for event in events:
            yield event_to(event)
