"""The files that the MTA says it wrote: looked for in the boxes that the rules name, found, given up or ambiguous."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from popbox.errors import HostError
from popbox.journey.feeds.maildirs import Look, MaildirFile, Maildirs
from popbox.journey.join.filed import Owed, ambiguous, candidates, filed, named, second_copies
from popbox.journey.model import Event, Kind
from popbox.journey.store import Batch
from popbox.journey.store.reading import pop3_gap

MISSING_S = 5.0  # our choice: a file that is not there so long after the log said so is missing
BEFORE_S = 10.0  # our choice: a file may be older than the log's line by that; a clock of another machine by more
NO_RULES = "no one says where it lies: mailhost explain cannot be asked on this host"
ELSEWHERE = "it was kept in an mbox or by a program, which is not looked into: {}"
TAKEN = "{} files were removed from {} over POP3 before they were seen"
CUT = "no file in {} is it, and POP3 may have removed it where its log has a part missing: {}"
LATE = "no file in {} is it, and popbox did not look when it was delivered"
MISSING = "the log says that it was delivered, and no file in {} is it"


class Files:
    """What is owed on one host. ``maildirs`` None: the host shows no files, and ``why`` says so."""

    def __init__(self, maildirs: Maildirs | None, uid: int, why: str = "") -> None:
        """``uid`` is who must own mail."""
        self._maildirs, self._uid, self._why = maildirs, uid, why
        self.owed: list[Owed] = []

    def close(self) -> None:
        """End what looks into boxes; what is owed is loaded again from the store."""
        if self._maildirs:
            self._maildirs.close()
        self.owed = []

    def owe(self, of: int, owed: list[Owed], late: bool) -> None:
        """What is owed of one message now, in place of what was owed of it before."""
        before = {one.recipient: one for one in self.owed if one.of == of}
        for one in owed:
            known = before.get(one.recipient)
            one.asked_at, one.late = (known.asked_at, known.late) if known else (0.0, late)
        if before:
            self.owed = [one for one in self.owed if one.of != of]
        self.owed += owed

    def look(self, now: float) -> Look | None:
        """Look into the boxes of what is owed; None where nothing is, or where it cannot be looked into."""
        boxes: dict[str, float] = {}
        for one in self.owed:
            one.asked_at = one.asked_at or now
            for box in one.boxes:
                boxes[box] = min(boxes.get(box, now), one.queued_at - BEFORE_S)
        if not boxes or self._maildirs is None:
            return None
        try:
            return self._maildirs.look(boxes)
        except HostError as error:
            why = str(error).splitlines()[0]
            return Look((), dict.fromkeys(boxes, why))

    def settle(self, batch: Batch, look: Look | None, now: float, taken: Callable[[str], int]) -> None:
        """Store what was found, and what is given up. ``taken``: files of a Maildir that POP3 removed unseen."""
        by_qp: dict[str, list[Owed]] = {}
        for one in self.owed:
            by_qp.setdefault(one.qp, []).append(one)
        for file in look.files if look else ():
            self._place(batch, file, by_qp)
        left = []
        for one in self.owed:
            if one.count > 0 and not self._given_up(batch, one, look, now, taken):
                left.append(one)
        self.owed = left

    def _place(self, batch: Batch, file: MaildirFile, by_qp: Mapping[str, list[Owed]]) -> None:
        assert self._maildirs is not None
        name = named(file)
        if name is None or batch.has("maildirs", f"{file.box}/{file.name}"):
            self._maildirs.known(file.box, file.name)
            return
        fitting = candidates(name, (one for one in by_qp.get(name.qp, ()) if one.count > 0))
        fitting = fitting or second_copies(batch, name)
        if not fitting:
            return  # of a message that the log does not name yet
        self._maildirs.known(file.box, file.name)
        same = len({one.of for one in fitting}) == 1
        events: Iterable[Event] = [filed(fitting[0], file, name, self._uid)] if same else ambiguous(fitting, file)
        for event in events:
            batch.add(event)
        for one in fitting[:1] if same else fitting:
            one.count -= 1

    def _given_up(self, batch: Batch, one: Owed, look: Look | None, now: float, taken: Callable[[str], int]) -> bool:
        if self._maildirs is None or not one.boxes:
            why = self._why or (ELSEWHERE.format(", ".join(one.others)) if one.others else NO_RULES)
            return self._say(batch, one, Kind.UNSEEN, why, now)
        faults = [f"{box}: {look.faults[box]}" for box in one.boxes if look and box in look.faults]
        if faults:
            return self._say(batch, one, Kind.UNSEEN, "; ".join(faults), now)
        if now - one.asked_at < MISSING_S:
            return False
        if gone := sum(map(taken, one.boxes)):
            return self._say(batch, one, Kind.UNSEEN, TAKEN.format(gone, ", ".join(one.boxes)), now)
        if (gap := pop3_gap(batch.db)) and (gap.seq > one.of or gap.at >= one.queued_at):
            return self._say(batch, one, Kind.UNSEEN, CUT.format(", ".join(one.boxes), gap.fields["why"]), now)
        if one.others:
            return self._say(batch, one, Kind.UNSEEN, ELSEWHERE.format(", ".join(one.others)), now)
        if one.late:
            return self._say(batch, one, Kind.UNSEEN, LATE.format(", ".join(one.boxes)), now)
        return self._say(batch, one, Kind.MISSING, MISSING.format(", ".join(one.boxes)), now)

    @staticmethod
    def _say(batch: Batch, one: Owed, kind: Kind, why: str, now: float) -> bool:
        said: dict[str, Any] = {"recipient": one.recipient, "why": why, "count": one.count}
        batch.add(Event(now, kind, one.of, said))
        if kind is Kind.MISSING:
            batch.add(Event(now, Kind.ALARM, one.of, {"recipient": one.recipient, "why": why}))
        return True


def still_owed(events: Iterable[Event], foretold: Callable[[int], Event | None]) -> list[Owed]:
    """What is owed of one message, from its events."""
    head: dict[str, Any] = {}
    owed: dict[str, Owed] = {}
    for event in events:
        said = event.fields
        if event.kind in (Kind.SENT, Kind.QUEUED):
            head.update(said, at=event.at)
        elif event.kind is Kind.TRYING:
            rule = foretold(said["foretold"]) if said["foretold"] else None
            boxes, others = (tuple(rule.fields[name]) if rule else () for name in ("maildirs", "elsewhere"))
            others += tuple(rule.fields["mboxes"]) if rule else ()
            values = (head.get("qp", ""), head.get("sender", ""), head.get("bytes"), head.get("at", event.at))
            count = owed[said["recipient"]].count if said["recipient"] in owed else 0
            address = said["recipient"]
            owed[address] = Owed(event.message or 0, *values, address, count, boxes, event.at, others=others)
        elif event.kind is Kind.TRIED and said["recipient"] in owed:
            owed[said["recipient"]].count += said["kept"] or 0
        elif event.kind in (Kind.FILED, Kind.MISSING, Kind.UNSEEN, Kind.AMBIGUOUS) and said.get("recipient") in owed:
            owed[said["recipient"]].count -= said.get("count", 1)
    return [one for one in owed.values() if one.count > 0]
