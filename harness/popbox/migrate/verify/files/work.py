"""All mailboxes of two trees, one after the other."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from popbox.migrate.oldhost.model import MAILDIR
from popbox.migrate.oldhost.tree import OldHostError
from popbox.migrate.verify.files.maildrop import Maildrops
from popbox.migrate.verify.files.pairs import Pair
from popbox.migrate.verify.judge.compare import compare
from popbox.migrate.verify.mailbox import Side
from popbox.migrate.verify.result import ASPECTS, Box, Finding, Verdict

NOT_PROVED = "not proved: no login was tried"


@dataclass(frozen=True)
class FilesWork:
    """What is to be compared, and whether contents are read."""

    old: Maildrops
    new: Maildrops
    content: bool

    def run(self, pairs: Sequence[Pair]) -> Iterator[Box]:
        """A box for each pair, in their order."""
        for pair in pairs:
            began = time.monotonic()
            yield self.box(pair).model_copy(update={"took_s": round(time.monotonic() - began, 3)})

    def box(self, pair: Pair) -> Box:
        """One mailbox; the new side first, as it decides what the old one leaves open."""
        nothing = Box(
            login=pair.old_login, new_login=pair.new_login, verdicts=dict.fromkeys(ASPECTS, Verdict.NOT_JUDGED)
        )
        if pair.old is None:
            why = "the login opens no mailbox on the old host"
            return nothing.model_copy(
                update={"unavailable": pair.outside} if pair.outside else {"reasons": dict.fromkeys(ASPECTS, why)}
            )
        content = self.content or pair.old.kind != MAILDIR  # messages of an mbox have nothing else to be known by
        try:
            new = self.new.side(pair.new, content) if pair.new else Side()
            places = {message.uidl: message.number for message in new.messages}
            old = self.old.side(pair.old, content, places)
        except OldHostError as why:
            return nothing.model_copy(update={"unavailable": str(why)})
        profiles = self.old.profile_of(pair.old), self.new.profile
        if not content:
            profiles = "qmail", "qmail"  # both sizes are those on disk
        return self._judged(pair, compare(pair.old_login, pair.new_login, old, new, profiles, content))

    def _judged(self, pair: Pair, box: Box) -> Box:
        """Without a verdict about the login, unless it cannot be taken."""
        verdict = Verdict.DIFFERENT if pair.refused else Verdict.NOT_JUDGED
        findings = (Finding(kind="login", said=pair.refused), *box.findings) if pair.refused else box.findings
        why = f"{NOT_PROVED}; {pair.hashes}" if pair.hashes else NOT_PROVED
        return box.model_copy(
            update={
                "verdicts": {**box.verdicts, "login": verdict},
                "findings": findings,
                "reasons": box.reasons if pair.refused else {**box.reasons, "login": why},
            }
        )
