import pytest

from cri.api.runtime.v1 import api_pb2 as pb
from cri.convert.container import container_status_to
from cri.convert.events import event_to
from cri.convert.sandbox import sandbox_status_to
from runtime.pods import EventKind, PodEvent
from tests.usage import SANDBOX, STATUS


def test_an_event_has_the_whole_pod() -> None:
    event = PodEvent(kind=EventKind.STARTED, id="c1", at=9, sandbox=SANDBOX, containers=(STATUS,))
    assert event_to(event) == pb.ContainerEventResponse(
        container_id="c1",
        container_event_type=pb.CONTAINER_STARTED_EVENT,
        created_at=9,
        pod_sandbox_status=sandbox_status_to(SANDBOX),
        containers_statuses=[container_status_to(STATUS)],
    )


@pytest.mark.parametrize("kind", EventKind)
def test_every_kind_has_a_number(kind: EventKind) -> None:
    number = event_to(PodEvent(kind=kind, id="s1", at=1, sandbox=SANDBOX)).container_event_type
    assert pb.ContainerEventType.Name(number) == f"CONTAINER_{kind.name}_EVENT"
