"""All endpoints that write."""

from __future__ import annotations

from fastapi import APIRouter

from popbox.serve.keys import Keys
from popbox.serve.live import Live
from popbox.serve.writes.broken import Broken
from popbox.serve.writes.faults import faults
from popbox.serve.writes.mailboxes import mailboxes
from popbox.serve.writes.send import send
from popbox.serve.writes.spaces import spaces


def writes(live: Live, keys: Keys | None, broken: Broken) -> tuple[APIRouter, ...]:
    """The endpoints, over one host; ``keys`` are those of the server, None where it is read-only."""
    return spaces(live, keys, broken), mailboxes(live), send(live), faults(live, broken)
