"""AppArmor confines containers where the kernel has it, as that of an installed Debian does."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from grpc import StatusCode, aio

from cri.api.runtime.v1 import api_pb2 as pb
from e2e.client import Client, Container, Pod, code
from e2e.node import installed
from runtime import apparmor

pytestmark = pytest.mark.root

SLEEP: Final = ["sleep", "600"]
OWN: Final = "e2e-no-writes"
# Debian names those whom it does not confine after their program, and containers inherit that.
CONFINED: Final = re.compile(
    r"ferry-default \(enforce\)|(crun//&ferry-default|ferry-default//&runc) \(mixed\)"
)
UNCONFINED: Final = ("unconfined", "crun (unconfined)", "runc (unconfined)")
# What has to be refused, whatever a container's capabilities are.
_FORBIDDEN: Final = (
    "echo 1 >/proc/sys/kernel/panic",
    "echo b >/proc/sysrq-trigger",
    "mount -t tmpfs none /mnt",
    "head -c 1 /proc/kcore",
)
_ALLOWED: Final = (
    "echo x >/new && chown 1:1 /new && rm /new",
    "ls /sys/class/net && cat /proc/meminfo && ps",
    "echo 1 >/proc/sys/net/ipv4/ip_forward",
    "echo 1 >/proc/sys/kernel/shm_rmid_forced",
    "set -e; sleep 100 & kill -TERM $!; wait; kill -0 1",
)


@contextmanager
def loaded(profile: str) -> Iterator[None]:
    """Have a profile of the administrator's in the kernel for the block."""
    text = f"include <tunables/global>\n{profile}\n"
    subprocess.run(["apparmor_parser", "--replace"], input=text, text=True, check=True)
    try:
        yield
    finally:
        subprocess.run(["apparmor_parser", "--remove"], input=text, text=True, check=True)


@pytest.fixture
def own_profile(node: None) -> Iterator[str]:
    rules = "include <abstractions/base>\n  file,\n  deny /forbidden/** w,"
    with loaded(f"profile {OWN} flags=(attach_disconnected) {{\n  {rules}\n}}"):
        yield OWN


@pytest.fixture
def deaf_profile(node: None) -> Iterator[str]:
    """A profile that says nothing of signals, and so lets nobody send any."""
    with loaded("profile e2e-deaf flags=(attach_disconnected) {\n  file,\n}"):
        yield "e2e-deaf"


def config(
    container: Container, pod: Pod, profile: pb.SecurityProfile | None = None
) -> pb.ContainerConfig:
    """Ask for every capability and no other confinement, so that only the profile is left."""
    config = container.config(pod)
    context = config.linux.security_context
    if profile is not None:
        context.apparmor.CopyFrom(profile)
    context.capabilities.add_capabilities.append("ALL")
    context.seccomp.profile_type = pb.SecurityProfile.Unconfined
    context.ClearField("masked_paths")
    context.ClearField("readonly_paths")
    return config


async def label(cri: Client, container: str) -> str:
    return await cri.output(container, "cat", "/proc/1/attr/current")


@pytest.mark.parametrize("fixed", [False, True], ids=["", "no new privileges"])
async def test_the_default_profile_is_loaded_and_confines(
    cri: Client, image: str, handler: str, logs: Path, *, fixed: bool
) -> None:
    assert apparmor.DEFAULT in apparmor.loaded()
    pod = Pod(name="default", logs=logs)
    async with cri.pod(pod, handler) as running:
        container = Container(name="main", image=image, command=SLEEP)
        default = pb.SecurityProfile(profile_type=pb.SecurityProfile.RuntimeDefault)
        wanted = config(container, pod, default)
        wanted.linux.security_context.no_new_privs = fixed
        main = await cri.run(running, container, wanted)
        assert CONFINED.fullmatch(await label(cri, main))
        for script in _FORBIDDEN:
            exit_code, _, errors = await cri.exec(main, "sh", "-c", script)
            assert exit_code != 0, script
            assert b"denied" in errors, (script, errors)
        for script in _ALLOWED:
            await cri.output(main, "sh", "-c", script)
        assert CONFINED.fullmatch(await cri.output(main, "cat", "/proc/self/attr/current"))
        await cri.stop(main)
        assert (await cri.exited(main)).reason == "Error"


