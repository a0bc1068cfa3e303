"""The report as lines for a terminal or a log, and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import IO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from popbox.migrate.verify.naming import clean
from popbox.migrate.verify.report import Report, SideReport
from popbox.migrate.verify.result import ASPECTS, Box, Finding, Named, Verdict
from popbox.printable import counted

FILES = "Files were compared: what these servers hand out by their rules. That logins are taken is NOT proved."
NAMED_EACH = 5  # our choice: findings of one kind a box; all are in JSON and HTML
MARKS = {Verdict.EQUAL: "equal", Verdict.DIFFERENT: "DIFFERENT", Verdict.NOT_JUDGED: "-"}
STYLES = {Verdict.EQUAL: "green", Verdict.DIFFERENT: "bold red", Verdict.NOT_JUDGED: "dim"}
NOTHING = Box(login="", new_login="", verdicts=dict.fromkeys(ASPECTS, Verdict.NOT_JUDGED))
COLUMNS = ("box", "old", "new", *ASPECTS)


def cells(box: Box) -> list[tuple[str, str]]:
    """A row of the table: text and style."""
    name = clean(box.login if box.login == box.new_login else f"{box.login} -> {box.new_login}")
    if box.unavailable:
        return [(name, ""), ("?", ""), ("?", ""), *[("-", "dim")] * len(ASPECTS)]
    counts = [(str(box.old.messages), ""), (str(box.new.messages), "")]
    return [(name, ""), *counts, *[(MARKS[box.verdicts[a]], STYLES[box.verdicts[a]]) for a in ASPECTS]]


def show(report: Report, console: Console, every: bool) -> None:
    """Everything for a person: boxes that are not equal (``every``: all), what was found, the sums."""
    rows = [box for box in report.boxes if every or not box.equal]
    if rows and console.is_terminal:
        console.print(_table(rows))
    elif rows:
        for line in _plain([[(name, "") for name in COLUMNS], *map(cells, rows)]):
            console.print(Text(line), soft_wrap=True)
    for line in (*details(rows), *summary(report)):
        console.print(Text(line), soft_wrap=True)


def _table(rows: Sequence[Box]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in COLUMNS:
        table.add_column(name, justify="right" if name in ("old", "new") else "left", overflow="fold")
    for box in rows:
        table.add_row(*(Text(text, style) for text, style in cells(box)))
    return table


def _plain(rows: Sequence[Sequence[tuple[str, str]]]) -> Iterator[str]:
    widths = [max(len(row[at][0]) for row in rows) for at in range(len(COLUMNS))]
    for row in rows:
        yield "  ".join(text.ljust(width) for (text, _), width in zip(row, widths, strict=True)).rstrip()


def details(boxes: Sequence[Box]) -> Iterator[str]:
    """What was found, box by box, the first few of each kind."""
    for box in boxes:
        if box.unavailable:
            yield f"{clean(box.login)}: could not be judged: {clean(box.unavailable)}"
        elif box.findings:
            yield f"{clean(box.login)}:"
            for kind in dict.fromkeys(finding.kind for finding in box.findings):
                of_kind = [finding for finding in box.findings if finding.kind == kind]
                yield from (f"  {line(finding)}" for finding in of_kind[:NAMED_EACH])
                if len(of_kind) > NAMED_EACH:
                    yield f"  {kind}: and {len(of_kind) - NAMED_EACH} more, all in --json and --html"


def line(finding: Finding) -> str:
    """One finding: kind, which message, what."""
    message = finding.old or finding.new
    return f"{finding.kind}: {f'{person(message)}: ' if message else ''}{finding.said}"


def person(message: Named) -> str:
    """A message as a person would look for it."""
    known = [message.subject and f'"{message.subject}"', message.date, message.message_id]
    who = f" ({', '.join(filter(None, known))})" if any(known) else ""
    return f"number {message.number}, UIDL {clean(message.uidl) or 'none'}, {message.size} octets{who}"


def summary(report: Report) -> Iterator[str]:
    """How it was done, what clients will do, and the verdict."""
    found = report.totals
    for name, side in (("old", report.old), ("new", report.new)):
        reached = f"TLS {side.tls}, " if side.tls else ""
        yield f"{name} host {clean(side.address)}: {reached}profile {profiles(side)}; {side.leaving}"
    if report.way == "files":
        yield FILES
    if not report.content:
        yield "Content was NOT compared (--no-content)."
    if report.resumed:
        yield f"From the state file of an earlier run: {counted(report.resumed, 'box', 'boxes')}."
    if noted := [box for box in report.boxes if box.equal and box.findings]:
        kinds = ", ".join(sorted({finding.kind for box in noted for finding in box.findings}))
        boxes = counted(len(noted), "equal box", "equal boxes")
        yield f"{boxes} with notes ({kinds}), which are no differences: -v and the reports show them"
    yield from clients(report)
    for o in report.oracles:
        right = "as foreseen" if o.again == o.expected else f"WRONG: {o.expected} were foreseen"
        yield f"oracle {o.client}, {clean(o.login)}: {o.first} from the old host, then {o.again} from the new: {right}"
    yield (
        f"{counted(found.boxes, 'box', 'boxes')} in {report.took_s:.1f} s: {found.equal} equal, "
        f"{found.different} different, {found.unavailable} could not be judged; "
        f"{counted(found.messages_old, 'message')} on the old host, "
        f"{found.messages_new} on the new; {found.read_octets} octets read"
    )


def profiles(side: SideReport) -> str:
    """The profile, and for ``auto`` what it came to."""
    seen = ", ".join(f"{name} in {count}" for name, count in side.profiles_seen.items())
    return f"auto ({seen or 'no box read'})" if side.profile == "auto" else side.profile


def clients(report: Report) -> Iterator[str]:
    """What clients that leave mail on the server will do."""
    found = report.totals
    yield (
        f"clients that go by UIDL (getmail, fetchmail --uidl, Outlook, Thunderbird, mpop) will download "
        f"{counted(found.uidl, 'message')}, {found.uidl_known} of them again"
    )
    yield (
        f"clients that go by the last number will download {counted(found.number_again, 'message')} again and never "
        f"see {found.number_missed}; at worst, had they fetched only a part, {found.worst_again} and "
        f"{found.worst_missed}"
    )


def as_csv(report: Report) -> str:
    """A row a box."""
    out = io.StringIO()
    write_csv(report.boxes, out)
    return out.getvalue()


def write_csv(boxes: Iterable[Box], file: IO[str]) -> None:
    """The same for boxes that come one at a time."""
    table = csv.DictWriter(file, list(_row(NOTHING)), lineterminator="\n")
    table.writeheader()
    table.writerows(map(_row, boxes))


def _row(box: Box) -> dict[str, str | int | float]:
    return {
        "old_login": box.login,
        "new_login": box.new_login,
        "result": "equal" if box.equal else "unavailable" if box.unavailable else "different",
        **{aspect: box.verdicts[aspect].value for aspect in ASPECTS},
        "old_messages": box.old.messages,
        "new_messages": box.new.messages,
        "old_octets": box.old.octets,
        "new_octets": box.new.octets,
        "findings": len(box.findings),
        "uidl_downloads": box.downloads.uidl,
        "uidl_again": box.downloads.uidl_known,
        "number_again": box.downloads.number_again,
        "number_missed": box.downloads.number_missed,
        "retries": box.retries,
        "took_s": box.took_s,
        "unavailable": box.unavailable,
    }
