"""CRI's enumerations as tables of ours.

proto3 enums are open: a newer client may send a number that is not in any table. What ferry does
not know it must not guess, so that is an error.
"""

import signal
from collections.abc import Mapping
from typing import Final, TypeVar

from cri.api.runtime.v1 import api_pb2 as pb
from runtime.cgroups import Driver
from runtime.pods import ContainerState, SandboxState
from runtime.spec import GroupsPolicy, NamespaceMode, ProfileKind, Propagation
from store.errors import InvalidArgumentError

N = TypeVar("N", bound=int)
T = TypeVar("T")

NAMESPACE_MODES: Final = {
    pb.POD: NamespaceMode.POD,
    pb.CONTAINER: NamespaceMode.CONTAINER,
    pb.NODE: NamespaceMode.NODE,
    pb.TARGET: NamespaceMode.TARGET,
}
PROPAGATIONS: Final = {
    pb.PROPAGATION_PRIVATE: Propagation.PRIVATE,
    pb.PROPAGATION_HOST_TO_CONTAINER: Propagation.HOST_TO_CONTAINER,
    pb.PROPAGATION_BIDIRECTIONAL: Propagation.BIDIRECTIONAL,
}
PROFILE_KINDS: Final = {
    pb.SecurityProfile.RuntimeDefault: ProfileKind.RUNTIME_DEFAULT,
    pb.SecurityProfile.Unconfined: ProfileKind.UNCONFINED,
    pb.SecurityProfile.Localhost: ProfileKind.LOCALHOST,
}
GROUPS_POLICIES: Final = {pb.Merge: GroupsPolicy.MERGE, pb.Strict: GroupsPolicy.STRICT}
PROTOCOLS: Final = {pb.TCP: "tcp", pb.UDP: "udp", pb.SCTP: "sctp"}
SANDBOX_STATES: Final = {
    pb.SANDBOX_READY: SandboxState.READY,
    pb.SANDBOX_NOTREADY: SandboxState.NOTREADY,
}
CONTAINER_STATES: Final = {
    pb.CONTAINER_CREATED: ContainerState.CREATED,
    pb.CONTAINER_RUNNING: ContainerState.RUNNING,
    pb.CONTAINER_EXITED: ContainerState.EXITED,
    pb.CONTAINER_UNKNOWN: ContainerState.UNKNOWN,
}

NAMESPACE_MODE_NUMBERS: Final = {ours: number for number, ours in NAMESPACE_MODES.items()}
PROPAGATION_NUMBERS: Final = {ours: number for number, ours in PROPAGATIONS.items()}
CONTAINER_STATE_NUMBERS: Final = {ours: number for number, ours in CONTAINER_STATES.items()}
CGROUP_DRIVER_NUMBERS: Final = {Driver.SYSTEMD: pb.SYSTEMD, Driver.CGROUPFS: pb.CGROUPFS}


def known(table: Mapping[N, T], number: N, field: str) -> T:
    """Return what `number` stands for.

    Raises:
        InvalidArgumentError: the number is of a newer CRI, or of none; names `field`.
    """
    if number not in table:
        raise InvalidArgumentError(f"{field}: unknown value {number}; known are 0 to {max(table)}")
    return table[number]


def _signal_name(key: str) -> str:
    if key == "SIGNAL_RUNTIME_DEFAULT":
        return ""
    return key.removeprefix("SIGNAL_").replace("MINPLUS", "MIN+").replace("MAXMINUS", "MAX-")


SIGNALS: Final = {number: _signal_name(key) for key, number in pb.Signal.items()}
"""Names as images and OCI runtimes write them (`SIGTERM`, `SIGRTMIN+3`); empty for the default."""

_SIGNAL_NUMBERS: Final = {name: number for number, name in SIGNALS.items()}
_BY_KERNEL_NUMBER: Final = {
    int(one): _SIGNAL_NUMBERS[one.name] for one in signal.Signals if one.name in _SIGNAL_NUMBERS
}


def signal_to(name: str) -> pb.Signal.ValueType:
    """Return CRI's number of a signal, named as images may: `SIGTERM`, `term`, `15`.

    What CRI has no number for is its default.
    """
    if name.isdecimal():
        return _BY_KERNEL_NUMBER.get(int(name), pb.SIGNAL_RUNTIME_DEFAULT)
    full = f"SIG{name.upper().removeprefix('SIG')}"
    return _SIGNAL_NUMBERS.get(full, pb.SIGNAL_RUNTIME_DEFAULT)
