"""The fixtures of the unit tests of tasks."""

from tests.unit.runtime.tasks.conftest import node, records, stage, tasks

__all__ = ["node", "records", "stage", "tasks"]
