"""The daemon as a node's administrator meets it: beside others, reloaded, drained, asked."""

import asyncio
import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from grpc import StatusCode, aio

from cri.api.ferry.v1 import node_pb2, node_pb2_grpc
from cri.api.runtime.v1 import api_pb2 as pb
from e2e.client import Client, Container, Pod, Running, code, connected, get
from e2e.conftest import DaemonMaker
from e2e.daemon import REPOSITORY, Daemon, default_settings, toml
from e2e.images import BUSYBOX, WEB
from e2e.registry import Registry

pytestmark = pytest.mark.root

SECONDS = 20.0
RUNNING = pb.ContainerState.Value("CONTAINER_RUNNING")


def run(*argv: str) -> "subprocess.CompletedProcess[str]":
    """Run `ferryd` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "cri", *argv],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def settings(folder: Path, number: int, **daemon: object) -> dict[str, dict[str, object]]:
    found = default_settings(folder, number=number)
    found["daemon"] = {**found["daemon"], **daemon}
    return found


async def logged(daemon: Daemon, text: str) -> str:
    """Return the line of the daemon's log that has `text`, once it is there."""
    async with asyncio.timeout(SECONDS):
        while True:
            for line in daemon.log.read_text().splitlines():
                if text in line:
                    return line
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def silent() -> AsyncIterator[str]:
    """Serve on loopback as a registry that takes every request and never answers."""
    went = asyncio.Event()

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await went.wait()
        writer.close()

    server = await asyncio.start_server(keep, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        went.set()


# --- one daemon for a root, a state directory and a socket


def test_a_second_daemon_on_the_same_root_is_told_who_has_it(
    make_daemon: DaemonMaker, tmp_path: Path
) -> None:
    daemon = make_daemon()
    done = run("--root", str(daemon.root), "--state", str(tmp_path / "state"))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"ferryd: cannot use {daemon.root}: the daemon with pid {daemon.pid} is using it; "
        "a second one needs directories of its own"
    )
    assert daemon.running


def test_a_second_daemon_on_the_same_state_is_told_who_has_it(
    make_daemon: DaemonMaker, tmp_path: Path
) -> None:
    daemon = make_daemon()
    done = run("--root", str(tmp_path / "root"), "--state", str(daemon.state))
    assert done.returncode == 1
    assert f"cannot use {daemon.state}: the daemon with pid {daemon.pid}" in done.stderr
    assert daemon.running


async def test_a_live_socket_is_never_taken(make_daemon: DaemonMaker, tmp_path: Path) -> None:
    daemon = make_daemon()
    config = tmp_path / "second.toml"
    config.write_text(toml(settings(tmp_path, 9)))
    state = Path("/run/ferry-second")
    done = run(
        *("--config", str(config), "--root", str(tmp_path / "root"), "--state", str(state)),
        *("--address", str(daemon.address)),
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        f"ferryd: cannot listen on {daemon.address}: process {daemon.pid} ("
    )
    async with connected(daemon.address) as client:
        assert (await client.runtime.Version(pb.VersionRequest())).runtime_name == "ferry"


# --- two daemons on one node


async def test_two_daemons_run_pods_at_the_same_time(
    make_daemon: DaemonMaker, registry: Registry, logs: Path
) -> None:
    one, two = make_daemon(), make_daemon()
    async with connected(one.address) as first, connected(two.address) as second:
        async with asyncio.TaskGroup() as group:
            ready = [
                group.create_task(serve_page(client, registry, f"pod{number}", logs / str(number)))
                for number, client in enumerate((first, second))
            ]
        addresses = [each.result() for each in ready]
        assert [address.split(".")[:2] for address in addresses] == [["10", "78"], ["10", "79"]]
        for number, address in enumerate(addresses):
            assert await get(address, 8080, "/x") == f"pod{number} /x\n"
        assert [len(await each.list_pods()) for each in (first, second)] == [1, 1]

        one.restart(crash=True)
        assert await get(addresses[1], 8080, "/y") == "pod1 /y\n"
    for daemon in (one, two):
        async with connected(daemon.address) as client:
            (pod,) = await client.list_pods()
            await client.remove_pod(pod.id)


