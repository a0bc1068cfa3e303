"""LIST, UIDL and STAT of one box together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from popbox.clients.bulk_pop3 import BulkPop3, Garbled
from popbox.clients.listing import is_number
from popbox.clients.pop3 import Pop3Refused
from popbox.migrate.pop3 import faults

MUCH_MORE, SPARE_OCTETS = 16, 64 << 20  # our choice: a message so far above what LIST says has no end
UNLISTED_OCTETS = 1 << 32  # our choice: the same where LIST says nothing of it


class Entry(NamedTuple):
    """One message of a listing. ``uidl`` is empty where the host gives none.

    ``listed`` is what LIST says in place of a size where that is no number; ``size`` is 0 then. A NamedTuple, as it is
    made for each of millions of messages.
    """

    number: int
    uidl: str
    size: int
    listed: str = ""


def bounded(pieces: Iterable[bytes], size: int | None, host: object) -> Iterator[bytes]:
    """The pieces of a message of ``size`` octets by LIST (None: it does not say), as long as it can have an end.

    Raises:
        Garbled: it is longer by far: the host would go on for ever.
    """
    most = UNLISTED_OCTETS if size is None else max(size, 0) * MUCH_MORE + SPARE_OCTETS
    total = 0
    for piece in pieces:
        total += len(piece)
        if total > most:
            said = "no known size" if size is None else str(size)
            raise Garbled(f"{host} sends more than {most} octets of a message of {said}")
        yield piece


@dataclass(frozen=True, slots=True)
class Listing:
    """All messages in the host's order. ``no_uidl`` is the reply to a UIDL that it does not know.

    ``malformed`` has, by the command, lines of LIST and UIDL that are none; ``wrong`` what else of LIST, UIDL and STAT
    cannot be right; ``odd`` what is no fault of the listing, but not every client reads. ``no_stat`` is the reply to a
    STAT that it does not know, empty where it was answered, None where it was not asked for.
    """

    entries: list[Entry] = field(default_factory=list)
    no_uidl: str = ""
    malformed: dict[str, list[str]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    no_stat: str | None = None


def read_listing(stream: BulkPop3) -> Listing:
    """What the box of a session holds; an empty one is not asked for UIDLs.

    Raises:
        PopboxError: the session broke, or LIST was refused.
    """
    sizes, bad_sizes = _sizes(stream)
    rows: list[tuple[int, str]] = []
    no_uidl, bad_uidls = "", list[str]()
    try:
        if sizes:
            rows, bad_uidls = stream.lenient_listing("UIDL")
    except Pop3Refused as refusal:
        no_uidl = refusal.reply
    uidls, malformed = dict(rows), {"LIST": bad_sizes, "UIDL": bad_uidls}
    entries = [_entry(number, uidls.get(number, ""), text) for number, text in sizes]
    found = Listing(entries, no_uidl, {verb: lines for verb, lines in malformed.items() if lines})
    return found if bad_sizes else _judged(stream, found, [number for number, _ in rows])  # nothing agrees with it


def _sizes(stream: BulkPop3) -> tuple[list[tuple[int, str]], list[str]]:
    """LIST; servers that refuse it for an empty box say so in STAT."""
    try:
        return stream.lenient_listing("LIST")
    except Pop3Refused:
        if stream.command("STAT").split()[:1] != ["0"]:
            raise
        return [], []


def _judged(stream: BulkPop3, found: Listing, uidls: list[int]) -> Listing:
    """The same with what is wrong about the numbers of LIST and UIDL, and where STAT says something else."""
    numbers = [entry.number for entry in found.entries]
    wrong = list(faults.of_numbers(numbers, uidls))
    odd = [] if numbers == sorted(numbers) else ["gives LIST in another order than that of the numbers"]
    try:
        said = stream.command("STAT")
    except Pop3Refused as refusal:
        return replace(found, wrong=wrong, odd=odd, no_stat=refusal.reply)
    known = not any(entry.listed for entry in found.entries)
    octets = sum(entry.size for entry in found.entries) if known else None
    if (sums := faults.sums(said)) is None:
        odd.append(f"says {said[:80]!r} to STAT, which are no two numbers")
    elif fault := faults.of_sums(sums, len(numbers), octets):
        wrong.append(fault)
    return replace(found, wrong=wrong, odd=odd, no_stat="")


def _entry(number: int, uidl: str, text: str) -> Entry:
    """A row of LIST: its first word is the size."""
    if not text.isdigit():  # some servers write more behind it
        text = text.split()[0]
    return Entry(number, uidl, int(text)) if is_number(text.encode()) else Entry(number, uidl, 0, text)
