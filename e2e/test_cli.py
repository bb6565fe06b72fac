"""`ferry` as people run it: a process of its own beside the real daemon."""

import asyncio
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from cri.api.runtime.v1 import api_pb2 as pb
from cri.version import VERSION
from e2e.client import Client, Container, Pod, Running, connected
from e2e.conftest import DaemonMaker
from e2e.daemon import REPOSITORY, Daemon, Service
from e2e.images import BUSYBOX, LAYERED, WEB
from e2e.registry import ALICE, Options, Registry, serving

pytestmark = pytest.mark.root

SECONDS = 30.0
RUN_LOGS = Path("/var/log/ferry")
WAIT = "echo ready; while :; do sleep 0.05; done"


@dataclass(frozen=True, slots=True)
class Ferry:
    """The command line, told where a daemon is."""

    address: Path

    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(REPOSITORY),
            "FERRY_ADDRESS": str(self.address),
            "COLUMNS": "200",
        }

    @contextmanager
    def running(self, *argv: str) -> Iterator["subprocess.Popen[str]"]:
        """Run a command for the block."""
        with subprocess.Popen(
            [sys.executable, "-m", "cri.cli", *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment(),
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def end(self, *argv: str) -> tuple[int, str, str]:
        """Run a command; return its exit code, output and errors."""
        with self.running(*argv) as process:
            out, errors = process.communicate(timeout=SECONDS)
            return process.returncode, out, errors

    def __call__(self, *argv: str, code: int = 0) -> str:
        """Return what a command prints; it must end with `code`."""
        ended, out, errors = self.end(*argv)
        assert ended == code, f"{argv}: {ended}: {errors}"
        return out

    def fails(self, *argv: str, code: int = 1) -> str:
        """Return what a command that fails says; it prints nothing else, and no traceback."""
        ended, out, errors = self.end(*argv)
        assert (ended, out) == (code, ""), f"{argv}: {out}{errors}"
        assert "Traceback" not in errors
        return errors

    def json(self, *argv: str) -> object:
        """Return what a command prints with --json."""
        found: object = json.loads(self(argv[0], "--json", *argv[1:]))
        return found


@pytest.fixture
def ferry(daemon: Service, images: Mapping[str, str]) -> Ferry:
    return Ferry(daemon.address)


@pytest.fixture
def name() -> str:
    """A name no other test gives."""
    return f"cli-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def busybox(registry: Registry) -> str:
    return registry.reference(BUSYBOX)


@pytest.fixture(autouse=True)
def no_logs_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """`ferry run` keeps logs of its own, which go with their pod."""
    before = logs_kept()
    yield
    left = logs_kept() - before
    for each in left:
        shutil.rmtree(RUN_LOGS / each)
    assert left == set()


def logs_kept() -> set[str]:
    return {each.name for each in RUN_LOGS.iterdir()} if RUN_LOGS.exists() else set()


# --- a pod's life in the commands of the README


async def test_the_readmes_commands(
    cri: Client, ferry: Ferry, busybox: str, name: str, images: Mapping[str, str]
) -> None:
    assert ferry("pull", busybox) == f"{images[BUSYBOX]}\n"
    short = images[BUSYBOX].removeprefix("sha256:")[:13]
    assert re.search(rf"^{busybox} +{short} +1\.\d+MB$", ferry("images"), re.MULTILINE)
    started = ferry("run", "--name", name, busybox, "top", "-b", "-d", "3600")
    match = re.fullmatch(r"pod (\w{13}) container (\w{13})\n", started)
    assert match
    pod, container = match.groups()
    (row,) = [line for line in ferry("ps").splitlines() if line.startswith(container)]
    fields = row.split()
    assert (fields[1:3], fields[4:]) == (["main", "running"], [busybox, f"default/{name}"])
    assert "top -b -d 3600" in ferry("exec", container, "ps", "-ef")
    (row,) = [line for line in ferry("pods").splitlines() if line.startswith(pod)]
    assert row.split()[1:5] == ["default", name, "0", "ready"]
    assert "Mem:" in ferry("logs", f"{name}/main")
    assert ferry("rm", name) == ""
    assert name not in ferry("pods")


async def test_every_command_speaks_json(
    cri: Client, ferry: Ferry, busybox: str, name: str, images: Mapping[str, str]
) -> None:
    assert ferry.json("pull", busybox) == {"image": busybox, "id": images[BUSYBOX]}
    assert images[BUSYBOX] in [each["id"] for each in listed(ferry.json("images"))]
    ids = ferry.json("run", "--name", name, busybox, "sh", "-c", "echo hi; sleep 600")
    assert isinstance(ids, dict)
    assert [(each["id"], each["state"]) for each in listed(ferry.json("pods"))] == [
        (ids["pod"], "SANDBOX_READY")
    ]
    assert [(each["id"], each["state"]) for each in listed(ferry.json("ps"))] == [
        (ids["container"], "CONTAINER_RUNNING")
    ]
    assert ferry.json("exec", f"{name}/main", "sh", "-c", "echo a; echo b >&2; true") == {
        "stdout": "a\n",
        "stderr": "b\n",
        "exit_code": 0,
    }
    line = ferry.json("logs", name + "/main")
    assert isinstance(line, dict)
    assert (line["stream"], line["text"], line["partial"]) == ("stdout", "hi", False)
    assert ferry.json("ops") == {"operations": [], "stuck_calls": []}
    assert {"network", "cgroups", "conmon"} <= {
        str(each["subject"]) for each in listed(ferry.json("doctor"))
    }
    assert ferry.json("version") == {"ferry": VERSION, "ferryd": VERSION}
    (pod,) = listed(ferry.json("pods"))
    assert [str(each)[:3] for each in listed_text(pod["addresses"])] == ["10."]
    assert ferry.json("rm", name) == {"removed": [ids["pod"]]}


def listed(found: object) -> list[dict[str, object]]:
    assert isinstance(found, list)
    return found


def listed_text(found: object) -> list[str]:
    assert isinstance(found, list)
    return found


# --- run


async def test_a_run_shows_both_streams_and_ends_as_the_program_does(
    cri: Client, ferry: Ferry, busybox: str
) -> None:
    script = "echo out; echo err >&2; echo $GREETING; hostname; exit 7"
    argv = ("run", "--rm", "-e", "GREETING=hi", busybox, "sh", "-c", script)
    code, out, errors = ferry.end(*argv)
    assert code == 7
    assert re.fullmatch(r"out\nhi\nferry-[0-9a-f]{6}\n", out)
    assert errors == "err\n"


async def test_a_run_publishes_ports_and_takes_the_nodes_network(
    cri: Client, ferry: Ferry, registry: Registry, name: str, busybox: str
) -> None:
    ferry("run", "--name", name, "-p", "18080:8080", registry.reference(WEB))
    fetch = ("run", "--rm", "--net-host", busybox, "wget", "-qO-", "http://127.0.0.1:18080/x")
    assert ferry(*fetch) == f"{name} /x\n"
    ferry("rm", name)


@pytest.mark.parametrize(
    ("number", "script", "code"),
    [
        (
            signal.SIGINT,
            "trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.05; done",
            5,
        ),
        (signal.SIGTERM, "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done", 0),
        (signal.SIGHUP, "echo ready; exec sleep 600", 137),
    ],
)
async def test_a_signal_ends_the_program_and_removes_the_pod(
    cri: Client, ferry: Ferry, busybox: str, number: signal.Signals, script: str, code: int
) -> None:
    with ferry.running("run", "--rm", busybox, "sh", "-c", script) as process:
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == "ready\n"
        process.send_signal(number)
        if code == 137:
            await hangs(ferry, "StopContainer")
            process.send_signal(number)  # deaf to the first, as a first process is
        rest, errors = await asyncio.to_thread(process.communicate, None, SECONDS)
    assert (process.returncode, rest, errors) == (code, "bye\n" if code == 5 else "", "")
    assert await cri.list_pods() == []


async def test_a_run_that_cannot_start_leaves_nothing(
    cri: Client, ferry: Ferry, busybox: str, name: str
) -> None:
    said = ferry.fails("run", "--name", name, "--runtime", "nope", busybox)
    assert "nope" in said
    said = ferry.fails("run", "--name", name, busybox, "/no/such/program")
    assert "/no/such/program" in said
    assert await cri.list_pods() == []


async def test_a_signal_during_the_pull_leaves_nothing(
    cri: Client, ferry: Ferry, name: str
) -> None:
    async with silent() as host:
        with ferry.running("run", "--name", name, f"{host}/test/none:1") as process:
            await hangs(ferry, "Pull")
            process.send_signal(signal.SIGTERM)
            out, errors = await asyncio.to_thread(process.communicate, None, SECONDS)
        assert (process.returncode, out, errors) == (143, "", "")
    assert ferry.json("ops") == {"operations": [], "stuck_calls": []}


async def test_a_closed_pipe_is_no_error(cri: Client, ferry: Ferry, busybox: str) -> None:
    script = "while :; do echo y; sleep 0.01; done"
    with ferry.running("run", "--rm", busybox, "sh", "-c", script) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert await asyncio.to_thread(process.stdout.readline) == "y\n"
        process.stdout.close()
        assert await asyncio.to_thread(process.stderr.read) == ""
        assert await asyncio.to_thread(process.wait, SECONDS) == 1
    assert await cri.list_pods() == []


# --- logs


async def test_logs_go_on_over_rotations_and_restarts_and_end_with_the_container(
    make_daemon: DaemonMaker, registry: Registry, logs: Path
) -> None:
    daemon = make_daemon()
    ferry = Ferry(daemon.address)
    count = "i=0; while [ ! -e /stop ]; do i=$((i+1)); echo $i; sleep 0.02; done"
    script = f"{count}; echo last; exit 3"
    async with connected(daemon.address) as client:
        image = await client.pull(registry.reference(BUSYBOX))
        running = await client.run_pod(Pod(name="logs", logs=logs))
        main = Container(name="main", image=image, command=["sh", "-c", script])
        container = await client.run(running, main)
    with ferry.running("logs", "-f", container) as process:
        read = Lines(process)
        await read.until("5")
        await rotated_while_read(daemon, running, container, read)
        daemon.restart(crash=True)
        await read.more(5)
        async with connected(daemon.address) as client:
            await client.exec(container, "touch", "/stop")
        await read.until("last")
        assert await asyncio.to_thread(process.wait, SECONDS) == 0
    assert [int(line) for line in read.lines[:-1]] == list(range(1, len(read.lines)))
    assert ferry("logs", container).splitlines() == read.lines
    assert ferry("logs", "--tail", "2", container).splitlines() == read.lines[-2:]
    many = str(len(read.lines) - 1)
    assert ferry("logs", "-n", many, container).splitlines() == read.lines[1:]
    async with connected(daemon.address) as client:
        await client.remove_pod(running.id)


async def rotated_while_read(
    daemon: Daemon, running: Running, container: str, read: "Lines"
) -> None:
    """Rotate the log twice, as a kubelet does."""
    current = running.pod.log_directory / "main" / "0.log"
    async with connected(daemon.address) as client:
        for number in range(2):
            current.rename(current.with_name(f"0.log.2026010{number}-000000"))
            request = pb.ReopenContainerLogRequest(container_id=container)
            await client.runtime.ReopenContainerLog(request)
            await read.more(5)


class Lines:
    """The lines a process prints, as they come."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        self._stream = process.stdout
        self.lines: list[str] = []

    async def more(self, count: int = 1) -> None:
        async with asyncio.timeout(SECONDS):
            for _ in range(count):
                self.lines.append((await asyncio.to_thread(self._stream.readline)).rstrip("\n"))
                assert self.lines[-1], "the output ended"

    async def until(self, line: str) -> None:
        await self.more()
        while self.lines[-1] != line:
            await self.more()


# --- pull


@asynccontextmanager
async def silent() -> AsyncIterator[str]:
    """Serve on loopback as a registry that takes every request and never answers."""
    over = asyncio.Event()

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    server = await asyncio.start_server(keep, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        over.set()


@asynccontextmanager
async def slow(host: str, pace: int) -> AsyncIterator[str]:
    """Pass requests on to the registry `host`; answers go through at `pace` bytes a second."""
    address, port = host.split(":")

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, step: int) -> None:
        while data := await reader.read(step):
            writer.write(data)
            await writer.drain()
            if step == pace // 20:
                await asyncio.sleep(0.05)  # the pace itself

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind, before = await asyncio.open_connection(address, int(port))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(copy(reader, before, 65536))
                group.create_task(copy(behind, writer, pace // 20))
        except* (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            before.close()
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def hangs(ferry: Ferry, kind: str) -> dict[str, object]:
    """Return the operation of a kind once `ferry ops` lists it in a stage."""
    async with asyncio.timeout(SECONDS):
        while True:
            answer = await asyncio.to_thread(ferry.json, "ops")
            assert isinstance(answer, dict)
            for operation in answer["operations"]:
                if operation["kind"] == kind and operation["stages"]:
                    found: dict[str, object] = operation
                    return found


async def test_what_hangs_is_listed_with_its_stage_and_age(cri: Client, ferry: Ferry) -> None:
    async with silent() as host, AsyncExitStack() as stack:
        reference = f"{host}/test/none:1"
        process = stack.enter_context(ferry.running("pull", reference))
        first = await hangs(ferry, "Pull")
        table = ferry("ops")
        (row,) = [line for line in table.splitlines() if reference in line]
        pattern = (
            rf"\d+ +Pull +(\d+\.\d)s +{reference} +stage resolve for (\d+\.\d) s: .*{reference}.*"
        )
        match = re.fullmatch(pattern, row)
        assert match, row
        age, staged = (float(each) for each in match.groups())
        assert float(str(first["age_seconds"])) <= age + 0.1
        assert staged <= age
        process.send_signal(signal.SIGINT)
        _, errors = await asyncio.to_thread(process.communicate, None, SECONDS)
        assert (process.returncode, errors) == (130, "")


async def test_a_pull_has_a_bar_for_each_layer(
    make_daemon: DaemonMaker, registry: Registry
) -> None:
    daemon = make_daemon()
    ferry = Ferry(daemon.address)
    manifest = await layers_of(registry, f"{LAYERED}:gzip")
    assert len(manifest) == 5
    async with slow(registry.host, pace=500_000) as host:
        screen, printed, code = await asyncio.to_thread(
            on_a_terminal, ferry, "pull", f"{host}/{LAYERED}:gzip"
        )
    assert code == 0, screen
    assert re.fullmatch(r"sha256:[0-9a-f]{64}\n", printed)
    for digest in manifest:
        short = digest.removeprefix("sha256:")[:13]
        verbs = set(re.findall(rf"(\w+) +{short}", screen))
        assert "done" in verbs, screen[-3000:]
        assert verbs <= {"waiting", "fetching", "unpacking", "done"}
    rows = re.findall(r"(?:waiting|fetching|unpacking|done) +([0-9a-f]{13})", screen)
    assert list(dict.fromkeys(rows)) == [digest[7:20] for digest in manifest]  # in their order
    biggest = max(manifest, key=lambda each: manifest[each]).removeprefix("sha256:")[:13]
    shares = re.findall(rf"fetching +{biggest}.*? (\d+\.\d)/(\d\.\d) MB", screen)
    assert len(set(shares)) > 3, shares  # it moved


async def layers_of(registry: Registry, name: str) -> dict[str, int]:
    """Return the layers of an image with their sizes, as skopeo sees them."""
    argv = [
        "skopeo",
        "inspect",
        "--raw",
        "--tls-verify=false",
        f"docker://{registry.reference(name)}",
    ]
    done = await asyncio.to_thread(subprocess.run, argv, check=True, capture_output=True)
    document = json.loads(done.stdout)
    if "manifests" in document:
        digest = document["manifests"][0]["digest"]
        argv[-1] = f"docker://{registry.host}/{name.partition(':')[0]}@{digest}"
        done = await asyncio.to_thread(subprocess.run, argv, check=True, capture_output=True)
        document = json.loads(done.stdout)
    return {layer["digest"]: layer["size"] for layer in document["layers"]}


def on_a_terminal(ferry: Ferry, *argv: str) -> tuple[str, str, int]:
    """Run a command whose standard error is a terminal; return that, its output and exit code."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "cri.cli", *argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**ferry.environment(), "TERM": "xterm"},
    )
    os.close(theirs)
    screen = b""
    try:
        while data := os.read(ours, 65536):
            screen += data
    except OSError:  # how a terminal says that nobody has it open any more
        pass
    finally:
        os.close(ours)
    out, _ = process.communicate(timeout=SECONDS)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.decode()), out.decode(), process.returncode


