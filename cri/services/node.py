"""What the node is: version, conditions, handlers, cgroup driver."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from cri.api.runtime.v1 import api_pb2 as pb
from cri.api.runtime.v1 import api_pb2_grpc
from cri.convert.enums import CGROUP_DRIVER_NUMBERS
from cri.services.defaults import RequestDefaults
from cri.services.validation import check
from runtime.cgroups import Driver
from runtime.network import Network, NetworkStatus
from runtime.oci import Handler
from runtime.spec import Json

# The version of the kubelet's side, which never changed; the kubelet compares it.
_KUBE_API: Final = "0.1.0"

Documents = Callable[[], Mapping[str, Json]]
"""Makes the JSON documents of a verbose Status; `config` must have `stateDir` for critest."""


def _no_documents() -> Mapping[str, Json]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """The facts that do not change while the daemon runs.

    `user_namespaces` (also of pods on the node's network) and `recursive_readonly` are what this
    node can do; a handler has a feature only if its program has it, too.
    """

    version: str
    driver: Driver
    handlers: Mapping[str, Handler]
    default_handler: str
    user_namespaces: bool = False
    recursive_readonly: bool = False
    defaults: RequestDefaults = field(default_factory=RequestDefaults)
    documents: Documents = field(default=_no_documents)

    def named(self) -> dict[str, Handler]:
        """Return the handlers by every name a client may use; "" is the default."""
        default = self.handlers.get(self.default_handler)
        return {**({"": default} if default else {}), **self.handlers}

    def status(self) -> NetworkStatus:
        """Return whether containers can be run, with a reason."""
        if self.default_handler in self.handlers:
            return NetworkStatus(ready=True, reason="RuntimeReady")
        found = ", ".join(self.handlers) or "none"
        message = f"no default OCI runtime works here (usable: {found}); see `ferry doctor`"
        return NetworkStatus(ready=False, reason="NoRuntime", message=message)


class NodeCalls(api_pb2_grpc.RuntimeServiceServicer):
    """Version, Status, RuntimeConfig, UpdateRuntimeConfig."""

    _node: Node
    _network: Network

    async def Version(self, request: pb.VersionRequest, context: object) -> pb.VersionResponse:
        """Say who answers; `runtime_name` becomes the scheme of container ids."""
        check(request)
        return pb.VersionResponse(
            version=_KUBE_API,
            runtime_name="ferry",
            runtime_version=self._node.version,
            runtime_api_version="v1",
        )

    async def Status(self, request: pb.StatusRequest, context: object) -> pb.StatusResponse:
        """Tell both conditions, and what each handler can do; from memory."""
        check(request)
        documents = self._node.documents() if request.verbose else {}
        return pb.StatusResponse(
            status=pb.RuntimeStatus(
                conditions=[
                    _condition("RuntimeReady", self._node.status()),
                    _condition("NetworkReady", self._network.status()),
                ]
            ),
            info={name: json.dumps(document) for name, document in documents.items()},
            runtime_handlers=[
                self._handler(name, handler) for name, handler in self._node.named().items()
            ],
            features=pb.RuntimeFeatures(
                supplemental_groups_policy=True,
                user_namespaces_host_network=self._node.user_namespaces,
                mount_options=True,
            ),
        )

    def _handler(self, name: str, handler: Handler) -> pb.RuntimeHandler:
        can = handler.features
        users = self._node.user_namespaces and can.user_namespaces and can.idmap_mounts
        deep = self._node.recursive_readonly and can.recursive_readonly
        return pb.RuntimeHandler(
            name=name,
            features=pb.RuntimeHandlerFeatures(
                recursive_read_only_mounts=deep, user_namespaces=users
            ),
        )

    async def RuntimeConfig(
        self, request: pb.RuntimeConfigRequest, context: object
    ) -> pb.RuntimeConfigResponse:
        """Tell the kubelet which cgroup driver it has to use."""
        check(request)
        driver = CGROUP_DRIVER_NUMBERS[self._node.driver]
        return pb.RuntimeConfigResponse(linux=pb.LinuxRuntimeConfiguration(cgroup_driver=driver))

    async def UpdateRuntimeConfig(
        self, request: pb.UpdateRuntimeConfigRequest, context: object
    ) -> pb.UpdateRuntimeConfigResponse:
        """Take the pod range of this node; an empty one changes nothing."""
        check(request)
        if cidr := request.runtime_config.network_config.pod_cidr:
            await self._network.set_pod_cidr(cidr)
        return pb.UpdateRuntimeConfigResponse()


def _condition(kind: str, status: NetworkStatus) -> pb.RuntimeCondition:
    return pb.RuntimeCondition(
        type=kind, status=status.ready, reason=status.reason, message=status.message
    )
