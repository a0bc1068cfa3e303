"""Waiting for a descriptor, whatever its number is."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from tests.popbox.crowd import crowded

import popbox
from popbox.clients.ready import comes


def test_octets_the_end_and_neither_above_1023() -> None:
    with crowded():
        ours, theirs = os.pipe()
        try:
            assert ours > 1023
            began = time.monotonic()
            assert not comes(ours, 0.05)
            assert time.monotonic() - began >= 0.05
            assert not comes(ours, -1), "a deadline that has passed"
            os.write(theirs, b"x")
            assert comes(ours, 60)
            assert os.read(ours, 9) == b"x"
        finally:
            os.close(theirs)
        assert comes(ours, 60), "its end"
        os.close(ours)


def test_nothing_waits_by_select() -> None:
    """A process of popbox may hold a thousand connections: then select(2) refuses all that is opened later."""
    modules = Path(popbox.__file__).parent.rglob("*.py")
    assert [path for path in modules if re.search(r"\bselect\.select\(", path.read_text())] == []