def test_a_private_registry_wants_a_user_and_gets_the_password_unseen(
    make_daemon: DaemonMaker, image_layout: Path, tmp_path: Path
) -> None:
    ferry = Ferry(make_daemon().address)
    with serving(tmp_path / "private", Options(user=ALICE)) as registry:
        replace(registry, layout=image_layout).push(image_layout, BUSYBOX)
        reference = registry.reference(BUSYBOX)
        first, second = ferry.fails("pull", reference).splitlines()
        assert "it wants a user name and a password" in first
        assert second == "With a name and a password: `ferry pull --user NAME IMAGE`."
        assert "401" in ferry.fails("pull", "--user", "alice:wrong", reference)
        done = subprocess.run(
            [sys.executable, "-m", "cri.cli", "pull", "--user", ALICE.name, reference],
            input=f"{ALICE.password}\n",
            env=ferry.environment(),
            capture_output=True,
            text=True,
            check=True,
            timeout=SECONDS,
        )
        assert re.fullmatch(r"sha256:[0-9a-f]{64}\n", done.stdout)


async def test_without_a_terminal_only_the_id_is_printed(
    cri: Client, ferry: Ferry, busybox: str, images: Mapping[str, str]
) -> None:
    assert ferry.end("pull", busybox) == (0, f"{images[BUSYBOX]}\n", "")


