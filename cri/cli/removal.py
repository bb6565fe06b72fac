"""Removing pods, with what `ferry run` made for them."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cri.api.runtime.v1 import api_pb2
    from cri.cli.daemon import Daemon

RUN_LABEL: Final = "io.ferry.run"
"""Marks pods that `ferry run` made: their logs are ferry's to remove, others are the kubelet's."""

_LOGS: Final = Path("/var/log/ferry")


def log_directory(metadata: "api_pb2.PodSandboxMetadata") -> Path:
    """Return where the logs of a pod that `ferry run` makes lie.

    Not in /var/log/pods: the kubelet clears that of pods it does not know.
    """
    return _LOGS / f"{metadata.name}_{metadata.uid}"


async def remove(daemon: "Daemon", pod: "api_pb2.PodSandbox") -> None:
    """Stop and remove a pod, and its logs if `ferry run` made it."""
    await daemon.remove_pod(pod.id)
    if RUN_LABEL in pod.labels:
        shutil.rmtree(log_directory(pod.metadata), ignore_errors=True)


async def remove_by_uid(daemon: "Daemon", uid: str) -> None:
    """Remove the pods of a uid, whether or not their start came to an answer."""
    for pod in await daemon.pods():
        if pod.metadata.uid == uid:
            await remove(daemon, pod)
