import pytest
from grpc import StatusCode

from cri.api.runtime.v1 import api_pb2 as pb
from cri.streaming import PortForwardRequest, Request
from runtime.io import AttachRequest, ExecRequest, Wanted
from tests.serving import Clients, Parts
from tests.unit.cri.services.test_containers import code, create, running, sandbox


def only(parts: Parts) -> Request:
    (request,) = parts.urls.requests
    return request


async def test_exec_asks_for_a_url_by_the_whole_id(clients: Clients, parts: Parts) -> None:
    id_ = await running(clients)
    request = pb.ExecRequest(
        container_id=id_[:8], cmd=["sh", "-c", "id"], stdin=True, stdout=True, tty=True
    )
    assert (await clients.runtime.Exec(request)).url == "http://127.0.0.1:1/1"
    assert only(parts) == ExecRequest(
        namespace="k8s.io",
        container_id=id_,
        argv=("sh", "-c", "id"),
        wanted=Wanted(stdin=True, stdout=True, terminal=True),
    )


async def test_attach_asks_for_a_url_by_the_whole_id(clients: Clients, parts: Parts) -> None:
    id_ = await running(clients)
    request = pb.AttachRequest(container_id=id_[:8], stdout=True, stderr=True)
    assert (await clients.runtime.Attach(request)).url == "http://127.0.0.1:1/1"
    assert only(parts) == AttachRequest(
        namespace="k8s.io", container_id=id_, wanted=Wanted(stdout=True, stderr=True)
    )


async def test_port_forward_asks_for_a_url_by_the_whole_id(clients: Clients, parts: Parts) -> None:
    id_ = await sandbox(clients)
    request = pb.PortForwardRequest(pod_sandbox_id=id_[:8], port=[80, 443])
    assert (await clients.runtime.PortForward(request)).url == "http://127.0.0.1:1/1"
    assert only(parts) == PortForwardRequest(namespace="k8s.io", sandbox_id=id_, ports=(80, 443))


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.ExecRequest(cmd=["x"], stdout=True), "container_id"),
        (pb.ExecRequest(container_id="c", stdout=True), "cmd"),
        (pb.AttachRequest(stdout=True), "container_id"),
        (pb.PortForwardRequest(), "pod_sandbox_id"),
    ],
)
async def test_what_is_missing_is_named(
    clients: Clients,
    parts: Parts,
    request_: pb.ExecRequest | pb.AttachRequest | pb.PortForwardRequest,
    field: str,
) -> None:
    status, text = await code(ask(clients, request_))
    assert status is StatusCode.INVALID_ARGUMENT
    assert field in text
    assert parts.urls.requests == []


@pytest.mark.parametrize(
    ("streams", "words"),
    [
        (pb.ExecRequest(stdout=True, stderr=True, tty=True), "tty and stderr"),
        (pb.ExecRequest(), "one of stdin, stdout and stderr"),
    ],
)
async def test_streams_must_make_sense(
    clients: Clients, streams: pb.ExecRequest, words: str
) -> None:
    streams.MergeFrom(pb.ExecRequest(container_id=await running(clients), cmd=["x"]))
    status, text = await code(clients.runtime.Exec(streams))
    assert status is StatusCode.INVALID_ARGUMENT
    assert words in text


async def test_who_is_unknown_is_not_found(clients: Clients) -> None:
    for request in (
        pb.ExecRequest(container_id="none", cmd=["x"], stdout=True),
        pb.AttachRequest(container_id="none", stdout=True),
        pb.PortForwardRequest(pod_sandbox_id="none", port=[80]),
    ):
        status, text = await code(ask(clients, request))
        assert status is StatusCode.NOT_FOUND
        assert "none" in text


async def test_what_does_not_run_gets_no_url(clients: Clients, parts: Parts) -> None:
    pod = await sandbox(clients)
    id_ = await create(clients, pod)
    await clients.runtime.StopPodSandbox(pb.StopPodSandboxRequest(pod_sandbox_id=pod))
    for request in (
        pb.ExecRequest(container_id=id_, cmd=["x"], stdout=True),
        pb.AttachRequest(container_id=id_, stdout=True),
        pb.PortForwardRequest(pod_sandbox_id=pod, port=[80]),
    ):
        status, text = await code(ask(clients, request))
        assert status is StatusCode.FAILED_PRECONDITION
        assert "it is exited, not running" in text or "it is notready" in text
    assert parts.urls.requests == []


async def ask(
    clients: Clients, request: pb.ExecRequest | pb.AttachRequest | pb.PortForwardRequest
) -> object:
    if isinstance(request, pb.ExecRequest):
        return await clients.runtime.Exec(request)
    if isinstance(request, pb.AttachRequest):
        return await clients.runtime.Attach(request)
    return await clients.runtime.PortForward(request)
