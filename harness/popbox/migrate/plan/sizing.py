"""How large the new host must be: arithmetic on what was measured, shown line by line; a range, and no guesses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from pydantic import BaseModel, ConfigDict

from popbox.migrate.plan import measured
from popbox.migrate.plan.measured import BLOCK_OCTETS, Figure
from popbox.migrate.units import size

DAY_S = 86_400


class AuditedBox(BaseModel):
    """A mailbox in ``audit --json``. ``messages`` None: of an mbox that was not read."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    messages: int | None
    octets: int


class AuditReport(BaseModel):
    """What ``audit --json`` wrote, as far as sizes go."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    boxes: tuple[AuditedBox, ...]

    @property
    def messages(self) -> int | None:
        """All of them; None where one box was not counted."""
        counted = [box.messages for box in self.boxes if box.messages is not None]
        return sum(counted) if len(counted) == len(self.boxes) else None

    @property
    def average_octets(self) -> int | None:
        """Of a message; None where they were not counted, or there are none."""
        messages = self.messages
        return -(-sum(box.octets for box in self.boxes) // messages) if messages else None


@dataclass(frozen=True, slots=True)
class Load:
    """What the new host is to bear; None: not given, and so not computed. Sizes in octets."""

    boxes: int | None = None
    polls_per_minute: float | None = None
    messages_per_day: int | None = None
    messages_stored: int | None = None
    average_octets: int | None = None

    @property
    def given(self) -> bool:
        """Whether there is anything to compute."""
        return self != Load()

    def completed(self, found: AuditReport) -> Load:
        """With what was audited in place of what was not given; what was given stays."""
        boxes = len(found.boxes) if self.boxes is None else self.boxes
        stored = found.messages if self.messages_stored is None else self.messages_stored
        average = found.average_octets if self.average_octets is None else self.average_octets
        return replace(self, boxes=boxes, messages_stored=stored, average_octets=average)


def lines(load: Load) -> Iterator[str]:
    """A line for each part of the new host, then the figures that it was computed from."""
    used: list[Figure] = []
    yield from _cores(load, used)
    yield from _disk(load, used)
    if load.polls_per_minute is not None:
        used.append(measured.LOGGED_IN)
        figure = measured.LOGGED_IN
        range_ = f"{figure.least} to {figure.most} MB"
        yield f"memory: {range_} for each 1,000 sessions at a time, beside system and file cache"
    yield f"on {measured.MACHINE}; it holds for a machine like that, measure yours with the benches named"
    for figure in used:
        range_ = f"{figure.least:,}" if figure.least == figure.most else f"{figure.least:,} to {figure.most:,}"
        yield f"measured: {range_} {figure.what} ({figure.source})"


def _cores(load: Load, used: list[Figure]) -> Iterator[str]:
    parts: list[tuple[float, float]] = []
    if load.polls_per_minute is not None:
        a_second = load.polls_per_minute / 60
        parts.append((a_second * measured.POLL.least / 1000, a_second * measured.FETCH.most / 1000))
        used += [measured.POLL, measured.FETCH]
        yield (
            f"POP3: {a_second:,.2f} sessions/s x {measured.POLL.least} ms (none finds mail) "
            f"to {measured.FETCH.most} ms (each fetches and deletes 10) "
            f"= {parts[-1][0]:.4f} to {parts[-1][1]:.4f} cores"
        )
    if load.messages_per_day is not None:
        a_second = load.messages_per_day / DAY_S
        parts.append((a_second * measured.SMTP.least / 1000, a_second * measured.SMTP.most / 1000))
        used.append(measured.SMTP)
        yield (
            f"SMTP: {a_second:,.2f} messages/s on average x {measured.SMTP.least} to {measured.SMTP.most} ms "
            f"= {parts[-1][0]:.4f} to {parts[-1][1]:.4f} cores"
        )
    if parts:
        least, most = (sum(part[end] for part in parts) for end in (0, 1))
        yield f"cores busy: {least:.4f} to {most:.4f} at an even load; multiply by your peak: it is not measured here"
        yield "not in it: the first login of each box after a start (its hash), TLS, programs in .qmail, filters"


def _disk(load: Load, used: list[Figure]) -> Iterator[str]:
    octets = inodes = 0
    if load.boxes is not None:
        octets, inodes = int(load.boxes * measured.BOX_OCTETS.most), round(load.boxes * measured.BOX_INODES.most)
        used += [measured.BOX_OCTETS, measured.BOX_INODES]
        yield f"boxes: {load.boxes:,} x {measured.BOX_OCTETS.most:,} octets = {size(octets)}; {inodes:,} inodes"
    if load.messages_stored is None:
        yield "mail on disk: not known; give --stored-messages and --average-size, or --audit-report"
        return
    if load.average_octets is None:
        yield "mail on disk: not known; give --average-size"
        return
    least = load.messages_stored * load.average_octets
    most = load.messages_stored * (load.average_octets + BLOCK_OCTETS - 1)
    yield (
        f"mail: {load.messages_stored:,} x {load.average_octets:,} octets, each in whole blocks of {BLOCK_OCTETS:,} "
        f"= {size(least)} to {size(most)}; {load.messages_stored:,} inodes"
    )
    yield (
        f"disk: {size(octets + least)} to {size(octets + most)}, {inodes + load.messages_stored:,} inodes, "
        "and room for what comes"
    )
    if load.messages_per_day is not None:
        a_day = load.messages_per_day * load.average_octets
        yield f"each day of mail that is kept: {size(a_day)} or more, {load.messages_per_day:,} inodes"
