import asyncio
from pathlib import Path

import grpc.aio
import pytest
from grpc import StatusCode

from cri.api.ferry.v1 import node_pb2 as pb
from cri.services.ferry_node import News
from runtime import blocking
from runtime.doctor import Finding, Grade
from store.images import Credentials, Progress, Report, UnpackedImage
from tests.fakes.images import FakeImages
from tests.fakes.images import image as some_image
from tests.serving import Clients, Parts, serving
from tests.waiting import PATIENCE

NAME = "example.org/a:1"
ID = str(some_image(1, NAME).id)


class Held(FakeImages):
    """Pulls that report, and go on when the test lets them."""

    def __init__(self) -> None:
        super().__init__(some_image(1, NAME))
        self.begun = asyncio.Event()
        self.go = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def pull(
        self,
        namespace: str,
        reference: str,
        *,
        credentials: Credentials | None = None,
        report: Report | None = None,
    ) -> UnpackedImage:
        assert report is not None
        report(Progress(stage="resolve", item=reference))
        report(Progress(stage="download", item="sha256:1", done=5, total=10))
        self.begun.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return await super().pull(namespace, reference, credentials=credentials, report=report)


async def pulled(clients: Clients, request: pb.PullRequest) -> list[pb.PullProgress]:
    return [progress async for progress in clients.node.Pull(request)]


async def test_a_pull_tells_how_far_it_is_and_last_the_id(clients: Clients) -> None:
    told = await pulled(clients, pb.PullRequest(reference=NAME))
    assert told == [
        pb.PullProgress(stage="download", item="layer", done=5, total=10),
        pb.PullProgress(stage="done", item=NAME, image_id=ID),
    ]


async def test_credentials_and_namespace_arrive(clients: Clients, parts: Parts) -> None:
    request = pb.PullRequest(reference=NAME, username="u", password="p", namespace="other")
    await pulled(clients, request)
    assert parts.images.credentials == Credentials(username="u", password="p")
    assert list(parts.images.kept) == [("other", NAME)]


async def test_without_them_it_is_anonymous_and_cris(clients: Clients, parts: Parts) -> None:
    await pulled(clients, pb.PullRequest(reference=NAME))
    assert parts.images.credentials is None
    assert list(parts.images.kept) == [("k8s.io", NAME)]


@pytest.mark.parametrize(
    ("request_", "code", "words"),
    [
        (pb.PullRequest(), StatusCode.INVALID_ARGUMENT, "reference: must"),
        (pb.PullRequest(reference="a\nb"), StatusCode.INVALID_ARGUMENT, "reference: must"),
        (
            pb.PullRequest(reference=NAME, namespace="../x"),
            StatusCode.INVALID_ARGUMENT,
            "namespace: must",
        ),
        (
            pb.PullRequest(reference="example.org/none:1"),
            StatusCode.NOT_FOUND,
            "cannot pull example.org/none:1: the registry does not have it",
        ),
    ],
)
async def test_a_pull_that_cannot_be_says_why(
    clients: Clients, request_: pb.PullRequest, code: StatusCode, words: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await pulled(clients, request_)
    assert raised.value.code() is code
    assert words in str(raised.value.details())


async def test_a_pull_is_an_operation_with_its_stage(tmp_path: Path) -> None:
    images = Held()
    async with serving(Parts(images=images), tmp_path) as clients, asyncio.TaskGroup() as group:
        call = group.create_task(pulled(clients, pb.PullRequest(reference=NAME)))
        await images.begun.wait()
        answer = await clients.node.Operations(pb.OperationsRequest())
        first, itself = answer.operations
        assert (first.number, first.kind, first.subject) == (1, "Pull", NAME)
        assert [(each.name, each.subject) for each in first.stages] == [
            ("resolve", f"{NAME} (0 of 0 bytes)"),
            ("download", "sha256:1 (5 of 10 bytes)"),
        ]
        assert first.where.startswith("stage download for 0.")
        assert first.where.endswith("s: sha256:1 (5 of 10 bytes)")
        assert 0 < first.stages[1].milliseconds / 1000 <= first.age_seconds
        assert (itself.kind, list(itself.stages)) == ("Operations", [])
        images.go.set()
    assert [progress.stage for progress in call.result()] == [
        "resolve",
        "download",
        "download",
        "done",
    ]


async def test_who_goes_away_no_longer_pulls(tmp_path: Path) -> None:
    images = Held()
    async with serving(Parts(images=images), tmp_path) as clients:
        call = clients.node.Pull(pb.PullRequest(reference=NAME))
        assert (await anext(aiter(call))).stage == "resolve"
        call.cancel()
        async with asyncio.timeout(PATIENCE):
            await images.cancelled.wait()


async def test_a_slow_reader_gets_the_newest_of_each_item() -> None:
    news = News()
    for done in range(1000):
        news.put(Progress(stage="download", item="a", done=done))
        news.put(Progress(stage="unpack", item="b", done=done * 2))
    assert [(each.item, each.done) for each in news.take()] == [("a", 999), ("b", 1998)]
    assert news.take() == []
    assert not news.wake.is_set()
    news.outcome.set_result(some_image(1))
    news.take()
    assert news.wake.is_set()  # there is an outcome to be had


async def test_calls_that_hang_in_the_kernel_are_listed(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocking, "stuck", lambda: ["unmount /x for 9 s"])
    answer = await clients.node.Operations(pb.OperationsRequest())
    assert list(answer.stuck_calls) == ["unmount /x for 9 s"]


async def test_the_doctor_tells_every_finding(clients: Clients, parts: Parts) -> None:
    parts.findings += [
        Finding(subject="crun", grade=Grade.OK, text="1.28"),
        Finding(subject="criu", grade=Grade.LIMITED, text="missing", mend="install it"),
        Finding(subject="network", grade=Grade.BROKEN, text="NotSetUp"),
    ]
    answer = await clients.node.Doctor(pb.DoctorRequest())
    assert list(answer.findings) == [
        pb.Finding(subject="crun", grade=pb.Finding.OK, text="1.28"),
        pb.Finding(subject="criu", grade=pb.Finding.LIMITED, text="missing", mend="install it"),
        pb.Finding(subject="network", grade=pb.Finding.BROKEN, text="NotSetUp"),
    ]
