"""One Locust process: ``python -m popbox.load.users SPEC master ADDR:PORT [WEB]`` or ``… worker ADDR:PORT [JOURNALS]``.

The master writes one line of JSON a second to its standard output, and beside the spec the file ``writers``: the
names of the journals that there must be. It ends itself when the time is over, or in order at SIGTERM.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import locust  # noqa: F401 - it has gevent's sockets put in place, before anything of ours has taken others

from popbox.load.plan.spec import Spec
from popbox.load.users.leading import master
from popbox.load.users.working import worker


def main(arguments: list[str]) -> int:
    """Run one process."""
    path, part, at, *more = arguments
    host, _, port = at.rpartition(":")
    spec = Spec.read(Path(path))
    if part == "master":
        return master(spec, Path(path), (host, int(port)), *more)
    return worker(replace(spec, journals=more[0]) if more else spec, host, int(port))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
