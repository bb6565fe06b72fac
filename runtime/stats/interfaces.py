"""The counters of pods' interfaces, read from inside their network namespaces.

No process of the pod is needed: a thread that lives for this enters one pinned namespace after
another, and /proc/thread-self/net shows that of the thread (proc_net(5)).
"""

import errno
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from runtime.kernel import threads
from runtime.network.links import POD_INTERFACE
from runtime.stats import Interface, Network

_FILE: Final = Path("/proc/thread-self/net/dev")
_LOOPBACK: Final = "lo"
_FIELDS: Final = 16
# EINVAL is said of the file that is left for a moment where a namespace was pinned.
_GONE: Final = frozenset({errno.ENOENT, errno.EINVAL})


def parse(text: str) -> Iterator[Interface]:
    """Yield the interfaces of a /proc/net/dev, the loopback too; pure."""
    for line in text.splitlines():
        name, separator, rest = line.partition(":")
        words = rest.split()
        if separator and len(words) >= _FIELDS and all(word.isdigit() for word in words):
            yield _interface(name.strip(), [int(word) for word in words])


def _interface(name: str, numbers: list[int]) -> Interface:
    received, sent = numbers[:4], numbers[8:12]
    return Interface(
        name=name,
        rx_bytes=received[0],
        rx_packets=received[1],
        rx_errors=received[2],
        rx_dropped=received[3],
        tx_bytes=sent[0],
        tx_packets=sent[1],
        tx_errors=sent[2],
        tx_dropped=sent[3],
    )


def network(found: Iterable[Interface], timestamp: int) -> Network:
    """Return a pod's network: the interface that every pod has comes first."""
    own = [one for one in found if one.name != _LOOPBACK]
    own.sort(key=lambda one: one.name != POD_INTERFACE)
    return Network(timestamp=timestamp, interfaces=tuple(own))


def read(netns: Mapping[str, Path]) -> dict[str, Network]:
    """Return each pod's network by the key of its pinned namespace; without those gone. Blocking.

    Raises:
        OSError: the kernel refuses to enter a namespace that is there.
    """
    return threads.in_thread(lambda: dict(_each(netns))) if netns else {}


def _each(netns: Mapping[str, Path]) -> Iterator[tuple[str, Network]]:
    """Enter and read, on a thread that ends after this."""
    for key, pin in netns.items():
        try:
            threads.enter(pin)
        except OSError as error:
            if error.errno in _GONE:
                continue
            raise
        yield key, network(parse(_FILE.read_text()), time.time_ns())
