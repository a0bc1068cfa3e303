"""LIST and UIDL of one box together."""

from __future__ import annotations

from dataclasses import dataclass, field

from popbox.clients.bulk_pop3 import BulkPop3, is_number
from popbox.clients.pop3 import Pop3Refused


@dataclass(frozen=True, slots=True)
class Entry:
    """One message of a listing. ``uidl`` is empty where the host gives none.

    ``listed`` is what LIST says in place of a size where that is no number; ``size`` is 0 then.
    """

    number: int
    uidl: str
    size: int
    listed: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """All messages in the host's order. ``no_uidl`` is the reply to a UIDL that it does not know.

    ``malformed`` has, by the command, lines of LIST and UIDL that are none.
    """

    entries: list[Entry] = field(default_factory=list)
    no_uidl: str = ""
    malformed: dict[str, list[str]] = field(default_factory=dict)


def read_listing(stream: BulkPop3) -> Listing:
    """What the box of a session holds; an empty one is not asked for UIDLs.

    Raises:
        PopboxError: the session broke, or LIST was refused.
    """
    sizes, bad_sizes = stream.lenient_listing("LIST")
    rows: list[tuple[int, str]] = []
    no_uidl, bad_uidls = "", list[str]()
    try:
        if sizes:
            rows, bad_uidls = stream.lenient_listing("UIDL")
    except Pop3Refused as refusal:
        no_uidl = refusal.reply
    uidls, malformed = dict(rows), {"LIST": bad_sizes, "UIDL": bad_uidls}
    entries = [_entry(number, uidls.get(number, ""), text.split()[0]) for number, text in sizes]
    return Listing(entries, no_uidl, {verb: lines for verb, lines in malformed.items() if lines})


def _entry(number: int, uidl: str, word: str) -> Entry:
    return Entry(number, uidl, int(word)) if is_number(word.encode()) else Entry(number, uidl, 0, word)
