import os
from pathlib import Path

import pytest

from runtime.monitor import held
from runtime.process import spawn


async def test_the_lock_lives_as_long_as_who_inherited_it(tmp_path: Path) -> None:
    assert not held.held(tmp_path)
    with held.hold(tmp_path) as lock:
        assert held.held(tmp_path)
        child = spawn(("/bin/sleep", "1000"), fds={5: lock})
    assert held.held(tmp_path)
    child.send(9)
    await child.wait()
    assert not held.held(tmp_path)


def test_two_do_not_hold_it_at_once(tmp_path: Path) -> None:
    with held.hold(tmp_path), pytest.raises(BlockingIOError), held.hold(tmp_path):
        pass
    assert not held.held(tmp_path)


def test_the_descriptor_is_inherited_only_when_it_is_given(tmp_path: Path) -> None:
    with held.hold(tmp_path) as lock:
        assert not os.get_inheritable(lock)
