"""Static pods: the files that a kubelet without an API server runs."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from e2e.kubelet.process import NODE

Json = Mapping[str, object]

NAMESPACE: Final = "e2e"
UNTIL_TERMINATED: Final = 'trap "exit 0" TERM; while :; do sleep 1 & wait; done'
"""A script that runs on, and ends at once when it is asked to."""


def shell(name: str, image: str, script: str = UNTIL_TERMINATED, **fields: object) -> Json:
    """Describe a container that runs a shell script; `fields` are more of its fields."""
    return container(name, image, command=["sh", "-c", script], **fields)


def container(name: str, image: str, **fields: object) -> Json:
    """Describe a container."""
    return {"name": name, "image": image, "imagePullPolicy": "IfNotPresent", **fields}


def pod(name: str, containers: Sequence[Json], **spec: object) -> Json:
    """Describe a pod; `spec` are more fields of its specification."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"e2e": name}},
        "spec": {"terminationGracePeriodSeconds": 2, "containers": containers, **spec},
    }


def empty_dir(name: str, **fields: object) -> Json:
    """Describe a volume that lives as long as the pod."""
    return {"name": name, "emptyDir": fields}


def host_path(name: str, path: Path, kind: str = "Directory") -> Json:
    """Describe a volume that is a file or folder of the node."""
    return {"name": name, "hostPath": {"path": str(path), "type": kind}}


def mount(name: str, path: str, **fields: object) -> Json:
    """Describe where a container sees a volume."""
    return {"name": name, "mountPath": path, **fields}


def probe(kind: str, action: Json, **fields: object) -> Json:
    """Describe a probe that looks every second and believes the first failure."""
    return {kind: action, "periodSeconds": 1, "failureThreshold": 1, **fields}


def full_name(manifest: Json) -> str:
    """Return the name under which the kubelet runs it."""
    return f"{_name(manifest)}-{NODE}"


def write(folder: Path, manifest: Json) -> None:
    """Put `manifest` into the folder that a kubelet watches, whole."""
    work = folder.with_name(f".{_name(manifest)}.json")
    work.write_text(json.dumps(manifest, indent=1))
    work.rename(folder / f"{_name(manifest)}.json")


def remove(folder: Path, manifest: Json) -> None:
    """Take `manifest` out of the folder."""
    (folder / f"{_name(manifest)}.json").unlink()


def _name(manifest: Json) -> str:
    metadata = manifest["metadata"]
    assert isinstance(metadata, dict)
    return str(metadata["name"])
