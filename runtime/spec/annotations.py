"""Which of a client's annotations reach an OCI runtime.

Runtimes act on some: systemd properties, another CRIU configuration, hooks, even another program.
So none is passed on but those that the handler's configuration names (CVE-2024-3154).
"""

import fnmatch
from collections.abc import Iterable, Mapping


def select(annotations: Mapping[str, str], allowed: Iterable[str]) -> dict[str, str]:
    """Return those whose names match one of the handler's patterns (`*` and `?` as in a shell)."""
    patterns = tuple(allowed)
    return {
        name: value
        for name, value in annotations.items()
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    }
