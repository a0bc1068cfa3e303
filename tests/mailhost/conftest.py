"""The trees that these tests make stand for hosts as they are."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from tests.places import open_to_others


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """For a test and all its fixtures, a module's too."""
    with open_to_others():
        return (yield)
