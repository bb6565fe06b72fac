"""What the node is asked about a request with a user namespace, over fakes."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.kernel import Users
from runtime.pods.case import Case
from runtime.pods.onnode import look
from runtime.spec import IdMapping, MountRequest
from store.errors import FailedPreconditionError
from tests.podnode import IMAGE, NAMESPACE, Daemon, Ground, daemon
from tests.unit.runtime.pods.test_services import CONTAINER, POD

IDS = (IdMapping(container_id=0, host_id=200000, length=65536),)
USERS = Users(namespace=Path("/run/pod/ns/user"), uid=200000, gid=200000)


@pytest.fixture
async def node(ground: Ground) -> AsyncIterator[Daemon]:
    async with daemon(ground) as one:
        yield one


@pytest.fixture
async def case(node: Daemon, tmp_path: Path) -> Case:
    """A container with a volume that shows the pod's ids, and one that does not."""
    image = node.node.images.find(NAMESPACE, IMAGE)
    assert image is not None
    (tmp_path / "volume/below").mkdir(parents=True)
    volume = MountRequest(
        container_path="/data",
        host_path=str(tmp_path / "volume"),
        uid_mappings=IDS,
        gid_mappings=IDS,
    )
    plain = MountRequest(container_path="/plain", host_path=str(tmp_path))
    return Case(
        sandbox=node.pods.get(NAMESPACE, await node.pods.run(NAMESPACE, POD, "")),
        id="c1",
        config=replace(CONTAINER, mounts=(volume, plain)),
        image=image,
        users=USERS,
    )


def test_all_that_is_mounted_below_a_volume_shows_the_pods_ids(node: Daemon, case: Case) -> None:
    assert look(node.node, case).deeply_mapped == {"/data"}
    assert look(node.node, replace(case, users=None)).deeply_mapped == frozenset()


def test_what_cannot_below_a_volume_does_not_spoil_it(
    node: Daemon, case: Case, ground: Ground, tmp_path: Path
) -> None:
    ground.mounts.unmappable.add(tmp_path / "volume/below")
    found = look(node.node, case)
    assert (found.deeply_mapped, found.sources["/data"]) == (frozenset(), tmp_path / "volume")


def test_a_volume_that_cannot_is_named(
    node: Daemon, case: Case, ground: Ground, tmp_path: Path
) -> None:
    ground.mounts.unmappable.add(tmp_path / "volume")
    with pytest.raises(FailedPreconditionError, match=r"volume at /data .* no idmapped mounts"):
        look(node.node, case)
