"""`make demo`: a pod's whole life on this machine, step by step, and nothing left of it.

The work happens in a scope (`tests/scope.sh`): a node of its own with its own mounts, network and
cgroups. The last line is `demo: ok` if every step did what it should and nothing is left, neither
in the scope nor on the machine.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from e2e.client import Client, Container, Pod, Running, connected, eventually_logged, get, log_lines
from e2e.daemon import REPOSITORY, Daemon
from e2e.images import BUSYBOX, WEB, layout
from e2e.leaks import Snapshot, leaks
from e2e.registry import Registry, serving_layout

_INSIDE: Final = "--inside"


class DemoError(Exception):
    """A step did not do what it should."""


def expect(found: object, wanted: object, what: str) -> None:
    """Raise DemoError unless `found` is what it should be."""
    if found != wanted:
        raise DemoError(f"{what}: expected {wanted!r}, found {found!r}")


@contextlib.contextmanager
def step(text: str) -> Iterator[list[str]]:
    """Print a step with its time; what the block appends to the list is printed after it."""
    notes: list[str] = []
    began = time.monotonic()
    print(f"  {text:<50}", end="", flush=True)
    yield notes
    print(f"{(time.monotonic() - began) * 1000:8.1f} ms  {'; '.join(notes)}", flush=True)


async def pull(client: Client, registry: Registry, name: str) -> str:
    """Pull an image from the registry."""
    with step(f"pull {name}") as notes:
        identifier = await client.pull(registry.reference(name))
        image = await client.image(identifier)
        size = image.size if image else 0
        notes.append(f"{identifier[:19]}, {size / 1e6:.1f} MB packed")
    return identifier


async def talk(client: Client, running: Running, web: str, tool: str) -> None:
    """Let the pod's containers and the host reach each other."""
    await eventually_logged(running.pod, "web", "listening 8080")
    with step("container to container, over the pod's loopback") as notes:
        page = await client.output(tool, "wget", "-qO-", "http://127.0.0.1:8080/inside")
        expect(page, "demo /inside", "the page")
        notes.append(page)
    address = (await client.pod_status(running.id)).network.ip
    with step("host to pod") as notes:
        page = await get(address, 8080, "/from-host")
        expect(page, "demo /from-host\n", "the page")
        notes.append(f"{address}: {page.strip()}")
    with step("pod to host") as notes:
        gateway = await client.output(tool, "sh", "-c", "ip route | awk '/default/ {print $3}'")
        notes.append(await reach_host(client, tool, gateway))
    with step("read the log, as `kubectl logs` does") as notes:
        lines = log_lines(running.pod.log_directory / "web/0.log")
        expect(lines[0], ("stdout", "F", "listening 8080"), "the first line")
        notes.append(f"{len(lines)} lines")
    with step("exec in the container") as notes:
        expect(await client.output(web, "hostname"), "demo", "the host name")
        code, _, _ = await client.exec(web, "sh", "-c", "exit 3")
        expect(code, 3, "the exit code")
        notes.append("exit codes come back")


async def reach_host(client: Client, tool: str, gateway: str) -> str:
    """Serve one page on the pod's gateway and fetch it from the pod."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: 16\r\n\r\nhello from host\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, gateway, 0) as server:
        port = server.sockets[0].getsockname()[1]
        page = await client.output(tool, "wget", "-qO-", f"http://{gateway}:{port}/")
    expect(page, "hello from host", "the page")
    return f"{gateway}: {page}"


async def life(client: Client, daemon: Daemon, images: Mapping[str, str], logs: Path) -> None:
    """Take a pod with two containers from its first call to its removal."""
    with step("run a pod") as notes:
        running = await client.run_pod(Pod(name="demo", logs=logs))
        status = await client.pod_status(running.id)
        notes.append(f"{running.id[:12]} at {status.network.ip}")
    with step("create and start its web server"):
        web = await client.run(running, Container(name="web", image=images[WEB]))
    with step("create and start a container beside it"):
        sleeper = Container(name="tool", image=images[BUSYBOX], command=["sleep", "3600"])
        tool = await client.run(running, sleeper)
    await talk(client, running, web, tool)
    with step("kill the daemon and start it again") as notes:
        before = await client.verbose(web)
        daemon.restart(crash=True)
        notes.append("the containers never noticed")
    async with connected(daemon.address) as again:
        with step("find the same containers") as notes:
            after = await again.verbose(web)
            expect(after.status, before.status, "the status")
            expect(await get(status.network.ip, 8080, "/still"), "demo /still\n", "the page")
            notes.append("same state, still serving")
        await end(again, running, web)


async def end(client: Client, running: Running, web: str) -> None:
    """Stop and remove all of it."""
    with step("stop the web server") as notes:
        await client.stop(web, timeout=10)
        status = await client.exited(web)
        expect(status.exit_code, 0, "the exit code")
        notes.append(f"exit code {status.exit_code}, {status.reason}")
    with step("stop the pod"):
        await client.stop_pod(running.id)
    with step("remove the pod"):
        await client.remove_pod(running.id)
    with step("remove the images"):
        for image in await client.list_images():
            await client.remove_image(image.id)
    expect(list(await client.list_pods()), [], "the pods")


async def warm_up(client: Client, image: str, logs: Path) -> None:
    """Run a pod for a moment: what a daemon makes once and keeps is there before the look."""
    async with client.pod(Pod(name="first", logs=logs)) as running:
        await client.run(running, Container(name="main", image=image, command=["sleep", "9"]))


async def inside(folder: Path) -> None:
    """Give the demonstration in a scope; DemoError if anything is wrong or left."""
    with step("a registry with images made of Debian packages") as notes:
        images = layout()
        stack = contextlib.ExitStack()
        registry = stack.enter_context(serving_layout(images, folder / "registry"))
        notes.append(registry.host)
    with stack:
        with step("start the daemon on a root of its own") as notes:
            daemon = stack.enter_context(Daemon(folder / "daemon", {}))
            notes.append(str(daemon.address))
        async with connected(daemon.address) as client:
            pulled = {name: await pull(client, registry, name) for name in (WEB, BUSYBOX)}
            await warm_up(client, pulled[BUSYBOX], folder / "logs")
            before = Snapshot.take(daemon.state)
            await life(client, daemon, pulled, folder / "logs")
        with step("look for what is left"):
            left = await leaks(before, daemon.state)
            if left:
                raise DemoError("left behind:\n" + "\n".join(left))
        with step("stop the daemon"):
            expect(daemon.stop(), 0, "the exit code")


def main() -> int:
    """Run the demonstration; from outside a scope, in one."""
    if os.geteuid() != 0:
        print("demo: a container runtime needs root: sudo make demo")
        return 1
    if _INSIDE in sys.argv:
        with tempfile.TemporaryDirectory(prefix="ferry-demo-") as folder:
            try:
                asyncio.run(inside(Path(folder)))
            except DemoError as error:
                print(f"\ndemo: {error}")
                return 1
        return 0
    before = Snapshot.take(processes=False)  # the scope ends its own; others come and go
    argv = [str(REPOSITORY / "tests" / "scope.sh"), sys.executable, "-m", "e2e.demo", _INSIDE]
    if code := subprocess.run(argv, cwd=REPOSITORY, check=False).returncode:
        return code
    if left := asyncio.run(leaks(before, processes=False)):
        print("demo: left on this machine:\n" + "\n".join(left))
        return 1
    print("demo: ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
