from pathlib import Path

import pytest

from runtime.kernel import IdRange, UserMapping, Users
from runtime.pods.layout import SandboxFiles
from runtime.pods.users import check_mapped, give, mapping, pinned
from runtime.spec import IdMapping, NamespaceMode, NamespaceModes, ProcessUser, UserNamespace
from store.errors import InvalidArgumentError

MODES = NamespaceModes(
    user=UserNamespace(
        mode=NamespaceMode.POD,
        uids=(IdMapping(container_id=0, host_id=1000, length=10),),
        gids=(IdMapping(container_id=0, host_id=2000, length=20),),
    )
)
NODES = NamespaceModes(user=UserNamespace(mode=NamespaceMode.NODE))


def test_only_a_pods_own_user_namespace_maps() -> None:
    assert mapping(MODES) == UserMapping(
        uids=IdRange(first=1000, length=10), gids=IdRange(first=2000, length=20)
    )
    assert mapping(NODES) is None
    assert mapping(NamespaceModes()) is None


def test_it_is_found_where_it_is_pinned() -> None:
    files = SandboxFiles(Path("/run/s"))
    assert pinned(MODES, files) == Users(namespace=Path("/run/s/ns/user"), uid=1000, gid=2000)
    assert pinned(NODES, files) is None


@pytest.mark.parametrize(
    ("user", "text"),
    [
        (ProcessUser(uid=10), "user 10: .*ids 0 to 9"),
        (ProcessUser(gid=20), "group 20: .*ids 0 to 19"),
        (ProcessUser(supplemental_groups=(3, 50000)), "group 50000"),
    ],
)
def test_ids_beyond_the_mapping_are_refused(user: ProcessUser, text: str) -> None:
    check_mapped(user, NODES)
    with pytest.raises(InvalidArgumentError, match=text):
        check_mapped(user, MODES)


def test_ids_within_the_mapping_pass() -> None:
    check_mapped(ProcessUser(uid=9, gid=19, supplemental_groups=(0, 19)), MODES)


def test_a_file_of_a_pod_without_a_user_namespace_keeps_its_owner(tmp_path: Path) -> None:
    before = tmp_path.stat()
    give(tmp_path, NODES)
    assert tmp_path.stat().st_uid == before.st_uid
