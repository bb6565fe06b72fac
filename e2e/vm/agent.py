#!/usr/bin/python3
"""Runs commands inside the machine for whoever is at the other end of a virtio port.

Lines of JSON: in comes `{"id", "command"}`; out go `{"id", "output"}` (base64), as it comes, and
`{"id", "code"}`. A command that nobody waits for any more does not hold up the next one. Only the
standard library is needed.
"""

import base64
import json
import os
import subprocess
import threading
import time
from typing import Final

PORT: Final = "/dev/virtio-ports/ferry-agent"
_PAUSE: Final = 0.1


def serve(port: int) -> None:
    """Run what is asked for, for ever."""
    lock = threading.Lock()
    rest = b""
    while True:
        data = os.read(port, 1 << 16)
        if not data:  # nobody is connected on the other side
            time.sleep(_PAUSE)
            continue
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            threading.Thread(target=_run, args=(port, lock, json.loads(line))).start()


def _run(port: int, lock: threading.Lock, request: dict[str, str]) -> None:
    def send(**answer: object) -> None:
        data = json.dumps({"id": request["id"], **answer}).encode() + b"\n"
        with lock:
            while data:
                data = data[os.write(port, data) :]

    process = subprocess.Popen(
        ["bash", "-lc", request["command"]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    while output := os.read(process.stdout.fileno(), 1 << 15):
        send(output=base64.b64encode(output).decode())
    process.stdout.close()
    send(code=process.wait())


if __name__ == "__main__":
    serve(os.open(PORT, os.O_RDWR))
