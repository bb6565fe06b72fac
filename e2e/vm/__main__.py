"""`make e2e-vm`: install ferry on an emulated Debian 13 and run the tests of `e2e/node` there.

    python -m e2e.vm [PYTEST ARGUMENT...]
    python -m e2e.vm --keep
    python -m e2e.vm --at SOCKET COMMAND

Prints why and succeeds where this host cannot do it. `--keep` runs no tests and keeps the machine
until it is interrupted; `--at` runs a command in such a machine. FERRY_VM_MEMORY (MiB),
FERRY_VM_CPUS and FERRY_VM_KVM=1 choose the machine.
"""

import argparse
import os
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from e2e.vm import disk
from e2e.vm.machine import Machine, MachineError, Size, Wire, why_not

# hypothesis is there to be imported; its plugin wants a part that is compiled for another Python.
_TESTS: Final = (
    "cd /root/ferry && FERRY_NODE=/host/registry PYTHONPATH=/host/site:/root/ferry "
    "/opt/ferry/venv/bin/python -m pytest -p no:cacheprovider -p no:hypothesispytest"
)
_TEST_SECONDS: Final = 4 * 3600.0
_INSTALL_SECONDS: Final = 1800.0


def arguments(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Read the command line; what is not known goes to pytest."""
    parser = argparse.ArgumentParser(prog="python -m e2e.vm", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="run no tests; wait")
    parser.add_argument("--at", type=Path, help="the socket of a machine that was kept")
    return parser.parse_known_args(argv)


def work(folder: Path, options: argparse.Namespace, rest: Sequence[str]) -> int:
    """Make, boot, install, test; return the tests' exit code."""
    began = time.monotonic()

    def say(text: str) -> None:
        sys.stderr.write(f"vm: {time.monotonic() - began:6.0f} s  {text}\n")

    disks = disk.make(folder)
    say("booting")
    with Machine(folder, disks, Size.of_environment(os.environ)) as machine:
        say("installing")
        machine.wire.run("cd /root/ferry && deploy/install.sh", _INSTALL_SECONDS)
        say("ferryd runs")
        if options.keep:
            say(f"kept until it is interrupted: python -m e2e.vm --at {machine.socket} COMMAND")
            signal.pause()
        return machine.wire.call(f"{_TESTS} {shlex.join(rest or ['e2e/node'])}", _TEST_SECONDS)


def main() -> int:
    """Do it, or say why not."""
    options, rest = arguments(sys.argv[1:])
    if options.at:
        return Wire(options.at).call(" ".join(rest), _TEST_SECONDS)
    if reason := why_not():
        print(f"vm: skipped: {reason}")
        return 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the machine ends with us
    with tempfile.TemporaryDirectory(prefix="ferry-vm-") as folder:
        try:
            return work(Path(folder), options, rest)
        except KeyboardInterrupt:
            return 130
        except MachineError as error:
            print(f"vm: {error}")
            return 1


if __name__ == "__main__":
    sys.exit(main())
