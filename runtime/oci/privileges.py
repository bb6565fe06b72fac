"""What a program run in a container must not have more of than the container itself.

`crun exec` takes users, capabilities and the seccomp filter from the container, but not its
no_new_privs: a setuid program would win privileges that the container's own processes cannot.
`runc exec` takes all of it. Both know the option that says so.
"""

from pathlib import Path
from typing import Final

import msgspec


class _Process(msgspec.Struct):
    no_new_privileges: bool = msgspec.field(name="noNewPrivileges", default=False)


class _Spec(msgspec.Struct):
    process: _Process = msgspec.field(default_factory=_Process)


_DECODER: Final = msgspec.json.Decoder(_Spec)


def exec_options(kept: Path) -> tuple[str, ...]:
    """Return options for `exec`; `kept` is where the runtime keeps the container's state.

    Only crun keeps the spec there. One that cannot be read counts as the stricter kind.
    """
    try:
        spec = _DECODER.decode((kept / "config.json").read_bytes())
    except FileNotFoundError:
        return ()
    except msgspec.MsgspecError:
        return ("--no-new-privs",)
    return ("--no-new-privs",) if spec.process.no_new_privileges else ()
