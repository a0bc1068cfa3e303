"""``popbox migrate verify --watch``: rounds after the switch, for a terminal or for cron."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from popbox.cli.moving.verify_ways import Key, Way
from popbox.cli.output import write
from popbox.migrate.pop3.host import Unavailable
from popbox.migrate.verify.naming import clean
from popbox.migrate.verify.text import person
from popbox.migrate.verify.watch.memory import Memory
from popbox.migrate.verify.watch.round import Looked, Round
from popbox.migrate.verify.work import Work
from popbox.printable import counted

SCHEMA = "popbox.migrate-verify-watch/1"
NONE, LATE, UNREACHED, INTERRUPTED = 0, 1, 3, 130


@dataclass(frozen=True, slots=True)
class Watch:
    """How long to watch. ``rounds`` 0: until it is interrupted."""

    minutes: float
    rounds: int
    state: Path
    json_file: str | None


def watch(way: Way, keys: list[Key], wanted: Watch, about: dict[str, Any]) -> int:
    """Look at every box again and again; the exit code of the last round, 130 where it was interrupted.

    Raises:
        Unusable: the state file.
    """
    assert way.work is not None
    memory = Memory(wanted.state, about)
    code, number = NONE, 0
    try:
        while True:
            began = time.monotonic()
            code, number = _round(way, way.work, keys, memory, wanted.json_file), number + 1
            if number == wanted.rounds:
                return code
            time.sleep(max(0.0, wanted.minutes * 60 - (time.monotonic() - began)))
    except KeyboardInterrupt:
        click.echo("\ninterrupted: what was seen is in the state file", err=True)
        return INTERRUPTED
    finally:
        memory.close()


def _round(way: Way, work: Work, keys: list[Key], memory: Memory, json_file: str | None) -> int:
    """One look at all boxes, and what is said of it."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    for host in (work.old, work.new):
        host.note(reached=True)  # a host that was given up may be back
    accounts = {(row.old_login, row.new_login): row for row in way.accounts}
    unavailable: dict[str, str] = {}
    try:
        way.probe()
        for looked in Round(work.old, work.new, at).run([accounts[key] for key in keys], memory.boxes):
            _take(looked, memory, unavailable)
    except Unavailable as error:
        unavailable["*"] = str(error)
    late = {key[0]: box.late for key, box in memory.boxes.items() if box.late and key in accounts}
    for login, why in sorted(unavailable.items()):
        click.echo(f"{clean(login)}: could not be asked: {clean(why)}")
    count = sum(map(len, late.values()))
    boxes, messages = counted(len(keys), "box", "boxes"), counted(count, "late message")
    click.echo(f"{at}: {boxes}, {messages} in {len(late)}, {len(unavailable)} could not be asked")
    if json_file is not None:
        found = {login: [one.model_dump() for one in messages] for login, messages in sorted(late.items())}
        report = {"schema": SCHEMA, "at": at, "boxes": len(keys), "late": found, "unavailable": unavailable}
        write(json_file, json.dumps(report, indent=1) + "\n")
    return UNREACHED if unavailable else LATE if late else NONE


def _take(looked: Looked, memory: Memory, unavailable: dict[str, str]) -> None:
    """Remember a box; late messages are shown once."""
    if looked.remembered is None:
        unavailable[looked.login] = looked.unavailable
        return
    memory.note(looked.remembered)
    for late in looked.news:
        click.echo(f"{clean(looked.login)}: late: {person(late.message)}: on the old host alone")
