"""Writes the matrix of migrate/README.md: ``python -m tests.popbox.migrate.matrix``, as root for the peers."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from tests.needs import why_not
from tests.popbox.conformance.servers import first_line
from tests.popbox.migrate.houses import ON_DISK, box, csv, logins, moved, put, snapshot, text

from popbox.cli.migrate import migrate

BOXES, MESSAGES = 5, 12
OLD = ("qmail", "dovecot", "dovecot %f", "dovecot %f, no flag updates", "courier")
NEW = ("popbox", "popbox, qmail profile")
ASPECTS = ("login", "uidl", "order", "sizes", "content")
SHORT = {"equal": "=", "different": "DIFFERENT", "not judged": "not judged"}


def fill(root: Path) -> None:
    """Boxes with the habits that make alarms false: CR LF on disk, no newline at the end, empty, dots, NUL, 8 bit."""
    for number in range(BOXES):
        home = box(root, f"user{number}", MESSAGES)
        head = b"Subject: odd\nMessage-ID: <%d@odd.example>\n" % number
        odd = {
            "crlf": text(1).replace(b"\n", b"\r\n"),
            "no-end": head + b"\nno newline at the end",
            "blank-end": head + b"\nbody\n\n\n",
            "dots": head + b"\n.\n..\n.x\n",
            "eight": head + b"\n\xc3\xbc \xff lone \r cr\n",
            "header-only": head,
            "long": head + b"\n" + b"x" * 9000 + b"\n",
        }
        for place, (name, octets) in enumerate(odd.items()):
            put(home, f"17000{place}0000.{name}.old.example", octets, 100 + place)


def measure(old: str, new: str, *more: str) -> tuple[dict[str, Any], bool]:
    """The report of a move between two servers that copied everything well, and whether the old side is untouched."""
    with tempfile.TemporaryDirectory(prefix="popbox-matrix-") as name:
        place = Path(name)
        place.chmod(0o755)
        fill(place / "old")
        there = moved(place / "old", place / "new")
        before = snapshot(place / "old")
        with ON_DISK[old][0](place, place / "old") as one, ON_DISK[new][0](place, there) as other:
            argv = ["verify", "--old", str(one), "--new", str(other), "--json", str(place / "r.json"), *more]
            argv += ["--accounts", str(csv(place / "a.csv", logins(place / "old")))]
            CliRunner().invoke(migrate, argv, standalone_mode=False, catch_exceptions=False)
        return json.loads((place / "r.json").read_text()), snapshot(place / "old") == before


def verdicts(report: dict[str, Any]) -> dict[str, str]:
    """Each aspect in a word, all boxes together."""
    found = report["totals"]["verdicts"]
    return {aspect: next(word for word in SHORT if found[aspect][word] == BOXES) for aspect in ASPECTS}


def row(old: str, new: str, report: dict[str, Any], alone: bool) -> str:
    """A line of the table."""
    found = report["totals"]
    again = f"{found['uidl_known']} of {found['messages_old']}"
    cells = [SHORT[word] for word in verdicts(report).values()]
    return f"| {old} | {new} | " + " | ".join(cells) + f" | {again} | {'yes' if alone else 'no'} |"


def main() -> None:
    """Print Markdown."""
    print("| old | new | " + " | ".join(ASPECTS) + " | UIDL clients fetch again | old `new/` left alone |")
    print("|---|---|" + "---|" * (len(ASPECTS) + 2))
    for old in OLD:
        for new in NEW:
            if why := why_not(*ON_DISK[old][1], *ON_DISK[new][1]):
                print(f"{old}, {new}: {why}", file=sys.stderr)
                continue
            print(row(old, new, *measure(old, new)))
    print(f"\n{first_line('/usr/sbin/dovecot', '--version')}")


if __name__ == "__main__":
    main()