async def serve_page(client: Client, registry: Registry, name: str, logs: Path) -> str:
    """Run the web server in a pod of its own; return its address."""
    image = await client.pull(registry.reference(WEB))
    running = await client.run_pod(Pod(name=name, logs=logs))
    await client.run(running, Container(name="web", image=image))
    return (await client.pod_status(running.id)).network.ip


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (
            {"bridge": "ferrytest1", "subnets": ["10.99.0.0/16"]},
            "cannot use the bridge ferrytest1: another daemon does; give this one another",
        ),
        (
            {"bridge": "ferrytest2", "subnets": ["10.78.0.0/16"]},
            "interface ferrytest1 has 10.78.0.1/16; choose other network.subnets",
        ),
    ],
    ids=["bridge", "subnet"],
)
async def test_daemons_that_want_the_same_network_say_so(
    make_daemon: DaemonMaker, tmp_path: Path, logs: Path, network: dict[str, object], words: str
) -> None:
    make_daemon()
    section = {"plugin": "bridge", **network}
    second = make_daemon({**default_settings(tmp_path, number=2), "network": section})
    async with connected(second.address) as client:
        status = (await client.runtime.Status(pb.StatusRequest())).status
        (condition,) = [each for each in status.conditions if each.type == "NetworkReady"]
        assert (condition.status, condition.reason) == (False, "BridgeSetUpFailed")
        assert words in condition.message
        with pytest.raises(aio.AioRpcError) as refused:
            await client.run_pod(Pod(name="none", logs=logs))
        assert code(refused.value) is StatusCode.UNAVAILABLE
        assert words in str(refused.value.details())


# --- SIGHUP


async def test_a_reload_takes_what_needs_no_restart(make_daemon: DaemonMaker) -> None:
    daemon = make_daemon()
    changed = settings(daemon.folder, 1, log_level="warning", log_format="json")
    daemon.config.write_text(toml(changed))
    daemon.signal(signal.SIGHUP)
    # At `warning` the reload itself is not logged any more.
    async with connected(daemon.address) as client:
        assert await level_of(client) == "warning"
        daemon.config.write_text(toml(settings(daemon.folder, 1, log_format="json")))
        daemon.signal(signal.SIGHUP)
        line = await logged(daemon, "reload: ")
        assert "changed daemon.log_level; after a restart: daemon.log_format" in line


async def level_of(client: Client, wanted: str = "warning") -> str:
    """Return the level of the log that the daemon says it has, once it is `wanted`."""
    async with asyncio.timeout(SECONDS):
        while True:
            request = pb.StatusRequest(verbose=True)
            config = (await client.runtime.Status(request)).info["config"]
            if f'"daemon.log_level": "{wanted}"' in config:
                return wanted
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            '[daemon]\nlog_levle = "debug"\n',
            "daemon.log_levle: no such option; the nearest is daemon.log_level",
        ),
        ('[daemon]\nlog_level = "loud"\n', 'daemon.log_level: must be one of "debug", "info"'),
        ("[daemon\n", "not valid TOML"),
    ],
)
async def test_a_bad_file_changes_nothing_and_is_named(
    make_daemon: DaemonMaker, text: str, why: str
) -> None:
    daemon = make_daemon()
    daemon.config.write_text(text)
    daemon.signal(signal.SIGHUP)
    line = await logged(daemon, "reload: the old configuration stays")
    assert f"{daemon.config}: " in line
    assert why in line.replace('\\"', '"')
    async with connected(daemon.address) as client:
        assert await level_of(client, "debug") == "debug"


# --- SIGTERM


