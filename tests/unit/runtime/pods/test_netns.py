from dataclasses import replace
from pathlib import Path

import pytest

from runtime.pods import SandboxConfig, SandboxMetadata
from runtime.pods.layout import Layout
from runtime.pods.netns import PodNamespaces
from runtime.spec import NamespaceMode, NamespaceModes, Security
from store.errors import FailedPreconditionError, NotFoundError
from tests.fakes.pods import FakeSandboxes

CONFIG = SandboxConfig(metadata=SandboxMetadata(name="pod", namespace="ns", uid="u"))


@pytest.fixture
def sandboxes() -> FakeSandboxes:
    return FakeSandboxes()


@pytest.fixture
def namespaces(sandboxes: FakeSandboxes, tmp_path: Path) -> PodNamespaces:
    return PodNamespaces(sandboxes, Layout(tmp_path / "root", tmp_path / "state"))


async def test_a_pods_network_is_where_it_is_pinned(
    sandboxes: FakeSandboxes, namespaces: PodNamespaces, tmp_path: Path
) -> None:
    id_ = await sandboxes.run("test", CONFIG, "")
    pin = Layout(tmp_path / "root", tmp_path / "state").sandbox("test", id_).namespace("net")
    assert namespaces.network("test", id_) == pin


async def test_a_pod_on_the_nodes_network_needs_none(
    sandboxes: FakeSandboxes, namespaces: PodNamespaces
) -> None:
    security = Security(namespaces=NamespaceModes(network=NamespaceMode.NODE))
    id_ = await sandboxes.run("test", replace(CONFIG, security=security), "")
    assert namespaces.network("test", id_) is None


async def test_a_stopped_pod_has_no_network(
    sandboxes: FakeSandboxes, namespaces: PodNamespaces
) -> None:
    id_ = await sandboxes.run("test", CONFIG, "")
    await sandboxes.stop("test", id_)
    with pytest.raises(FailedPreconditionError, match=f"cannot connect to pod {id_}: it is not"):
        namespaces.network("test", id_)


def test_an_unknown_pod_is_not_found(namespaces: PodNamespaces) -> None:
    with pytest.raises(NotFoundError):
        namespaces.network("test", "none")
