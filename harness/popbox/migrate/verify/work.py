"""All boxes, in parallel: in threads, as they wait for sockets most of the time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from popbox.migrate.pop3.accounts import Account
from popbox.migrate.pop3.host import Host, Unavailable
from popbox.migrate.pop3.parallel import in_threads
from popbox.migrate.verify import sizes
from popbox.migrate.verify.judge.compare import compare
from popbox.migrate.verify.mailbox import Fields, Side, read_box, read_fields
from popbox.migrate.verify.naming import clean, named
from popbox.migrate.verify.result import ASPECTS, Box, Finding, Named, Verdict

KEPT_OCTETS = 64 << 20  # our choice: messages kept to be compared as they came, on both sides of all boxes at work
NAMED_BY_TOP = 50  # our choice: with --no-content, messages a side whose Subject is asked for


@dataclass(frozen=True)
class Work:
    """What is to be verified: two hosts, and whether content is read."""

    old: Host
    new: Host
    content: bool

    def run(self, accounts: Sequence[Account]) -> Iterator[Box]:
        """Boxes as they are done, in any order."""
        return in_threads(self.box, accounts, self.old.jobs + self.new.jobs)

    def box(self, account: Account) -> Box:
        """One box, the old side first."""
        began = time.monotonic()
        room = KEPT_OCTETS // (2 * (self.old.jobs + self.new.jobs))
        try:
            old = read_box(self.old, account.old_login, account.old_password, self.content, room)
            new = read_box(self.new, account.new_login, account.new_password, self.content, room)
        except Unavailable as error:
            box = _unavailable(account, str(error))
        else:
            profiles = self._profile(self.old, old), self._profile(self.new, new)
            box = compare(account.old_login, account.new_login, old, new, profiles, self.content)
            if box.findings and not self.content:
                box = self._with_names(box, account)
        return box.model_copy(update={"took_s": round(time.monotonic() - began, 3)})

    def _profile(self, host: Host, side: Side) -> str:
        return sizes.detect(side.messages, host.hint) if host.profile == "auto" else host.profile

    def _with_names(self, box: Box, account: Account) -> Box:
        """Subject, Date and Message-ID of what was found, by TOP."""
        old, no = _asked(self.old, account.old_login, account.old_password, [f.old for f in box.findings if f.old])
        new, nor = _asked(self.new, account.new_login, account.new_password, [f.new for f in box.findings if f.new])
        findings = [
            finding.model_copy(update={"old": _filled(finding.old, old), "new": _filled(finding.new, new)})
            for finding in box.findings
        ]
        said = {f"subjects, {side}": clean(text) for side, text in (("old", no), ("new", nor)) if text}
        return box.model_copy(update={"findings": tuple(findings), "reasons": box.reasons | said})


def _asked(host: Host, login: str, password: str, messages: list[Named]) -> tuple[Fields, str]:
    wanted = {message.number: message.uidl for message in messages[:NAMED_BY_TOP] if message.uidl}
    return read_fields(host, login, password, wanted) if wanted else ({}, "")


def _filled(message: Named | None, fields: Fields) -> Named | None:
    if message is None or message.number not in fields:
        return message
    return named(message, fields[message.number])


def _unavailable(account: Account, why: str) -> Box:
    return Box(
        login=account.old_login,
        new_login=account.new_login,
        verdicts=dict.fromkeys(ASPECTS, Verdict.NOT_JUDGED),
        unavailable=why,
    )


def name_elsewhere(boxes: Sequence[Box]) -> list[Box]:
    """Boxes whose missing messages are extra in others: what was put into a wrong box, and whole boxes swapped."""
    place: dict[str, tuple[str, Named]] = {}
    for box in boxes:
        place |= {f.key: (box.login, f.new) for f in box.findings if f.kind == "extra" and f.key and f.new}
    return [elsewhere(box, place) for box in boxes]


def elsewhere(box: Box, place: dict[str, tuple[str, Named]]) -> Box:
    """The box with its missing messages named that are in ``place``: key -> login and message that is extra there."""
    found = [(f, *place[f.key]) for f in box.findings if f.kind == "missing" and f.key in place]
    if not found:
        return box
    gone = sum(finding.kind == "missing" for finding in box.findings)
    said: dict[str, int] = {}
    for _, login, _ in found:
        said[login] = said.get(login, 0) + 1
    heads = [
        Finding(kind="elsewhere", said=f"{count} of {gone} missing messages are in the box of {login} on the new host")
        for login, count in said.items()
    ]
    where = {
        id(finding): f"; it is number {message.number} in the box of {login} there" for finding, login, message in found
    }
    named_ones = [
        finding.model_copy(update={"said": finding.said + where[id(finding)]}) if id(finding) in where else finding
        for finding in box.findings
    ]
    return box.model_copy(update={"findings": (*heads, *named_ones)})