async def test_who_asks_for_nothing_has_the_default(
    cri: Client, image: str, handler: str, logs: Path
) -> None:
    pod = Pod(name="nothing", logs=logs, pid="POD")
    async with cri.pod(pod, handler) as running:
        container = Container(name="main", image=image, command=SLEEP)
        main = await cri.run(running, container, config(container, pod))
        for place in ("1", "self"):  # the first is the holder of the pod's processes
            found = await cri.output(main, "cat", f"/proc/{place}/attr/current")
            assert CONFINED.fullmatch(found), found
        privileged = Container(name="privileged", image=image, command=SLEEP)
        wanted = config(privileged, pod)
        wanted.linux.security_context.privileged = True
        free = await cri.run(running, privileged, wanted)
        assert await cri.output(free, "cat", "/proc/self/attr/current") in UNCONFINED


async def test_an_unconfined_container_has_no_profile(
    cri: Client, image: str, handler: str, logs: Path
) -> None:
    pod = Pod(name="unconfined", logs=logs)
    async with cri.pod(pod, handler) as running:
        container = Container(name="main", image=image, command=SLEEP)
        none = pb.SecurityProfile(profile_type=pb.SecurityProfile.Unconfined)
        main = await cri.run(running, container, config(container, pod, none))
        assert await label(cri, main) in UNCONFINED


@pytest.mark.parametrize("field", ["apparmor", "apparmor_profile"])
async def test_a_named_profile_confines(
    cri: Client, image: str, handler: str, logs: Path, own_profile: str, field: str
) -> None:
    pod = Pod(name="named", logs=logs)
    async with cri.pod(pod, handler) as running:
        container = Container(name="main", image=image, command=SLEEP)
        named = pb.SecurityProfile(
            profile_type=pb.SecurityProfile.Localhost, localhost_ref=own_profile
        )
        wanted = config(container, pod, named)
        if field == "apparmor_profile":
            wanted.linux.security_context.ClearField("apparmor")
            wanted.linux.security_context.apparmor_profile = f"localhost/{own_profile}"
        main = await cri.run(running, container, wanted)
        assert await label(cri, main) == f"{OWN} (enforce)"
        await cri.output(main, "sh", "-c", "mkdir /forbidden && touch /elsewhere")
        exit_code, _, errors = await cri.exec(main, "touch", "/forbidden/file")
        assert (exit_code, b"denied" in errors) == (1, True)


async def test_a_profile_that_forbids_signals_keeps_no_container_alive(
    cri: Client, image: str, handler: str, logs: Path, deaf_profile: str
) -> None:
    pod = Pod(name="deaf", logs=logs)
    async with cri.pod(pod, handler) as running:
        container = Container(name="main", image=image, command=SLEEP)
        deaf = pb.SecurityProfile(
            profile_type=pb.SecurityProfile.Localhost, localhost_ref=deaf_profile
        )
        main = await cri.run(running, container, config(container, pod, deaf))
        pid = await cri.pid(main)
        attribute = Path(f"/proc/{pid}/attr/current")
        assert attribute.read_text() == f"{deaf_profile} (enforce)\n"
        with pytest.raises(PermissionError):
            os.kill(pid, signal.SIGTERM)
        await cri.stop(main)
        assert (await cri.exited(main)).exit_code == 137


async def test_the_newer_field_wins_and_a_profile_must_be_loaded(
    cri: Client, image: str, logs: Path, own_profile: str
) -> None:
    pod = Pod(name="fields", logs=logs)
    async with cri.pod(pod) as running:
        container = Container(name="main", image=image, command=SLEEP)
        missing = pb.SecurityProfile(
            profile_type=pb.SecurityProfile.Localhost, localhost_ref="not-there"
        )
        wanted = config(container, pod, missing)
        wanted.linux.security_context.apparmor_profile = f"localhost/{own_profile}"
        with pytest.raises(aio.AioRpcError, match="'not-there': it is not loaded") as refused:
            await cri.create(running, container, wanted)
        assert code(refused.value) is StatusCode.FAILED_PRECONDITION


async def test_a_restart_brings_the_profile_up_to_date(cri: Client, image: str, logs: Path) -> None:
    pod = Pod(name="older", logs=logs)
    async with cri.pod(pod) as running:
        main = await cri.run(running, Container(name="main", image=image, command=SLEEP))
        older = f"profile {apparmor.DEFAULT} flags=(attach_disconnected) {{\n  file,\n  signal,\n}}"
        subprocess.run(["apparmor_parser", "--replace"], input=older, text=True, check=True)
        write = ("sh", "-c", "echo 1 >/proc/sys/kernel/shm_rmid_forced; head -c 1 /proc/kallsyms")
        assert (await cri.exec(main, *write))[0] == 0
        installed.systemctl("restart", installed.UNIT)
        exit_code, _, errors = await cri.exec(main, *write)
        assert (exit_code, b"denied" in errors) == (1, True)
