"""The join of a large run: ``python -m tests.bench.load.join MESSAGES [SEEDS]``.

Journals of MESSAGES messages are made by hand, in which a few are lost, doubled, altered and misdelivered, drawn by the
seed. Printed: seconds from opening the folder to the verdict, the most memory, and whether each planted case was named.
"""

from __future__ import annotations

import random
import resource
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from popbox.load.books.journal import Journal
from popbox.load.books.judge import judge
from popbox.load.books.tables import incomplete, opened

BOXES, WRITERS, SESSION = 5_000, 4, 10
PLANTED = ("lost", "doubled", "altered", "misdelivered")
EACH = 5


def write(folder: Path, messages: int, seed: int) -> dict[int, str]:
    """The journals, and which message has which fate."""
    draw = random.Random(seed)
    chosen = draw.sample(range(messages), EACH * len(PLANTED))
    fates = {number: PLANTED[place % len(PLANTED)] for place, number in enumerate(chosen)}
    with ExitStack() as stack:
        journals = [stack.enter_context(Journal(folder, f"w{number}")) for number in range(WRITERS)]
        for number in range(messages):
            _message(journals[number % 2], journals[2 + number % 2], number, fates.get(number, ""))
    return fates


def _message(sender: Journal, reader: Journal, number: int, fate: str) -> None:
    token, box, digest = f"{number:016x}", f"b{number % BOXES}", f"{number * 7919:032x}"
    common = {"token": token, "octets": 4_000, "took_us": 1_500}
    sender.write("accept", box=box, digest=digest, late_us=0, note=f"250 ok 1795867419 qp {number % 32768}", **common)
    if fate == "lost":
        return
    if fate == "misdelivered":
        box = f"b{(number + 1) % BOXES}"
    session = number // SESSION
    for uidl in (f"u{number}", f"u{number}b") if fate == "doubled" else (f"u{number}",):
        reader.write("list", box=box, uidl=uidl, session=session)
        reader.write(
            "fetch",
            box=box,
            uidl=uidl,
            digest=fate or digest if fate == "altered" else digest,
            session=session,
            **common,
        )
        reader.write("delete", box=box, uidl=uidl, session=session)
    if number % SESSION >= SESSION - 2:
        reader.write("commit", session=session)


def judged(folder: Path, fates: dict[int, str], messages: int) -> str:
    """Judge; what was measured, in words. Ends the program where a planted case was missed or another one was found."""
    began = time.monotonic()
    if lacking := incomplete(folder, ()):
        raise SystemExit(f"journals: {lacking}")
    with opened(folder) as books:
        verdict = judge(books, folder)
    took_s = time.monotonic() - began
    wanted = Counter(fates.values())
    wanted["lost"] += wanted["misdelivered"]  # to its own box
    found = {name: many for name, many in verdict.counts.items() if many and name != "once"}
    named = {(one.verdict, int(one.token, 16)) for one in verdict.cases}
    planted = {(fate, number) for number, fate in fates.items()}
    if found != dict(wanted) or not planted <= named:
        raise SystemExit(f"planted {dict(wanted)}, found {found}")
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    return f"{messages} messages: {took_s:.1f} s, {mib} MiB, {len(fates)} planted cases named"


def main() -> None:
    messages, seeds = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    for seed in range(1, seeds + 1):
        with tempfile.TemporaryDirectory() as folder:
            fates = write(Path(folder), messages, seed)
            size = sum(one.stat().st_size for one in Path(folder).iterdir()) >> 20
            print(f"seed {seed}: {size} MiB of journals; {judged(Path(folder), fates, messages)}", flush=True)


if __name__ == "__main__":
    main()