async def test_calls_in_flight_finish_and_containers_go_on(
    make_daemon: DaemonMaker, registry: Registry, logs: Path, tmp_path: Path
) -> None:
    daemon = make_daemon()
    shared = tmp_path / "shared"
    shared.mkdir()
    async with connected(daemon.address) as client:
        running, container = await sleeping(client, registry, logs, shared)
        script = "touch /shared/begun; while [ ! -e /shared/go ]; do sleep 0.05; done; echo done"
        async with asyncio.TaskGroup() as group:
            call = group.create_task(client.exec(container, "sh", "-c", script))
            await exists(shared / "begun")
            daemon.signal(signal.SIGTERM)
            await logged(daemon, "ferryd ends; containers go on")
            await closed(client)
            assert daemon.running
            (shared / "go").touch()
        assert call.result() == (0, b"done\n", b"")
        assert await asyncio.to_thread(daemon.wait) == 0
    daemon.start()
    async with connected(daemon.address) as client:
        assert (await client.status(container)).state == RUNNING
        await client.remove_pod(running.id)


async def closed(client: Client) -> None:
    """Return once new calls are refused."""
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                await client.list_pods()
            except aio.AioRpcError as error:
                if code(error) is not StatusCode.UNAVAILABLE:
                    raise
                return


async def sleeping(
    client: Client, registry: Registry, logs: Path, shared: Path
) -> tuple[Running, str]:
    """Run a pod with one container that sleeps and sees `shared`."""
    image = await client.pull(registry.reference(BUSYBOX))
    running = await client.run_pod(Pod(name="sleeps", logs=logs))
    mount = pb.Mount(container_path="/shared", host_path=str(shared))
    main = Container(name="main", image=image, command=["sleep", "600"], mounts=[mount])
    return running, await client.run(running, main)


async def exists(path: Path) -> None:
    async with asyncio.timeout(SECONDS):
        while not await asyncio.to_thread(path.exists):
            await asyncio.sleep(0.02)


async def test_a_call_that_takes_too_long_does_not_keep_the_daemon(
    make_daemon: DaemonMaker, tmp_path: Path
) -> None:
    daemon = make_daemon(settings(tmp_path, 1, drain_seconds=0.5))
    async with connected(daemon.address) as client, silent() as host:
        async with asyncio.TaskGroup() as group:
            call = group.create_task(failed_pull(client, f"{host}/test/none:1"))
            await hanging(daemon)
            began = time.monotonic()
            daemon.signal(signal.SIGTERM)
            assert await call in {StatusCode.UNAVAILABLE, StatusCode.CANCELLED}
        assert await asyncio.to_thread(daemon.wait) == 0
        assert time.monotonic() - began < 10


async def failed_pull(client: Client, reference: str) -> StatusCode:
    try:
        await client.pull(reference)
    except aio.AioRpcError as error:
        return error.code()
    return StatusCode.OK


async def hanging(daemon: Daemon, kind: str = "PullImage") -> node_pb2.Operation:
    """Return the operation of a kind, once there is one that has come to a stage."""
    async with aio.insecure_channel(f"unix:{daemon.address}") as channel:
        node = node_pb2_grpc.NodeStub(channel)
        async with asyncio.timeout(SECONDS):
            while True:
                answer = await node.Operations(node_pb2.OperationsRequest())
                for operation in answer.operations:
                    if operation.kind == kind and operation.stages:
                        return operation
                await asyncio.sleep(0.02)


# --- SIGUSR1


async def test_what_hangs_is_told_with_its_stage_and_age(make_daemon: DaemonMaker) -> None:
    daemon = make_daemon()
    async with connected(daemon.address) as client, silent() as host:
        reference = f"{host}/test/none:1"
        async with asyncio.TaskGroup() as group:
            call = group.create_task(failed_pull(client, reference))
            operation = await hanging(daemon)
            assert operation.subject == reference
            assert [stage.name for stage in operation.stages] == ["resolve"]
            assert operation.where.startswith("stage resolve for ")
            assert reference in operation.where
            daemon.signal(signal.SIGUSR1)
            line = await logged(daemon, f"operation {operation.number} PullImage {reference}, ")
            assert f"stage resolve for 0.{line.partition('resolve for 0.')[2][:1]} s: " in line
            call.cancel()


