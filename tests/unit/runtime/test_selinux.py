import os
from pathlib import Path

import pytest

from runtime.selinux import context, labelled, relabel, relabel_all
from store.errors import Error, InvalidArgumentError
from store.snapshots import Mount

LABEL = "system_u:object_r:container_file_t:s0:c1,c2"
OVERLAY = Mount(type="overlay", source="overlay", options=("lowerdir=/a:/b",))


def test_a_mount_option_quotes_the_label() -> None:
    assert context("") == ()
    assert context(LABEL) == (f'context="{LABEL}"',)


def test_overlays_are_labelled_and_binds_are_not() -> None:
    assert labelled(OVERLAY, LABEL).options == ("lowerdir=/a:/b", f'context="{LABEL}"')
    assert labelled(OVERLAY, "") == OVERLAY
    bind = Mount(type="bind", source="/a", options=("rbind",))
    assert labelled(bind, LABEL) == bind


def test_a_volume_is_relabelled_with_all_below_and_no_link_followed(tmp_path: Path) -> None:
    (tmp_path / "volume/deep").mkdir(parents=True)
    (tmp_path / "volume/deep/file").touch()
    (tmp_path / "outside").touch()
    relabel(tmp_path / "volume", LABEL, "user.label")
    for name in ("volume", "volume/deep", "volume/deep/file"):
        assert os.getxattr(tmp_path / name, "user.label") == LABEL.encode() + b"\0"
    assert os.listxattr(tmp_path / "outside") == []
    relabel(tmp_path / "outside", LABEL, "user.label")
    assert os.listxattr(tmp_path / "outside") == ["user.label"]


def test_a_label_that_cannot_be_set_names_the_path(tmp_path: Path) -> None:
    with pytest.raises(Error, match=f"cannot relabel {tmp_path}"):
        relabel(tmp_path, LABEL, "nosuchnamespace.label")


@pytest.mark.parametrize("path", ["/", "/etc", "/usr", "/var", "/tmp"])  # noqa: S108 - refused
async def test_the_nodes_own_directories_are_refused(path: str) -> None:
    with pytest.raises(InvalidArgumentError, match="belongs to the node"):
        relabel(Path(path), LABEL, "user.label")


async def test_without_a_label_nothing_is_touched(tmp_path: Path) -> None:
    await relabel_all([tmp_path], "")
    assert os.listxattr(tmp_path) == []
