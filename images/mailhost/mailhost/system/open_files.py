"""How many files a process may open, and errors that say so."""

from __future__ import annotations

import errno
import os
import resource


def limit() -> int:
    """What ``ulimit -n`` shows; negative where there is no limit."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def with_limit(text: str) -> str:
    """A text, with the limit where it says that too many files are open."""
    few = os.strerror(errno.EMFILE)
    return text.replace(few, f"{few} (ulimit -n is {limit()})")