# --- systemd


class Watched(Daemon):
    """A daemon whose whole conversation with systemd a test hears."""

    @property
    def ear(self) -> Path:
        """The socket that systemd would listen on."""
        return self.state.with_name(f"{self.state.name}.ear")

    def environment(self) -> dict[str, str]:
        return {
            **super().environment(),
            "NOTIFY_SOCKET": str(self.ear),
            "WATCHDOG_USEC": "200000",
        }


def until(ear: socket.socket, state: str) -> list[str]:
    """Return what is said, up to and with the first message that begins with `state`."""
    said: list[str] = []
    while not said or not said[-1].startswith(state):
        said.append(ear.recv(65536).decode())
    return said


def test_systemd_hears_every_state(node: None, tmp_path: Path) -> None:
    daemon = Watched(tmp_path / "daemon", default_settings(tmp_path, number=1))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.settimeout(SECONDS)
        ear.bind(str(daemon.ear))
        process = daemon.spawn(notify=False)
        try:
            assert until(ear, "READY=1")[-1] == f"READY=1\nSTATUS=serves on {daemon.address}"
            assert until(ear, "WATCHDOG=1")[-1] == "WATCHDOG=1"
            process.send_signal(signal.SIGHUP)
            assert until(ear, "RELOADING=1")[-1].startswith("RELOADING=1\nMONOTONIC_USEC=")
            assert until(ear, "READY=1")[-1] == "READY=1\nSTATUS=reloaded: changed nothing"
            daemon.config.write_text("oops")
            process.send_signal(signal.SIGHUP)
            failed = until(ear, "READY=1")[-1]
            assert failed.startswith("READY=1\nSTATUS=reload failed, the old configuration stays: ")
            process.terminate()
            assert until(ear, "STOPPING=1")[-1].startswith("STOPPING=1\nSTATUS=")
            assert process.wait(SECONDS) == 0
        finally:
            process.kill()
            process.wait()
            daemon.ear.unlink()
            shutil.rmtree(daemon.state)


# --- ferryd config


def test_a_mistake_is_named_with_its_file_its_key_and_what_was_meant(tmp_path: Path) -> None:
    main = tmp_path / "ferry.toml"
    main.write_text("[images]\nmax_concurrent_downloads = 2\n")
    (tmp_path / "conf.d").mkdir()
    extra = tmp_path / "conf.d" / "10-extra.toml"
    extra.write_text("[image]\nplatform = 'linux/amd64'\n")
    for verb in (["config", "check"], ["config", "dump"], []):
        done = run("--config", str(main), *verb)
        assert done.returncode == 1
        assert done.stderr == f"ferryd: {extra}: image: no such option; the nearest is images\n"
        assert done.stdout == ""


def test_a_check_names_programs_and_the_cure_for_what_is_missing(tmp_path: Path) -> None:
    config = tmp_path / "ferry.toml"
    config.write_text('[tools]\nnft = "/no/such/nft"\n')
    done = run("config", "check", "--config", str(config))
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0] == "configuration: valid"
    (nft,) = [line for line in lines if " nft: " in line]
    assert nft.startswith("broken   nft: missing: needed for the built-in network; install it with")
    assert "`apt-get install nftables`" in nft
    (conmon,) = [line for line in lines if " conmon: " in line]
    assert conmon.startswith("ok       conmon: 2.")

    config.write_text("")
    done = run("config", "check", "--config", str(config))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_daemon_that_misses_a_program_says_how_to_get_it(tmp_path: Path, node: None) -> None:
    config = tmp_path / "ferry.toml"
    config.write_text('[tools]\nnft = "/no/such/nft"\n')
    state = tmp_path / "state"
    done = run("--config", str(config), "--root", str(tmp_path / "root"), "--state", str(state))
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ferryd: cannot start: nft: missing")
    assert "apt-get install nftables" in last
