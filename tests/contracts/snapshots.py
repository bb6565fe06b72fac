"""What every implementation of `store.snapshots.Snapshotter` must do, short of mounting."""

from pathlib import Path

import pytest

from store import errors
from store.snapshots import Kind, Snapshotter, Usage


async def layer(
    snapshotter: Snapshotter, name: str, parent: str | None = None, *, namespace: str = "one"
) -> Path:
    """Commit a snapshot with one file of its own name, told its parent at the end."""
    await snapshotter.prepare(namespace, f"making {name}", None)
    upper = await snapshotter.upper(namespace, f"making {name}")
    (upper / name).write_text(name)
    await snapshotter.commit(namespace, f"making {name}", name, parent=parent)
    return upper


async def keys(snapshotter: Snapshotter, namespace: str = "one") -> list[str]:
    return [snapshot.key async for snapshot in snapshotter.walk(namespace)]


class SnapshotterContract:
    """A subclass supplies the fixture `snapshotter`: an empty one."""

    async def test_an_active_snapshot_can_be_written_to(self, snapshotter: Snapshotter) -> None:
        mounts = await snapshotter.prepare("one", "upper", None, {"a": "b"})
        upper = await snapshotter.upper("one", "upper")
        assert upper.stat().st_mode & 0o777 == 0o755
        assert list(upper.iterdir()) == []
        assert await snapshotter.mounts("one", "upper") == mounts
        snapshot = await snapshotter.stat("one", "upper")
        assert (snapshot.kind, snapshot.parent, snapshot.labels) == (Kind.ACTIVE, None, {"a": "b"})
        assert 0 < snapshot.created_at == snapshot.updated_at

    async def test_a_committed_snapshot_keeps_its_files(self, snapshotter: Snapshotter) -> None:
        await layer(snapshotter, "base")
        (top,) = await snapshotter.layers("one", "base")
        assert (top / "base").read_text() == "base"
        assert (await snapshotter.stat("one", "base")).kind is Kind.COMMITTED
        assert await keys(snapshotter) == ["base"]

    async def test_a_parent_may_be_told_at_commit(self, snapshotter: Snapshotter) -> None:
        await layer(snapshotter, "base")
        await layer(snapshotter, "top", "base")
        assert (await snapshotter.stat("one", "top")).parent == "base"
        layers = await snapshotter.layers("one", "top")
        assert {path.name for found in layers for path in found.iterdir()} == {"base", "top"}
        assert (layers[0] / "top").exists()

    async def test_layers_can_be_unpacked_in_any_order(self, snapshotter: Snapshotter) -> None:
        for name in "abc":
            await snapshotter.prepare("one", f"making {name}", None)
        for name, parent in (("a", None), ("b", "a"), ("c", "b")):
            await snapshotter.commit("one", f"making {name}", name, parent=parent)
        assert (await snapshotter.stat("one", "c")).parent == "b"

    async def test_an_active_snapshot_is_never_a_parent(self, snapshotter: Snapshotter) -> None:
        await snapshotter.prepare("one", "upper", None)
        await snapshotter.prepare("one", "making", None)
        with pytest.raises(errors.FailedPreconditionError, match="'upper' is active"):
            await snapshotter.prepare("one", "other", "upper")
        with pytest.raises(errors.FailedPreconditionError, match="'upper' is active"):
            await snapshotter.view("one", "other", "upper")
        with pytest.raises(errors.FailedPreconditionError, match="'upper' is active"):
            await snapshotter.commit("one", "making", "other", parent="upper")
        assert await keys(snapshotter) == ["making", "upper"]

    async def test_a_view_is_never_a_parent(self, snapshotter: Snapshotter) -> None:
        await layer(snapshotter, "base")
        await snapshotter.view("one", "look", "base")
        with pytest.raises(errors.FailedPreconditionError, match="'look' is view"):
            await snapshotter.prepare("one", "other", "look")

    async def test_taken_keys(self, snapshotter: Snapshotter) -> None:
        await layer(snapshotter, "base")
        await snapshotter.prepare("one", "upper", "base")
        for taken in ("base", "upper"):
            with pytest.raises(errors.AlreadyExistsError, match=f"'{taken}'"):
                await snapshotter.prepare("one", taken, "base")
            with pytest.raises(errors.AlreadyExistsError, match=f"'{taken}'"):
                await snapshotter.view("one", taken, "base")
        with pytest.raises(errors.AlreadyExistsError, match="'base'"):
            await snapshotter.commit("one", "upper", "base")
        assert (await snapshotter.stat("one", "upper")).kind is Kind.ACTIVE

    @pytest.mark.parametrize("key", ["", "a\0b", "x" * 10_000])
    async def test_keys_that_cannot_be(self, snapshotter: Snapshotter, key: str) -> None:
        with pytest.raises(errors.InvalidArgumentError, match="key"):
            await snapshotter.prepare("one", key, None)

    async def test_keys_of_any_text_are_no_paths(self, snapshotter: Snapshotter) -> None:
        for key in ("../../x", "/etc/passwd", "sha256:0", "extract-1 a\nb", "\N{SNOWMAN}"):
            await snapshotter.prepare("one", key, None)
            assert (await snapshotter.upper("one", key)).is_relative_to(snapshotter.root)

    async def test_unknown_keys(self, snapshotter: Snapshotter) -> None:
        with pytest.raises(errors.NotFoundError, match="'no'"):
            await snapshotter.prepare("one", "new", "no")
        with pytest.raises(errors.NotFoundError, match="'no'"):
            await snapshotter.view("one", "new", "no")
        with pytest.raises(errors.NotFoundError, match="'no'"):
            await snapshotter.commit("one", "no", "new")
        for method in (
            snapshotter.mounts,
            snapshotter.upper,
            snapshotter.layers,
            snapshotter.remove,
            snapshotter.stat,
            snapshotter.usage,
        ):
            with pytest.raises(errors.NotFoundError, match="'no'"):
                await method("one", "no")
        assert await keys(snapshotter) == []

    async def test_namespaces_do_not_see_each_other(self, snapshotter: Snapshotter) -> None:
        await layer(snapshotter, "base", namespace="one")
        with pytest.raises(errors.NotFoundError):
            await snapshotter.prepare("two", "upper", "base")
        await layer(snapshotter, "base", namespace="two")
        await snapshotter.remove("one", "base")
        assert await keys(snapshotter, "two") == ["base"]
        assert await keys(snapshotter, "one") == []

    async def test_a_parent_cannot_be_removed(self, snapshotter: Snapshotter) -> None:
        await layer(snapshotter, "base")
        await snapshotter.prepare("one", "upper", "base")
        with pytest.raises(errors.FailedPreconditionError, match="parent of 'upper'"):
            await snapshotter.remove("one", "base")
        await snapshotter.remove("one", "upper")
        await snapshotter.remove("one", "base")
        assert await keys(snapshotter) == []

    async def test_a_removed_key_is_free_and_its_files_are_gone(
        self, snapshotter: Snapshotter
    ) -> None:
        await snapshotter.prepare("one", "upper", None)
        old = await snapshotter.upper("one", "upper")
        (old / "file").touch()
        await snapshotter.remove("one", "upper")
        assert not old.exists()
        await snapshotter.prepare("one", "upper", None)
        new = await snapshotter.upper("one", "upper")
        assert new != old
        assert list(new.iterdir()) == []

    async def test_only_open_snapshots_can_be_mounted(self, snapshotter: Snapshotter) -> None:
        await layer(snapshotter, "base")
        with pytest.raises(errors.FailedPreconditionError, match="committed"):
            await snapshotter.mounts("one", "base")
        with pytest.raises(errors.FailedPreconditionError, match="committed"):
            await snapshotter.upper("one", "base")
        mounts = await snapshotter.view("one", "look", "base")
        assert await snapshotter.mounts("one", "look") == mounts
        assert "ro" in mounts[0].options
        with pytest.raises(errors.FailedPreconditionError, match="view"):
            await snapshotter.upper("one", "look")
        with pytest.raises(errors.FailedPreconditionError, match="view"):
            await snapshotter.commit("one", "look", "new")
        with pytest.raises(errors.FailedPreconditionError, match="view"):
            await snapshotter.layers("one", "look")

    async def test_a_commit_cannot_change_the_parent(self, snapshotter: Snapshotter) -> None:
        await layer(snapshotter, "base")
        await layer(snapshotter, "other")
        await snapshotter.prepare("one", "upper", "base")
        with pytest.raises(errors.FailedPreconditionError, match="prepared on 'base'"):
            await snapshotter.commit("one", "upper", "new", parent="other")
        await snapshotter.commit("one", "upper", "new", parent="base", labels={"a": "b"})
        snapshot = await snapshotter.stat("one", "new")
        assert (snapshot.parent, snapshot.labels) == ("base", {"a": "b"})

    async def test_usage_is_of_the_snapshot_alone(self, snapshotter: Snapshotter) -> None:
        await layer(snapshotter, "base")
        await snapshotter.prepare("one", "upper", None)
        upper = await snapshotter.upper("one", "upper")
        (upper / "big").write_bytes(bytes(1 << 20))
        (upper / "link").hardlink_to(upper / "big")
        active = await snapshotter.usage("one", "upper")
        assert active.inodes == 2
        assert (1 << 20) <= active.bytes <= (1 << 20) + 65536
        await snapshotter.commit("one", "upper", "top", parent="base")
        assert await snapshotter.usage("one", "top") == active

    async def test_usage_that_is_known_is_taken(self, snapshotter: Snapshotter) -> None:
        known = Usage(bytes=12345, inodes=67)
        await snapshotter.prepare("one", "upper", None)
        await snapshotter.commit("one", "upper", "top", usage=known)
        assert await snapshotter.usage("one", "top") == known

    async def test_nothing_is_mounted_by_preparing(self, snapshotter: Snapshotter) -> None:
        await layer(snapshotter, "base")
        await snapshotter.prepare("one", "upper", "base")
        assert await snapshotter.mounted() == frozenset()

    async def test_sweep_leaves_what_is_known(self, snapshotter: Snapshotter) -> None:
        await layer(snapshotter, "base")
        await snapshotter.prepare("one", "upper", "base")
        await snapshotter.view("one", "look", "base")
        (snapshotter.root / "999").mkdir()
        (snapshotter.root / "999" / "fs").mkdir()
        await snapshotter.sweep()
        assert not (snapshotter.root / "999").exists()
        assert (await snapshotter.upper("one", "upper")).is_dir()
        (top,) = await snapshotter.layers("one", "base")
        assert (top / "base").read_text() == "base"
        assert await keys(snapshotter) == ["base", "look", "upper"]

    async def test_labels_have_a_limit_and_nothing_is_left(self, snapshotter: Snapshotter) -> None:
        with pytest.raises(errors.InvalidArgumentError, match="label"):
            await snapshotter.prepare("one", "upper", None, {"a": "x" * 5000})
        assert await keys(snapshotter) == []
        before = sorted(snapshotter.root.iterdir())
        await snapshotter.sweep()
        assert sorted(snapshotter.root.iterdir()) == before
