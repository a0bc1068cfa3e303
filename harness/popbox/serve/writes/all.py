"""All endpoints that write."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter

from popbox.serve.keys import Keys
from popbox.serve.live import Live
from popbox.serve.writes.broken import Broken
from popbox.serve.writes.faults import faults
from popbox.serve.writes.mailboxes import mailboxes
from popbox.serve.writes.scenario.runs import Runs
from popbox.serve.writes.scenarios import scenarios
from popbox.serve.writes.send import send
from popbox.serve.writes.spaces import spaces
from popbox.serve.writes.telnet import Talks


@dataclass(frozen=True, slots=True)
class Lasting:
    """What lasts longer than a request: faults, runs, talks; and the folder of the scenarios that come with popbox."""

    broken: Broken
    runs: Runs
    talks: Talks
    shipped: Path | None = None


def writes(live: Live, keys: Keys | None, lasting: Lasting) -> tuple[APIRouter, ...]:
    """The endpoints, over one host; ``keys`` are those of the server, None where it is read-only."""
    alone = mailboxes(live), send(live), faults(live, lasting.broken), scenarios(live, lasting.runs, lasting.shipped)
    return spaces(live, keys, lasting.broken), *alone
