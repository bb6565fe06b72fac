from pathlib import Path

import grpc.aio
import pytest
from grpc import StatusCode

from cri import server
from cri.cli.client import connect
from cri.cli.daemon import Daemon, opened
from cri.cli.requests import Wish, container_config, pod_config
from runtime.doctor import Finding, Grade
from store.errors import (
    DeadlineExceededError,
    Error,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
    UnimplementedError,
)
from tests.serving import Parts

WISH = Wish(image="example.org/a:1", name="one")


async def test_a_pods_life(daemon: Daemon, parts: Parts) -> None:
    pod = pod_config(WISH)
    sandbox = await daemon.run_pod(pod, "runc")
    (listed,) = await daemon.pods()
    assert (listed.id, listed.runtime_handler, listed.metadata) == (sandbox, "runc", pod.metadata)
    container = await daemon.create(sandbox, container_config(WISH), pod)
    await daemon.start(container)
    assert [each.id for each in await daemon.containers()] == [container]
    answer = await daemon.execute(container, ["false", "x"], 0)
    assert (answer.stdout, answer.exit_code) == (b"false x", 3)
    await daemon.stop(container, 30)
    assert parts.containers.calls == [("stop", container, "30")]
    assert (await daemon.container(container)).exit_code == 137
    await daemon.remove_pod(sandbox)
    assert parts.sandboxes.calls[-2:] == [("stop", sandbox), ("remove", sandbox)]
    assert await daemon.pods() == []


async def test_an_images_life(daemon: Daemon) -> None:
    told = [each async for each in daemon.pull("example.org/a:1", "u", "p")]
    (image,) = await daemon.images()
    assert told[-1].image_id == image.id
    found = await daemon.image("example.org/a:1")
    assert found == image
    await daemon.remove_image(image.id)
    assert await daemon.image(image.id) is None


async def test_what_is_said_of_the_node(daemon: Daemon, parts: Parts) -> None:
    parts.findings.append(Finding(subject="a", grade=Grade.LIMITED, text="b", mend="c"))
    assert await daemon.findings() == parts.findings
    assert await daemon.version() == "1.2.3"
    with parts.operations.begin("gc", "all"):
        answer = await daemon.operations()
    assert [(each.kind, each.subject) for each in answer.operations] == [("gc", "all")]


async def test_errors_are_ours_with_the_daemons_words(daemon: Daemon) -> None:
    with pytest.raises(NotFoundError, match="container nothing is not there"):
        await daemon.container("nothing")
    with pytest.raises(InvalidArgumentError, match="handler"):
        await daemon.run_pod(pod_config(WISH), "nothing")
    with pytest.raises(NotFoundError, match="the registry does not have it"):
        _ = [each async for each in daemon.pull("example.org/none")]


async def test_a_daemon_that_is_gone_is_said(tmp_path: Path) -> None:
    async with opened(f"{tmp_path}/none.sock") as daemon:
        with pytest.raises(UnavailableError, match=r"cannot reach the daemon at .*: nothing is"):
            await daemon.version()


async def test_another_server_is_told_from_ours(tmp_path: Path) -> None:
    stranger = server.make(())
    path = tmp_path / "other.sock"
    await server.listen(stranger, path)
    try:
        async with connect(str(path)) as daemon:
            with pytest.raises(UnimplementedError) as raised:
                await daemon.operations()
            with pytest.raises(UnimplementedError):
                _ = [each async for each in daemon.pull("a")]
    finally:
        await stranger.stop(0)
    assert str(raised.value).startswith(f"cannot Operations: what serves {path} does not know it (")
    assert str(raised.value).endswith("is it ferryd, and of this version?")


@pytest.mark.parametrize(
    ("code", "text", "kind", "told"),
    [
        (
            StatusCode.DEADLINE_EXCEEDED,
            "cannot finish X in time",
            DeadlineExceededError,
            "finish X",
        ),
        (
            StatusCode.DEADLINE_EXCEEDED,
            "Deadline Exceeded",
            DeadlineExceededError,
            "is silent; `systemctl kill -s USR1 ferryd` makes it log what it does",
        ),
        (StatusCode.FAILED_PRECONDITION, "pinned", FailedPreconditionError, "pinned"),
        (StatusCode.UNAVAILABLE, "Socket closed", UnavailableError, "Socket closed"),
        (StatusCode.INTERNAL, "", Error, "INTERNAL"),
    ],
)
async def test_codes_become_errors(
    daemon: Daemon, code: StatusCode, text: str, kind: type[Error], told: str
) -> None:
    nothing = grpc.aio.Metadata()
    error = grpc.aio.AioRpcError(code, nothing, nothing, details=text)
    found = daemon._translated(error, "Stop")
    assert type(found) is kind
    assert told in str(found)
