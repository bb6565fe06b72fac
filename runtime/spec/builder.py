"""From a request to the OCI runtime spec that fulfils it.

Pure: the same request gives the same spec, byte for byte (golden files hold that). Every part has
a module of its own; this one only puts them together.
"""

from typing import Final

from runtime.spec import (
    Edits,
    Hook,
    Json,
    SpecRequest,
    capabilities,
    devices,
    mounts,
    namespaces,
    process,
    resources,
    seccomp,
    security,
)
from runtime.spec.text import checked
from store.errors import InvalidArgumentError

_OCI_VERSION: Final = "1.1.0"
# Under systemd crun puts a container one level below its scope unless it is told otherwise. Limits
# and counters are the scope's, and systemd and the kubelet look there.
_IN_ITS_SCOPE: Final = {"run.oci.systemd.subgroup": ""}


def build(request: SpecRequest) -> dict[str, Json]:
    """Return `config.json` for the request.

    Raises:
        InvalidArgumentError: the request can never work; names the field.
        FailedPreconditionError: this node lacks what the request needs.
        Error: the request is incomplete, which is the caller's fault.
    """
    permitted, ambient = capabilities.select(
        request.security.capabilities,
        privileged=request.security.privileged,
        host=request.host.capabilities,
    )
    program = process.document(request, capabilities.document(permitted, ambient))
    return {
        "ociVersion": _OCI_VERSION,
        "process": {**program, **security.process_labels(request)},
        "root": {"path": str(request.rootfs), "readonly": request.security.readonly_rootfs},
        "mounts": mounts.document(request),
        **_hooks(request.edits),
        "annotations": _annotations(request),
        "linux": _linux(request, permitted),
    }


def _hooks(edits: Edits) -> dict[str, Json]:
    if not edits.hooks:
        return {}
    return {"hooks": {name: [_hook(hook) for hook in hooks] for name, hooks in edits.hooks.items()}}


def _hook(hook: Hook) -> dict[str, Json]:
    entry: dict[str, Json] = {"path": hook.path}
    if hook.args:
        entry["args"] = list(hook.args)
    if hook.env:
        entry["env"] = list(hook.env)
    if hook.timeout is not None:
        entry["timeout"] = hook.timeout
    return entry


def _annotations(request: SpecRequest) -> dict[str, Json]:
    for name, value in request.annotations.items():
        if not checked("annotation", name):
            raise InvalidArgumentError("cannot use annotations: one has no name")
        checked(f"annotation {name}", value)
    own = _IN_ITS_SCOPE if ":" in request.cgroups_path else {}
    return {**own, **request.annotations}


def _linux(request: SpecRequest, permitted: frozenset[str]) -> dict[str, Json]:
    nodes, rules = devices.documents(request)
    limits = resources.document(request.resources, request.host)
    optional: dict[str, Json] = {
        "sysctl": _sysctls(request),
        "devices": nodes,
        "seccomp": seccomp.document(request, permitted),
        "rootfsPropagation": mounts.rootfs_propagation(request.mounts),
        "intelRdt": dict(request.edits.rdt),
    }
    return {
        "namespaces": namespaces.document(request),
        **namespaces.id_mappings(request.sandbox_modes),
        "cgroupsPath": request.cgroups_path,
        "resources": {"devices": rules, **limits},
        **{name: value for name, value in optional.items() if value},
        **security.linux(request),
    }


def _sysctls(request: SpecRequest) -> dict[str, Json]:
    namespaces.check_sysctls(request.sysctls, request.sandbox_modes)
    return dict(request.sysctls)
