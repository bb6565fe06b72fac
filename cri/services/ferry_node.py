"""`ferry.v1.Node`: what ferry's own command line asks beside CRI."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from cri.api.ferry.v1 import node_pb2, node_pb2_grpc
from cri.services.cri_image import stages
from cri.services.validation import check
from runtime import blocking
from runtime.doctor import Finding, Grade
from runtime.operations import Operation, Operations, current
from store.images import Credentials, ImagePuller, Progress, Report, UnpackedImage

_GRADES = {
    Grade.OK: node_pb2.Finding.OK,
    Grade.LIMITED: node_pb2.Finding.LIMITED,
    Grade.BROKEN: node_pb2.Finding.BROKEN,
}


class NodeService(node_pb2_grpc.NodeServicer):
    """Answers from memory, but for Pull.

    Args:
        operations: those of this daemon.
        images: where Pull pulls.
        examine: gathers the findings for Doctor.
        namespace: the namespace of requests that name none.
    """

    def __init__(
        self,
        operations: Operations,
        images: ImagePuller,
        examine: Callable[[], Awaitable[list[Finding]]],
        namespace: str,
    ) -> None:
        self._operations = operations
        self._images = images
        self._examine = examine
        self._namespace = namespace

    async def Operations(
        self, request: node_pb2.OperationsRequest, context: object
    ) -> node_pb2.OperationsResponse:
        """List what is in flight."""
        del request, context
        return node_pb2.OperationsResponse(
            operations=map(_operation, self._operations.list()),
            stuck_calls=blocking.stuck(),
        )

    async def Pull(
        self, request: node_pb2.PullRequest, context: object
    ) -> AsyncIterator[node_pb2.PullProgress]:
        """Pull, telling how far each part is; a slow reader sees only the newest of each."""
        del context
        check(request)
        news = News()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pull(request, news))
            while not news.outcome.done():
                await news.wake.wait()
                for progress in news.take():
                    yield _progress(progress)
        image = news.outcome.result()
        yield node_pb2.PullProgress(stage="done", item=request.reference, image_id=image.id)

    async def Doctor(
        self, request: node_pb2.DoctorRequest, context: object
    ) -> node_pb2.DoctorResponse:
        """Return every finding."""
        del request, context
        return node_pb2.DoctorResponse(
            findings=[
                node_pb2.Finding(
                    subject=finding.subject,
                    grade=_GRADES[finding.grade],
                    text=finding.text,
                    mend=finding.mend,
                )
                for finding in await self._examine()
            ]
        )

    async def _pull(self, request: node_pb2.PullRequest, news: "News") -> None:
        credentials = Credentials(username=request.username, password=request.password)
        try:
            image = await self._images.pull(
                request.namespace or self._namespace,
                request.reference,
                credentials=credentials if request.username else None,
                report=_both(news.put, stages(current())),
            )
        except Exception as error:  # noqa: BLE001 - raised by the RPC, once the stream is read
            news.outcome.set_exception(error)
        else:
            news.outcome.set_result(image)
        news.wake.set()


class News:
    """The newest of each item's stages since the last look, and in the end the outcome."""

    def __init__(self) -> None:
        self.outcome: asyncio.Future[UnpackedImage] = asyncio.get_running_loop().create_future()
        self.wake = asyncio.Event()
        self._fresh: dict[tuple[str, str], Progress] = {}

    def put(self, progress: Progress) -> None:
        """Take news of an item, instead of older ones that nobody has taken."""
        self._fresh[progress.stage, progress.item] = progress
        self.wake.set()

    def take(self) -> list[Progress]:
        """Return what is new since the last time; `wake` stays set once there is an outcome."""
        self.wake.clear()
        fresh, self._fresh = self._fresh, {}
        if self.outcome.done():
            self.wake.set()
        return list(fresh.values())


def _both(one: Report, other: Report | None) -> Report:
    if other is None:
        return one

    def report(progress: Progress) -> None:
        one(progress)
        other(progress)

    return report


def _operation(operation: Operation) -> node_pb2.Operation:
    return node_pb2.Operation(
        number=operation.number,
        kind=operation.kind,
        subject=operation.subject,
        age_seconds=operation.age,
        where=operation.where(),
        stages=[
            node_pb2.Stage(
                name=stage.name,
                subject=stage.subject,
                milliseconds=((stage.ended or operation.clock()) - stage.began) * 1000,
            )
            for stage in operation.stages
        ],
    )


def _progress(progress: Progress) -> node_pb2.PullProgress:
    return node_pb2.PullProgress(
        stage=progress.stage, item=progress.item, done=progress.done, total=progress.total
    )