# --- errors


def test_without_a_daemon_every_command_says_so(node: None, tmp_path: Path) -> None:
    ferry = Ferry(tmp_path / "none.sock")
    commands: Sequence[Sequence[str]] = (
        ["pull", "a"],
        ["images"],
        ["rmi", "a"],
        ["pods"],
        ["ps"],
        ["logs", "a"],
        ["exec", "a", "b"],
        ["run", "a"],
        ["rm", "a"],
        ["ops"],
    )
    for argv in commands:
        first, second = ferry.fails(*argv).splitlines()
        assert first == f"ferry: cannot reach the daemon at {ferry.address}: nothing is there"
        assert "systemctl status ferryd" in second
        assert "its configuration says /run/ferry/ferry.sock: --address" in second
    assert ferry("version") == (
        f"ferry {VERSION}\nferryd does not answer at {ferry.address}: nothing is there\n"
    )
    found = listed(json.loads(ferry("doctor", "--json", code=1)))
    assert (found[0]["subject"], found[0]["grade"]) == ("daemon", "broken")
    assert "conmon" in [each["subject"] for each in found]


async def test_what_cannot_be_comes_with_what_to_do(
    cri: Client, ferry: Ferry, busybox: str, name: str, logs: Path, registry: Registry
) -> None:
    assert "`ferry ps --all` lists them" in ferry.fails("logs", "nothing")
    assert "`ferry ps --all` lists them" in ferry.fails("exec", "nothing", "true")
    assert "`ferry pods` lists them" in ferry.fails("rm", "nothing")
    assert "`ferry images` lists them" in ferry.fails("rmi", "nothing")
    missing = ferry.fails("pull", registry.reference("test/none:1"))
    assert registry.reference("test/none:1") in missing
    assert "reference: must" in ferry.fails("pull", "two words")
    assert "want HOST:CONTAINER" in ferry.fails("run", "-p", "80", busybox)
    assert "--name" in ferry.fails("run", "--name", "A b", busybox)
    assert "No such option" in ferry.fails("ps", "--bogus", code=2)
    assert "Missing argument" in ferry.fails("logs", code=2)
    assert "--tail" in ferry.fails("logs", "--tail", "-1", "x", code=2)


