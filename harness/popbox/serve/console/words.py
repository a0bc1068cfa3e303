"""What pages say of times, sizes and states. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlencode

from popbox.journey.model import Disposition, Journey, Recipient
from popbox.printable import plain
from popbox.report.pages import seconds as short

FILE_LINES = 500  # our choice: of a file on one page
GOOD = (Disposition.ONCE, Disposition.REMOTE, Disposition.DISCARDED)
PENDING = (Disposition.QUEUE, Disposition.DEFERRED)


def clock(at: float) -> str:
    """The time of day in UTC, to the millisecond."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S.%f")[:-3]


def stamp(at: float) -> str:
    """Date and time in UTC as HTML's ``datetime`` wants it."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def moment(at: float) -> str:
    """Both of them, as HTML's ``time`` wants it without an attribute."""
    return f"{date(at)} {clock(at)}Z"


def date(at: float) -> str:
    """The day in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")


def duration(seconds: float | None) -> str:
    """``4 ms``, ``1.25 s``, ``3 min 5 s``, ``2 h 10 min``, ``4 d 3 h``; a dash where it is not known."""
    if seconds is None or seconds < 60:
        return short(None if seconds is None else max(seconds, 0))
    for size, unit, smaller, below in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            rest = int(seconds % size // smaller)
            return f"{int(seconds // size)} {unit}" + (f" {rest} {below}" if rest else "")
    raise AssertionError(seconds)


def cut(text: object, most: int = 100) -> str:
    """The beginning of a text for a list, made visible; an ellipsis says that it goes on."""
    shown = plain(text)
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def octets(size: int | None) -> str:
    """A size with its unit; a dash where it is not known."""
    if size is None:
        return "–"
    if size < 10_000:
        return f"{size} octets"
    return f"{size / 1024:.1f} KiB" if size < 1024**2 else f"{size / 1024**2:.1f} MiB"


def took(journey: Journey) -> float | None:
    """Seconds from the queue to the last file that was delivered, of forwarded copies too; None while there is none."""
    heads = (journey.message, *journey.forwards)
    files = [one.at for head in heads for recipient in head.recipients for one in recipient.files]
    return max(files) - journey.message.at if files else None


def verdict(journey: Journey) -> str:
    """``good``, ``bad``, ``pending`` or ``unknown``: unknown is never shown as good."""
    return "bad" if journey.alarms else outcome(journey.end)


def outcome(end: Disposition) -> str:
    """The same of one recipient's end."""
    if end in GOOD:
        return "good"
    if end in PENDING:
        return "pending"
    return "unknown" if end is Disposition.UNKNOWN else "bad"


def boxes(recipient: Recipient) -> list[str]:
    """The Maildirs that hold it, or should: below the qmail home, each once."""
    seen = [one.path.rsplit("/", 2)[0] for one in recipient.files]
    return list(dict.fromkeys([*seen, *(recipient.foretold.maildirs if recipient.foretold else ())]))


def below(path: str, home: str) -> str:
    """A path below the qmail home; empty where it is elsewhere."""
    if path.startswith(f"{home}/"):
        return path.removeprefix(f"{home}/")
    return "" if path.startswith("/") or "/" not in path else path


def foretold(recipient: Recipient) -> str:
    """What the rules said of it, without the places; empty where they were not asked."""
    if (said := recipient.foretold) is None:
        return ""
    why = said.why or "; ".join(said.elsewhere)
    if why.startswith(said.outcome):
        return why
    return f"{said.outcome}: {why}" if why else said.outcome


def file_link(path: str, line: int | str | None = None, of: str = "") -> str:
    """The path of the page that shows a file below the qmail home at a line; ``of`` is ``old`` for the old host's."""
    first = (int(line or 1) - 1) // FILE_LINES * FILE_LINES + 1
    values = {"path": path, "of": of, "first": first if first > 1 else ""}
    asked = urlencode({name: value for name, value in values.items() if value})
    return f"/file?{asked}" + (f"#l{line}" if line else "")
