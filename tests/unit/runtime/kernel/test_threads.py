import threading
from pathlib import Path

import pytest

from runtime.kernel.threads import as_root_of, in_thread


def test_work_runs_in_a_thread_of_its_own_that_ends() -> None:
    thread = in_thread(threading.current_thread)
    assert thread is not threading.current_thread()
    assert not thread.is_alive()


def test_what_it_raises_is_raised_here(tmp_path: Path) -> None:
    def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError, match="x"):
        in_thread(fail)
    with pytest.raises(FileNotFoundError):
        in_thread(fail, tmp_path / "missing")


def test_without_a_user_namespace_work_stays_here() -> None:
    assert as_root_of(None, threading.current_thread) is threading.current_thread()
