"""What is known of a Maildir between two sessions, and when that is worth writing down. Values only, no I/O."""

from __future__ import annotations

from mailhost.pop3.maildrop import size_cache
from mailhost.pop3.protocol.listing import Listing, Message

SAVE_EVERY_S = 3_600
"""Changes of a large box are written to its ``popbox-sizes`` this often, or when an eighth of it is new."""


class Found:
    """What one scan found: all ``messages`` in order, and the ``stamps`` of the directories, () where they may lie.

    Replaced as a whole: several sessions, and threads, may share a snapshot. ``listing`` is made when first asked for;
    until then ``earlier`` has, by inode, what the scan before had found.
    """

    __slots__ = ("earlier", "listing", "messages", "stamps")

    def __init__(self, stamps: tuple[int, ...] = (), messages: list[Message] | None = None) -> None:
        self.stamps = stamps
        self.messages = messages or []
        self.earlier: dict[int, Message] = {}
        self.listing: Listing | None = None


class Snapshot:
    """What is known of one Maildir between sessions.

    ``looked`` counts the files looked into since ``size_cache`` was last written or read, ``saved`` are the stamps it
    then held, None for no such file, and ``saved_at`` is its time in seconds. ``counted`` of its messages are in the
    sum of all that ``OpenMaildrops`` keeps.
    """

    __slots__ = ("counted", "found", "looked", "new", "saved", "saved_at", "tmp_checked")

    def __init__(self) -> None:
        self.found = Found()
        self.tmp_checked = self.saved_at = 0.0
        self.looked = self.counted = 0
        self.new = True
        self.saved: tuple[int, ...] | None = None

    def worth_saving(self, found: Found, now: float) -> bool:
        """Whether writing this down saves the restarted server much more work than it costs."""
        if len(found.messages) < size_cache.SAVED_FROM or (found.stamps and found.stamps == self.saved):
            return False
        return self.looked * 8 >= len(found.messages) or now - self.saved_at > SAVE_EVERY_S
