"""What `ferry run` asks for: a pod and its container, from what is written on the command line."""

import os
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cri.api.runtime.v1 import api_pb2 as pb
from cri.cli.removal import RUN_LABEL, log_directory
from store.errors import InvalidArgumentError

_NAMESPACE: Final = "default"
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_PROTOCOLS: Final = {"": pb.TCP, "tcp": pb.TCP, "udp": pb.UDP, "sctp": pb.SCTP}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What was written on the command line."""

    image: str
    name: str
    command: Sequence[str] = ()
    env: Sequence[str] = ()
    publish: Sequence[str] = ()
    host_network: bool = False


def pod_config(wish: Wish) -> pb.PodSandboxConfig:
    """Return the pod.

    Raises:
        InvalidArgumentError: a name or port cannot be; names the option.
    """
    if not _NAME.fullmatch(wish.name):
        raise InvalidArgumentError(
            f"cannot use --name {wish.name!r}: want 1 to 63 lower-case letters, digits and '-'"
        )
    if wish.host_network and wish.publish:
        raise InvalidArgumentError(
            "cannot use --publish with --net-host: the program's ports are the node's already"
        )
    metadata = pb.PodSandboxMetadata(name=wish.name, namespace=_NAMESPACE, uid=str(uuid.uuid4()))
    config = pb.PodSandboxConfig(
        metadata=metadata,
        hostname="" if wish.host_network else wish.name,
        log_directory=str(log_directory(metadata)),
        labels={RUN_LABEL: "true"},
        port_mappings=map(port, wish.publish),
    )
    config.linux.security_context.namespace_options.CopyFrom(_namespaces(wish))
    return config


def container_config(wish: Wish, environment: Mapping[str, str] = os.environ) -> pb.ContainerConfig:
    """Return the container; a variable without a value gets that of `environment`.

    Raises:
        InvalidArgumentError: a variable cannot be; names it.
    """
    config = pb.ContainerConfig(
        metadata=pb.ContainerMetadata(name="main"),
        image=pb.ImageSpec(image=wish.image, user_specified_image=wish.image),
        args=wish.command,
        envs=[_variable(text, environment) for text in wish.env],
        log_path="main.log",
    )
    config.linux.security_context.namespace_options.CopyFrom(_namespaces(wish))
    return config


def port(text: str) -> pb.PortMapping:
    """Return the mapping that HOST:CONTAINER or HOST:CONTAINER/PROTOCOL means.

    Raises:
        InvalidArgumentError: it means none.
    """
    ports, _, protocol = text.partition("/")
    host, _, inside = ports.partition(":")
    if not _is_port(host) or not _is_port(inside) or protocol not in _PROTOCOLS:
        raise InvalidArgumentError(
            f"cannot use --publish {text!r}: want HOST:CONTAINER or HOST:CONTAINER/udp, with ports"
            " from 1 to 65535"
        )
    return pb.PortMapping(
        protocol=_PROTOCOLS[protocol], host_port=int(host), container_port=int(inside)
    )


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 5 and 0 < int(text) < 65536


def _variable(text: str, environment: Mapping[str, str]) -> pb.KeyValue:
    key, equals, value = text.partition("=")
    if not key:
        raise InvalidArgumentError(f"cannot use --env {text!r}: want KEY=VALUE or KEY")
    if not equals:
        if key not in environment:
            raise InvalidArgumentError(
                f"cannot use --env {key}: this shell does not have it; write {key}=VALUE"
            )
        value = environment[key]
    return pb.KeyValue(key=key, value=value.encode(errors="surrogateescape"))


def _namespaces(wish: Wish) -> pb.NamespaceOption:
    network = pb.NODE if wish.host_network else pb.POD
    return pb.NamespaceOption(pid=pb.CONTAINER, network=network)
