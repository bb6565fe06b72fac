from dataclasses import replace

import pytest

from runtime.pods import Sandbox, SandboxConfig, SandboxMetadata, SandboxState
from runtime.pods.tables import SandboxTable, full_id, matches, new_id
from store.errors import InvalidArgumentError, NotFoundError
from store.metadata.records import MemoryRecords


def _sandbox(id_: str, *, attempt: int = 0, created_at: int = 1) -> Sandbox:
    metadata = SandboxMetadata(name="web", uid="u", namespace="default", attempt=attempt)
    return Sandbox(
        namespace="k8s.io",
        id=id_,
        config=SandboxConfig(metadata=metadata),
        handler="crun",
        state=SandboxState.READY,
        created_at=created_at,
    )


def test_ids_are_64_hexadecimal_digits_and_never_the_same() -> None:
    ids = {new_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(len(id_) == 64 and int(id_, 16) >= 0 for id_ in ids)


def test_a_prefix_is_enough_if_it_is_unique_in_its_namespace() -> None:
    keys = {("a", "abc"): 1, ("a", "abd"): 2, ("b", "abc"): 3, ("b", "ab"): 4}
    assert full_id(keys, "a", "abc", "thing") == "abc"
    assert full_id(keys, "b", "ab", "thing") == "ab"
    with pytest.raises(InvalidArgumentError, match="2 match"):
        full_id(keys, "a", "ab", "thing")
    with pytest.raises(NotFoundError, match="thing 'x'"):
        full_id(keys, "a", "x", "thing")
    with pytest.raises(InvalidArgumentError, match="without an id"):
        full_id(keys, "a", "", "thing")


def test_a_selector_wants_every_pair() -> None:
    assert matches({"a": "1", "b": "2"}, {"a": "1"})
    assert not matches({"a": "1"}, {"a": "1", "b": "2"})


def test_a_sandbox_that_is_being_made_is_nobodys_to_see() -> None:
    table = SandboxTable(MemoryRecords[Sandbox]("sandboxes"))
    table.put(replace(_sandbox("s1"), state=SandboxState.CREATING))
    with pytest.raises(NotFoundError):
        table.get("k8s.io", "s1")
    assert table.find("k8s.io", "s1") is not None


def test_the_ready_sandbox_of_an_attempt_is_found_until_it_is_not_ready() -> None:
    table = SandboxTable(MemoryRecords[Sandbox]("sandboxes"))
    sandbox = _sandbox("s1")
    table.put(sandbox)
    assert table.ready("k8s.io", sandbox.config.metadata) == sandbox
    assert table.ready("other", sandbox.config.metadata) is None
    table.put(replace(sandbox, state=SandboxState.NOTREADY))
    assert table.ready("k8s.io", sandbox.config.metadata) is None


def test_records_come_back_in_the_order_they_were_made() -> None:
    records = MemoryRecords[Sandbox]("sandboxes")
    table = SandboxTable(records)
    table.put(_sandbox("b", created_at=1))
    table.put(_sandbox("a", attempt=1, created_at=2))
    assert [sandbox.id for sandbox in SandboxTable(records).walk()] == ["b", "a"]


def test_observers_see_every_change_with_what_was_before() -> None:
    table = SandboxTable(MemoryRecords[Sandbox]("sandboxes"))
    seen: list[tuple[Sandbox | None, Sandbox | None]] = []
    table.observe(lambda before, after: seen.append((before, after)))
    first = _sandbox("s1")
    second = replace(first, state=SandboxState.NOTREADY)
    table.put(first)
    table.put(second)
    table.delete(second)
    assert seen == [(None, first), (first, second), (second, None)]
