"""Booting the machine, running commands in it, and ending it."""

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

PROGRAM: Final = "qemu-system-x86_64"
_BOOT_SECONDS: Final = 600.0
_END_SECONDS: Final = 60.0
_PAUSE: Final = 0.1
_SHARE: Final = "mountpoint -q /host || mount -o ro LABEL=host /host"


class MachineError(Exception):
    """The machine, or what makes it, did not do what it was told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """What a machine boots from; `share` is a second disk, which it only reads, at /host."""

    image: Path
    kernel: Path
    initrd: Path
    share: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Memory in MiB, processors, and whether the processor's own virtualisation is used."""

    memory: int = 2048
    processors: int = 2
    kvm: bool = False

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> "Size":
        """Return the size that FERRY_VM_MEMORY, FERRY_VM_CPUS and FERRY_VM_KVM ask for."""
        return cls(
            memory=int(environment.get("FERRY_VM_MEMORY", "2048")),
            processors=int(environment.get("FERRY_VM_CPUS", "2")),
            kvm=environment.get("FERRY_VM_KVM", "") not in {"", "0"},
        )


class Wire:
    """The way to the agent in a machine; one command at a time.

    Args:
        path: the socket that QEMU listens on.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def run(self, command: str, seconds: float = 600) -> str:
        """Return what a command prints; MachineError if it fails."""
        output: list[bytes] = []
        code = self.call(command, seconds, output)
        text = b"".join(output).decode(errors="replace")
        if code != 0:
            raise MachineError(f"{command} ended with {code}:\n{text[-4000:]}")
        return text

    def call(self, command: str, seconds: float, output: list[bytes] | None = None) -> int:
        """Return a command's exit code; its output goes to `output`, or to ours as it comes.

        Raises:
            MachineError: the machine has gone, or has not answered in time.
        """
        for answer in self._ask(command, time.monotonic() + seconds):
            if "code" in answer:
                return int(answer["code"])
            data = base64.b64decode(answer["output"])
            if output is None:
                sys.stdout.buffer.write(data)
                sys.stdout.flush()
            else:
                output.append(data)
        raise MachineError(f"no answer to {command} within {seconds:g} s")

    def _ask(self, command: str, deadline: float) -> Iterator[Mapping[str, str]]:
        number = uuid.uuid4().hex
        with socket.socket(socket.AF_UNIX) as wire:
            wire.connect(str(self._path))
            wire.sendall(json.dumps({"id": number, "command": command}).encode() + b"\n")
            rest = b""
            while (left := deadline - time.monotonic()) > 0:
                wire.settimeout(left)
                try:
                    data = wire.recv(1 << 16)
                except TimeoutError:
                    return
                if not data:
                    raise MachineError("the machine went away")
                *lines, rest = (rest + data).split(b"\n")
                answers = [json.loads(line) for line in lines]
                yield from (answer for answer in answers if answer["id"] == number)


class Machine:
    """A machine that runs for the block; its files (socket, console) lie in `folder`."""

    def __init__(self, folder: Path, disk: Disk, size: Size) -> None:
        self.folder = folder
        self._disk = disk
        self._size = size
        self.socket = folder / "agent.sock"
        self.wire = Wire(self.socket)
        self._console = folder / "console.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.socket.unlink(missing_ok=True)
        with (self.folder / "qemu.log").open("wb") as log:
            self._process = subprocess.Popen(
                self._argv(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            self._await_socket(self._process)
            self.wire.run(_SHARE, seconds=_BOOT_SECONDS)
        except BaseException:
            sys.stderr.write(self._tail() + "\n")
            self._process.kill()
            self._process.wait()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process is not None
        with suppress(MachineError, OSError):
            self.wire.call("systemctl poweroff --no-block", seconds=_END_SECONDS)
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def _await_socket(self, process: "subprocess.Popen[bytes]") -> None:
        while not self.socket.is_socket():
            if process.poll() is not None:
                log = (self.folder / "qemu.log").read_text(errors="replace")
                raise MachineError(f"the machine does not start:\n{log[-2000:]}")
            time.sleep(_PAUSE)

    def _tail(self) -> str:
        if not self._console.exists():
            return "(no console)"
        return "\n".join(self._console.read_text(errors="replace").splitlines()[-20:])

    def _argv(self) -> list[str]:
        emulated = ["-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max,-cx16,-la57"]
        kernel = "root=/dev/vda rw console=ttyS0 quiet mitigations=off nokaslr apparmor=1"
        return [
            shutil.which(PROGRAM) or PROGRAM,
            *("-M", "q35", "-nodefaults", "-no-reboot", "-display", "none", "-monitor", "none"),
            *(["-accel", "kvm", "-cpu", "host"] if self._size.kvm else emulated),
            *("-m", str(self._size.memory), "-smp", str(self._size.processors)),
            *("-kernel", str(self._disk.kernel), "-initrd", str(self._disk.initrd)),
            *("-append", kernel if self._size.kvm else f"{kernel} tsc=reliable"),
            *("-drive", f"file={self._disk.image},if=virtio,format=raw,cache=unsafe"),
            *("-drive", f"file={self._disk.share},if=virtio,format=raw,readonly=on"),
            *("-serial", f"file:{self._console}"),
            *("-device", "virtio-serial-pci", "-device", "virtio-rng-pci"),
            *("-chardev", f"socket,id=agent,path={self.socket},server=on,wait=off"),
            *("-device", "virtserialport,chardev=agent,name=ferry-agent"),
            *("-netdev", "user,id=net,restrict=on", "-device", "virtio-net-pci,netdev=net"),
        ]


def why_not() -> str:
    """Say what this host lacks to run the machine; nothing if it has it all."""
    if os.geteuid() != 0:
        return "needs root"
    programs = {PROGRAM: "qemu-system-x86", "debootstrap": "debootstrap", "mke2fs": "e2fsprogs"}
    missing = [package for name, package in programs.items() if shutil.which(name) is None]
    return f"missing packages: {' '.join(missing)}" if missing else ""
