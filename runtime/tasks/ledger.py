"""The records of tasks and the stream of their moves: on disk first, then seen."""

from collections.abc import AsyncIterator, Callable

from runtime.events import Broadcast
from runtime.tasks import Task, TaskObserver
from store.metadata import Records

Change = Callable[[Task], Task]


class Ledger:
    """Every change of a task's record goes through here."""

    def __init__(self, records: Records[Task]) -> None:
        self._records = records
        self._moves: Broadcast[Task] = Broadcast()
        self._observers: list[TaskObserver] = []

    def get(self, namespace: str, id_: str) -> Task:
        """Return the record or raise NotFoundError."""
        return self._records.get(namespace, id_)

    def find(self, namespace: str, id_: str) -> Task | None:
        """Return the record or None."""
        return self._records.find(namespace, id_)

    def walk(self, namespace: str | None = None) -> list[Task]:
        """Return every record of a namespace, or of all."""
        return [task for _, _, task in self._records.walk(namespace)]

    def changes(self) -> AsyncIterator[Task]:
        """See `TaskReader.changes`."""
        return self._moves.subscribe()

    def observe(self, observer: TaskObserver) -> None:
        """See `TaskReader.observe`."""
        self._observers.append(observer)

    def add(self, task: Task) -> None:
        """Record a new task; AlreadyExistsError if there is one."""
        self._records.add(task.namespace, task.id, task)
        self._tell(None, task)

    def move(self, task: Task, change: Change) -> Task:
        """Change the record of `task` as it is now, and tell of it if its state is another."""
        before = self._records.get(task.namespace, task.id)
        after = self._records.update(task.namespace, task.id, change)
        if after.state is not before.state:
            self._tell(before, after)
        return after

    def forget(self, task: Task) -> None:
        """Remove the record."""
        self._records.delete(task.namespace, task.id)

    def _tell(self, before: Task | None, after: Task) -> None:
        for observer in self._observers:
            observer(before, after)
        self._moves.publish(after)