async def test_an_ambiguous_name_lists_what_it_may_mean(
    cri: Client, ferry: Ferry, images: Mapping[str, str], logs: Path
) -> None:
    async with (
        cri.pod(Pod(name="one", logs=logs)) as one,
        cri.pod(Pod(name="two", logs=logs)) as two,
    ):
        main = Container(name="main", image=images[BUSYBOX], command=["sleep", "600"])
        first, second = await cri.run(one, main), await cri.run(two, main)
        said = await asyncio.to_thread(ferry.fails, "exec", "main", "true")
        head, *rows = said.splitlines()
        assert head == (
            "ferry: cannot tell which container 'main' is; write the id of one of these:"
        )
        assert sorted(row.split() for row in rows) == sorted(
            [[first[:13], "e2e/one/main", "running"], [second[:13], "e2e/two/main", "running"]]
        )
        assert ferry("exec", "two/main", "hostname") == "two\n"
        await cri.stop(first)
        assert ferry("exec", "main", "hostname") == "two\n"  # the one that runs
        assert ferry("rm", "two") == ""
        assert [pod.id for pod in await cri.list_pods()] == [one.id]


# --- completion

# How each shell hands over what is typed, beside the line itself.
TYPED = {
    "bash": "COMP_WORDS",
    "zsh": "_TYPER_COMPLETE_ARGS",
    "fish": "_TYPER_COMPLETE_ARGS",
}


