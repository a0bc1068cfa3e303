"""The trees that these tests make stand for hosts as they are: others can read them, whatever the umask of the tests.

The product under other umasks has tests of its own, and the scenarios and demos of ``.ci/machines``.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """For a test and all its fixtures, a module's too."""
    before = os.umask(0o022)
    try:
        return (yield)
    finally:
        os.umask(before)
