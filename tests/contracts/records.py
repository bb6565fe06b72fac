"""What every implementation of `store.metadata.Records` must do."""

from dataclasses import dataclass, replace

import pytest

from store import errors
from store.metadata import Records


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    name: str
    size: int = 0


class RecordsContract:
    """A subclass supplies the fixture `records`: an empty table of `Thing`."""

    def test_a_record_is_found_under_its_key_only(self, records: Records[Thing]) -> None:
        records.add("one", "a", Thing(name="first"))
        assert records.get("one", "a") == Thing(name="first")
        assert records.find("two", "a") is None
        assert records.find("one", "b") is None

    def test_get_of_the_unknown_names_id_and_namespace(self, records: Records[Thing]) -> None:
        with pytest.raises(errors.NotFoundError, match=r"'missing'.* one"):
            records.get("one", "missing")

    def test_a_taken_id_is_not_replaced_by_add(self, records: Records[Thing]) -> None:
        records.add("one", "a", Thing(name="first"))
        with pytest.raises(errors.AlreadyExistsError, match="'a'"):
            records.add("one", "a", Thing(name="second"))
        assert records.get("one", "a") == Thing(name="first")

    def test_the_same_id_lives_in_two_namespaces(self, records: Records[Thing]) -> None:
        records.add("one", "a", Thing(name="first"))
        records.add("two", "a", Thing(name="second"))
        assert records.get("one", "a").name == "first"
        assert records.get("two", "a").name == "second"

    def test_put_replaces(self, records: Records[Thing]) -> None:
        records.put("one", "a", Thing(name="first"))
        records.put("one", "a", Thing(name="second"))
        assert records.get("one", "a") == Thing(name="second")

    def test_update_stores_and_returns_the_change(self, records: Records[Thing]) -> None:
        records.add("one", "a", Thing(name="first"))
        changed = records.update("one", "a", lambda thing: replace(thing, size=7))
        assert changed == Thing(name="first", size=7)
        assert records.get("one", "a") == changed

    def test_an_update_that_raises_changes_nothing(self, records: Records[Thing]) -> None:
        records.add("one", "a", Thing(name="first"))

        def refuse(thing: Thing) -> Thing:
            raise errors.FailedPreconditionError(f"no change of {thing.name}")

        with pytest.raises(errors.FailedPreconditionError):
            records.update("one", "a", refuse)
        assert records.get("one", "a") == Thing(name="first")

    def test_update_of_the_unknown_makes_nothing(self, records: Records[Thing]) -> None:
        with pytest.raises(errors.NotFoundError):
            records.update("one", "a", lambda thing: thing)
        assert records.find("one", "a") is None

    def test_delete_tells_whether_there_was_one(self, records: Records[Thing]) -> None:
        records.add("one", "a", Thing(name="first"))
        assert records.delete("one", "a") is True
        assert records.delete("one", "a") is False
        assert records.find("one", "a") is None

    def test_a_deleted_id_can_be_used_again(self, records: Records[Thing]) -> None:
        records.add("one", "a", Thing(name="first"))
        records.delete("one", "a")
        records.add("one", "a", Thing(name="second"))
        assert records.get("one", "a").name == "second"

    def test_walk_goes_in_key_order(self, records: Records[Thing]) -> None:
        for namespace, id_ in (("two", "a"), ("one", "c"), ("one", "a"), ("one", "b")):
            records.add(namespace, id_, Thing(name=id_))
        everything = [(namespace, id_) for namespace, id_, _ in records.walk()]
        assert everything == [("one", "a"), ("one", "b"), ("one", "c"), ("two", "a")]
        assert [id_ for _, id_, _ in records.walk("one")] == ["a", "b", "c"]
        assert list(records.walk("three")) == []

    def test_walk_survives_changes_meanwhile(self, records: Records[Thing]) -> None:
        for id_ in "abcd":
            records.add("one", id_, Thing(name=id_))
        seen = []
        for _, id_, _ in records.walk("one"):
            seen.append(id_)
            records.delete("one", "c")
            records.put("one", "e", Thing(name="e"))
        assert seen == ["a", "b", "d"]

    def test_namespaces_are_those_with_a_record(self, records: Records[Thing]) -> None:
        for namespace in ("two", "one", "three"):
            records.add(namespace, "a", Thing(name="a"))
        records.delete("three", "a")
        assert records.namespaces() == ["one", "two"]

    def test_nothing_is_quarantined_in_a_sound_table(self, records: Records[Thing]) -> None:
        records.add("one", "a", Thing(name="first"))
        assert records.quarantined() == ()
