"""Looking at the node without a daemon: what keeps it from running is what one wants to know."""

from typing import Final

from cri import node
from cri.config.load import load
from runtime.doctor import Finding, Grade
from store.errors import Error

_MEND: Final = (
    "start it: `systemctl start ferryd`; if it ends again, `journalctl -u ferryd` says why"
)


async def without_daemon(why: str) -> list[Finding]:
    """Return the findings of this node as its configuration has it, the missing daemon first."""
    first, _, _ = why.partition("\n")
    daemon = Finding(subject="daemon", grade=Grade.BROKEN, text=first, mend=_MEND)
    try:
        found = await node.equipment(load().config)
    except Error as error:
        broken = Finding(subject="configuration", grade=Grade.BROKEN, text=str(error))
        return [daemon, broken]
    return [daemon, *node.findings(found)]
