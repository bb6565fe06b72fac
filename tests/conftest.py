"""What every test gets."""

import os

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests of the real kernel, with the reason, where there is no root."""
    if os.geteuid() == 0:
        return
    skip = pytest.mark.skip(reason="needs root and a real kernel: run under tests/scope.sh")
    for item in items:
        if item.get_closest_marker("root") is not None:
            item.add_marker(skip)
