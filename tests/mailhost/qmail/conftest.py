"""A throw-away qmail home for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.mailhost.qmail.support import Home, throw_away


@pytest.fixture
def host() -> Iterator[Home]:
    """A home with control/me and nothing else."""
    with throw_away() as path:
        yield Home(path)


@pytest.fixture
def howto(host: Home) -> Home:
    """The HOWTO's host, correctly set up: joe@domain.com with a maildir."""
    host.virtual()
    host.box("joe", "./Maildir/\n", maildir=True)
    host.assign("=domain-com-joe:IDS:BOX/joe:::")
    return host
