"""A pod from its first call to its last, as the kubelet sees it."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from grpc import StatusCode, aio

from cri.api.runtime.v1 import api_pb2 as pb
from e2e.client import Client, Container, Pod, code, eventually_logged, get, log_lines
from e2e.images import BUSYBOX, NGINX, WEB

pytestmark = pytest.mark.root

READY = pb.PodSandboxState.Value("SANDBOX_READY")
NOTREADY = pb.PodSandboxState.Value("SANDBOX_NOTREADY")
CREATED = pb.ContainerState.Value("CONTAINER_CREATED")
RUNNING = pb.ContainerState.Value("CONTAINER_RUNNING")

Images = Mapping[str, str]


async def test_a_life_from_run_to_removal(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    pod = Pod(name="life", logs=logs, labels={"app": "x"}, annotations={"note": "a\nb"})
    running = await cri.run_pod(pod, handler)
    sandbox = await cri.pod_status(running.id)
    assert sandbox.state == READY
    assert sandbox.runtime_handler == handler
    assert sandbox.network.ip.startswith("10.")
    assert sandbox.metadata == running.config.metadata
    assert dict(sandbox.labels) == dict(running.config.labels)
    assert dict(sandbox.annotations) == dict(running.config.annotations)

    main = Container(name="main", image=images[BUSYBOX], command=["top", "-b", "-d", "3600"])
    container = await cri.create(running, main)
    status = await cri.status(container)
    assert status.state == CREATED
    assert status.created_at > sandbox.created_at
    assert status.started_at == 0
    await cri.start(container)
    status = await cri.status(container)
    assert status.state == RUNNING
    assert status.started_at >= status.created_at
    assert status.image_id == images[BUSYBOX]
    assert status.metadata == pb.ContainerMetadata(name="main")
    assert status.log_path == str(pod.log_directory / "main/0.log")
    assert dict(status.labels) == dict(main.config(pod).labels)
    assert dict(status.annotations) == dict(main.config(pod).annotations)
    assert await cri.output(container, "hostname") == "life"

    await cri.stop(container)
    status = await cri.exited(container)
    assert (status.exit_code, status.reason) == (137, "Error")
    assert status.finished_at >= status.started_at
    await cri.remove(container)
    with pytest.raises(aio.AioRpcError) as gone:
        await cri.status(container)
    assert code(gone.value) is StatusCode.NOT_FOUND

    await cri.stop_pod(running.id)
    sandbox = await cri.pod_status(running.id)
    assert sandbox.state == NOTREADY
    await cri.remove_pod(running.id)
    with pytest.raises(aio.AioRpcError) as gone:
        await cri.pod_status(running.id)
    assert code(gone.value) is StatusCode.NOT_FOUND
    assert await cri.list_pods() == []
    assert pod.log_directory.is_dir()  # logs are the kubelet's to remove


@pytest.mark.parametrize(
    ("script", "exit_code", "reason"),
    [("exit 0", 0, "Completed"), ("exit 3", 3, "Error"), ("kill -9 $$; sleep 9", 137, "Error")],
)
async def test_how_a_container_ends(
    cri: Client,
    images: Images,
    handler: str,
    logs: Path,
    script: str,
    exit_code: int,
    reason: str,
) -> None:
    async with cri.pod(Pod(name="ends", logs=logs), handler) as running:
        command = ["sh", "-c", "sh -c '" + script + "'; exit $?"]
        container = await cri.run(
            running, Container(name="main", image=images[BUSYBOX], command=command)
        )
        status = await cri.exited(container)
        assert (status.exit_code, status.reason) == (exit_code, reason)


async def test_a_program_that_is_not_there_says_so(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    async with cri.pod(Pod(name="missing", logs=logs), handler) as running:
        main = Container(name="main", image=images[BUSYBOX], command=["/no/such/program"])
        container = await cri.create(running, main)
        with pytest.raises(aio.AioRpcError, match="/no/such/program"):
            await cri.start(container)
        status = await cri.exited(container)
        assert status.reason in {"ContainerCannotRun", "StartError"}
        assert status.exit_code != 0
        assert "/no/such/program" in status.message


async def test_a_stop_signal_comes_before_the_kill(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    async with cri.pod(Pod(name="signals", logs=logs), handler) as running:
        trap = "trap 'echo got TERM; exit 7' TERM; echo ready; while :; do sleep 0.05; done"
        main = Container(name="main", image=images[BUSYBOX], command=["sh", "-c", trap])
        container = await cri.run(running, main)
        await eventually_logged(running.pod, "main", "ready")
        await cri.stop(container, timeout=20)
        status = await cri.exited(container)
        assert status.exit_code == 7
        log = log_lines(running.pod.log_directory / "main/0.log")
        assert ("stdout", "F", "got TERM") in log


async def test_the_image_names_the_stop_signal(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    async with cri.pod(Pod(name="quit", logs=logs), handler) as running:
        container = await cri.run(running, Container(name="main", image=images[NGINX]))
        address = (await cri.pod_status(running.id)).network.ip
        assert await get(address, 80) == "nginx\n"
        await cri.stop(container, timeout=20)
        assert (await cri.exited(container)).exit_code == 0  # SIGTERM would be 0, too, but faster


async def test_a_shorter_stop_shortens_the_first(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    async with cri.pod(Pod(name="shorter", logs=logs), handler) as running:
        stubborn = Container(
            name="main", image=images[BUSYBOX], command=["sh", "-c", "trap '' TERM; sleep 600"]
        )
        container = await cri.run(running, stubborn)
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            first = group.create_task(cri.stop(container, timeout=600))
            await asyncio.sleep(0.3)  # until the first is under way
            group.create_task(cri.stop(container, timeout=0))
        assert first.done()
        assert (await cri.exited(container)).exit_code == 137


async def test_containers_of_a_pod_and_the_host_reach_each_other(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    async with cri.pod(Pod(name="reach", logs=logs), handler) as running:
        await cri.run(running, Container(name="web", image=images[WEB]))
        tool = await cri.run(
            running, Container(name="tool", image=images[BUSYBOX], command=["sleep", "600"])
        )
        await eventually_logged(running.pod, "web", "listening 8080")
        inside = await cri.output(tool, "wget", "-qO-", "http://127.0.0.1:8080/in")
        assert inside == "reach /in"
        address = (await cri.pod_status(running.id)).network.ip
        assert await get(address, 8080, "/out") == "reach /out\n"
        gateway = await cri.output(tool, "sh", "-c", "ip route | awk '/default/ {print $3}'")
        server = await asyncio.start_server(answer, gateway, 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            code_, output, _ = await cri.exec(tool, "wget", "-qO-", f"http://{gateway}:{port}/")
        assert (code_, output) == (0, b"host\n")


async def test_pods_reach_each_other(cri: Client, images: Images, logs: Path) -> None:
    one, two = Pod(name="one", logs=logs), Pod(name="two", logs=logs)
    async with cri.pod(one, "crun") as first, cri.pod(two, "runc") as second:
        await cri.run(first, Container(name="web", image=images[WEB]))
        tool = await cri.run(
            second, Container(name="tool", image=images[BUSYBOX], command=["sleep", "600"])
        )
        await eventually_logged(first.pod, "web", "listening 8080")
        address = (await cri.pod_status(first.id)).network.ip
        assert await cri.output(tool, "wget", "-qO-", f"http://{address}:8080/x") == "one /x"


async def test_removing_a_pod_takes_running_containers_along(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    running = await cri.run_pod(Pod(name="force", logs=logs), handler)
    sleeper = Container(name="main", image=images[BUSYBOX], command=["sleep", "600"])
    container = await cri.run(running, sleeper)
    await cri.remove_pod(running.id)
    assert await cri.list() == []
    assert await cri.list_pods() == []
    await cri.remove(container)  # unknown by now, and no error


async def test_a_stopped_pod_takes_no_containers(
    cri: Client, images: Images, handler: str, logs: Path
) -> None:
    running = await cri.run_pod(Pod(name="stopped", logs=logs), handler)
    await cri.stop_pod(running.id)
    with pytest.raises(aio.AioRpcError):
        await cri.create(running, Container(name="main", image=images[BUSYBOX]))
    await cri.remove_pod(running.id)


async def test_calls_about_what_is_gone_succeed(cri: Client) -> None:
    unknown = "0" * 64
    await cri.stop(unknown)
    await cri.remove(unknown)
    await cri.stop_pod(unknown)
    await cri.remove_pod(unknown)


async def test_an_unknown_handler_is_refused(cri: Client, logs: Path) -> None:
    with pytest.raises(aio.AioRpcError, match="no-such-handler"):
        await cri.run_pod(Pod(name="handler", logs=logs), "no-such-handler")


async def test_a_name_is_taken_until_its_pod_is_removed(
    cri: Client, images: Images, logs: Path
) -> None:
    pod = Pod(name="taken", logs=logs)
    running = await cri.run_pod(pod)
    other = pod.config()
    other.hostname = "another"
    with pytest.raises(aio.AioRpcError):
        await cri.run_pod(pod, config=other)
    await cri.stop_pod(running.id)
    await cri.remove_pod(running.id)
    again = await cri.run_pod(pod)
    assert again.id != running.id
    await cri.remove_pod(again.id)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhost\n")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
