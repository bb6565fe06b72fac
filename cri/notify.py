"""Telling systemd how the daemon is, sd_notify(3); nothing happens where nobody listens."""

import asyncio
import contextlib
import os
import socket
import time


def notify(*states: str) -> None:
    """Send states such as `READY=1`, `STOPPING=1`, `WATCHDOG=1`, `STATUS=...`.

    Nobody is told where the listener is gone or does not read: that must not end the daemon.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    path = "\0" + address[1:] if address.startswith("@") else address
    kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    with socket.socket(socket.AF_UNIX, kind) as channel, contextlib.suppress(OSError):
        channel.sendto("\n".join(states).encode(), path)


def reloading() -> tuple[str, str]:
    """Return the states that begin a reload; `READY=1` ends it."""
    return "RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"


def watchdog_seconds() -> float | None:
    """Return how often systemd wants to hear from this process, or None."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return (int(microseconds) / 1e6 or None) if microseconds.isdecimal() else None


async def watchdog() -> None:
    """For ever: tell systemd that the loop turns, twice as often as it wants to hear it."""
    seconds = watchdog_seconds()
    while seconds is not None:
        notify("WATCHDOG=1")
        await asyncio.sleep(seconds / 2)
