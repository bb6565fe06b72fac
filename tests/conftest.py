"""What every test gets."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests import orphans

# On a busy machine an example takes any time, and so does making one.
settings.register_profile("ferry", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ferry")


@pytest.fixture(autouse=True)
def no_orphans() -> Iterator[None]:
    """Reap after each test, when all else is over, what came to this process and has ended."""
    yield
    orphans.reap()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests of the real kernel, with the reason, where there is no root."""
    if os.geteuid() == 0:
        return
    skip = pytest.mark.skip(reason="needs root and a real kernel: run under tests/scope.sh")
    for item in items:
        if item.get_closest_marker("root") is not None:
            item.add_marker(skip)
