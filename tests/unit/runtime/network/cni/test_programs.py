import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from runtime.kernel.processes import stat_fields
from runtime.network.cni import Call, Target, Verb
from runtime.network.cni.programs import Programs
from store.errors import DeadlineExceededError, Error
from tests.cni import ENVIRONMENT, script
from tests.listing import descriptors
from tests.waiting import until


def call(verb: Verb = Verb.ADD, document: str = "{}", netns: str = "/nowhere") -> Call:
    target = Target(container_id="a" * 64, netns=netns, arguments="A=B")
    return Call(plugin="x", verb=verb, document=document, purpose="do it", target=target)


def programs(directory: Path, timeout: float = 20.0) -> Programs:
    return Programs((directory / "none", directory), ENVIRONMENT, timeout=timeout)


def dead(pid: int) -> bool:
    fields = stat_fields(pid)
    return fields is None or fields[0] == b"Z"


async def variables(plugins: Programs, one: Call) -> Mapping[str, str]:
    lines = (await plugins.call(one)).splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


async def test_a_plugin_reads_its_document_and_its_variables(tmp_path: Path) -> None:
    script(tmp_path, "x", "cat >&2; env")
    found = await variables(programs(tmp_path), call())
    assert found["CNI_COMMAND"] == "ADD"
    assert found["CNI_PATH"] == f"{tmp_path}/none:{tmp_path}"
    assert found["CNI_NETNS"] == "/nowhere"
    assert found["PATH"] == ENVIRONMENT["PATH"]
    assert "HOME" not in found
    script(tmp_path, "x", "cat")
    document = json.dumps({"big": "x" * 300_000})
    assert await programs(tmp_path).call(call(document=document)) == document


async def test_a_namespace_that_is_gone_is_not_named_to_del(tmp_path: Path) -> None:
    script(tmp_path, "x", "env")
    plugins = programs(tmp_path)
    (tmp_path / "pin").touch()
    for gone in ("/nowhere", str(tmp_path / "pin")):
        assert (await variables(plugins, call(Verb.DEL, netns=gone)))["CNI_NETNS"] == ""
    own = f"/proc/{os.getpid()}/ns/net"
    assert (await variables(plugins, call(Verb.DEL, netns=own)))["CNI_NETNS"] == own


async def test_one_that_hangs_is_killed_with_what_it_started(tmp_path: Path) -> None:
    text = f"echo so; echo far >&2; setsid sleep 1000 & echo $! >{tmp_path}/child; sleep 1000"
    script(tmp_path, "x", text)
    before = descriptors()
    with pytest.raises(DeadlineExceededError) as failed:
        await programs(tmp_path, timeout=0.5).call(call())
    assert str(failed.value) == (
        "cannot do it: plugin x ADD: no end within 0.5 s, it printed 'so', and 'far' to its "
        "standard error; it was killed with all it had started"
    )
    assert dead(int((tmp_path / "child").read_text()))
    assert descriptors() <= before


async def test_cancellation_kills_too(tmp_path: Path) -> None:
    script(tmp_path, "x", f"echo $$ >{tmp_path}/pid; exec sleep 1000")
    async with asyncio.TaskGroup() as group:
        task = group.create_task(programs(tmp_path).call(call()))
        await until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "")
        task.cancel()
    assert dead(int((tmp_path / "pid").read_text()))


async def test_output_is_bounded(tmp_path: Path) -> None:
    script(tmp_path, "x", "head -c 3000000 /dev/zero | tr '\\0' y")
    assert len(await programs(tmp_path).call(call())) == 1 << 20


async def test_a_background_process_keeps_nobody(tmp_path: Path) -> None:
    script(tmp_path, "x", f"sleep 1000 & echo $! >{tmp_path}/pid; echo done")
    async with asyncio.timeout(5):
        assert await programs(tmp_path).call(call()) == "done\n"
    os.kill(int((tmp_path / "pid").read_text()), 9)


async def test_what_can_not_be_started_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\x7fELF nonsense")
    (tmp_path / "x").chmod(0o755)
    with pytest.raises(Error, match=f"cannot do it: plugin x ADD: cannot start {tmp_path}/x"):
        await programs(tmp_path).call(call())
    (tmp_path / "x").chmod(0o644)
    with pytest.raises(Error, match="cannot do it: plugin x ADD: not found in"):
        await programs(tmp_path).call(call())


async def test_plugins_of_a_dead_daemon_are_ended(tmp_path: Path) -> None:
    text = f"echo $$ >{tmp_path}/$CNI_CONTAINERID; exec sleep 1000"
    path = script(tmp_path, "orphan", text)
    plugins = programs(tmp_path)
    running = []
    for name in ("mine", "other"):
        environment = {**ENVIRONMENT, "CNI_CONTAINERID": name}
        running.append(await asyncio.create_subprocess_exec(path, env=environment))
    await until(lambda: all((tmp_path / name).exists() for name in ("mine", "other")))
    await asyncio.to_thread(plugins.end, {"mine", "never"})
    assert await running[0].wait() == -9
    assert running[1].returncode is None
    running[1].kill()
    await running[1].wait()
