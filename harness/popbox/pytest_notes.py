"""What the pytest plugin knows before any host is needed: its settings, the world of a run, and what its tests note.

Every pytest run in the environment loads this and ``pytest_plugin``, also one that has no mail in it: what hosts and
scenarios are made of is imported when a test asks for it.
"""

from __future__ import annotations

import pytest

from popbox.settings import HostName, MtaName, Settings

EXERCISED, SKIPPED = "popbox exercised", "popbox skipped"
OWN_HOST = "popbox_own_host"  # the marker
OWNER, RESULTS = "popbox_owner", "popbox_results"  # what xdist carries to a worker, and back from it
SETTINGS = pytest.StashKey[Settings]()
WORLD = pytest.StashKey[tuple[HostName, MtaName]]()  # of an item that is a scenario file


def wanted(config: pytest.Config) -> tuple[HostName, MtaName] | None:
    """The world named on the command line, where one is named."""
    host, mta = config.getoption("popbox_host"), config.getoption("popbox_mta")
    return (host or "auto", mta or "auto") if host or mta else None


def note_exercised(item: pytest.Item, world: str) -> None:
    """Count a test for a world in the closing table."""
    item.user_properties.append((EXERCISED, world))


def note_skipped(item: pytest.Item, world: str, why: str) -> None:
    """Name a world and the reason it was skipped in the closing table."""
    item.user_properties.append((SKIPPED, f"{world}: {why}"))
