"""As many open files as a server with a thousand clients has, so that the next one's number is above 1023."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

from tests.needs import require

MANY = 1_100


@contextmanager
def crowded() -> Iterator[None]:
    """Within it each file that is opened has a number that select(2) refuses."""
    require("descriptors")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * MANY), hard))
    held: list[int] = []
    try:
        held = [os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC) for _ in range(MANY)]
        yield
    finally:
        for one in held:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
