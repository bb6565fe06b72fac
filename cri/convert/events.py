"""Events of pods and containers."""

from typing import Final

from cri.api.runtime.v1 import api_pb2 as pb
from cri.convert.container import container_status_to
from cri.convert.sandbox import sandbox_status_to
from runtime.pods import EventKind, PodEvent

_KINDS: Final = {
    EventKind.CREATED: pb.CONTAINER_CREATED_EVENT,
    EventKind.STARTED: pb.CONTAINER_STARTED_EVENT,
    EventKind.STOPPED: pb.CONTAINER_STOPPED_EVENT,
    EventKind.DELETED: pb.CONTAINER_DELETED_EVENT,
}


def event_to(event: PodEvent) -> pb.ContainerEventResponse:
    """Return an event with the whole pod as it was right after it."""
    return pb.ContainerEventResponse(
        container_id=event.id,
        container_event_type=_KINDS[event.kind],
        created_at=event.at,
        pod_sandbox_status=sandbox_status_to(event.sandbox),
        containers_statuses=[container_status_to(status) for status in event.containers],
    )