@pytest.mark.parametrize("shell", sorted(TYPED))
async def test_completion_knows_commands_and_what_the_daemon_has(
    cri: Client, ferry: Ferry, shell: str, busybox: str, name: str
) -> None:
    def offered(line: str) -> str:
        variables = {
            "_FERRY_COMPLETE": f"complete_{shell}",
            TYPED[shell]: line,
            "COMP_CWORD": str(line.count(" ")),
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        }
        done = subprocess.run(
            [sys.executable, "-m", "cri.cli"],
            env={**ferry.environment(), **variables},
            capture_output=True,
            text=True,
            check=True,
            timeout=SECONDS,
        )
        return done.stdout.replace("\\", "")  # a colon means something to zsh

    ferry("run", "--name", name, busybox, "sleep", "600")
    assert "doctor" in offered("ferry do")
    assert name in offered(f"ferry rm {name[:6]}")
    assert f"{name}/main" in offered(f"ferry logs {name[:6]}")
    assert busybox in offered(f"ferry rmi {busybox[:12]}")
    ferry("rm", name)


@pytest.mark.parametrize("shell", sorted(TYPED))
def test_each_shell_gets_its_script(node: None, tmp_path: Path, shell: str) -> None:
    done = completion(tmp_path, shell)
    assert "_FERRY_COMPLETE" in done
    assert f"complete_{shell}" in done


def completion(folder: Path, shell: str) -> str:
    """Return the script that makes a shell complete `ferry`."""
    ferry = Ferry(folder / "none.sock")
    # Otherwise the shell is the one that started this test.
    variables = {**ferry.environment(), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    argv = [sys.executable, "-m", "cri.cli", "--show-completion", shell]
    done = subprocess.run(
        argv, env=variables, capture_output=True, text=True, check=True, timeout=SECONDS
    )
    return done.stdout


def test_a_real_bash_completes_with_it(node: None, tmp_path: Path) -> None:
    program = tmp_path / "ferry"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m cri.cli "$@"\n')
    program.chmod(0o755)
    (tmp_path / "script").write_text(completion(tmp_path, "bash"))
    typed = "COMP_WORDS=(ferry do); COMP_CWORD=1; _ferry_completion ferry"
    environment = Ferry(tmp_path / "none.sock").environment()
    done = subprocess.run(
        ["bash", "-c", f'source "$0"; {typed}; echo "${{COMPREPLY[@]}}"', str(tmp_path / "script")],
        env={**environment, "PATH": f"{tmp_path}:{environment['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS,
    )
    assert done.stdout == "doctor\n"
