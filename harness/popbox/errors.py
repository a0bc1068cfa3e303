"""Errors of the harness. A failed expectation is a result, not one of these."""

from __future__ import annotations

from collections.abc import Sequence

from popbox.printable import plain


class PopboxError(Exception):
    """Base of every error that popbox raises on purpose; its text is fit to be shown as it is."""

    transcript: tuple[str, ...] = ()  # of the conversation that it ended, where there was one

    def __str__(self) -> str:
        """Its text; what it quotes of a peer or a log is plain."""
        return plain(super().__str__())


class UnusableError(PopboxError):
    """Input that cannot be used: names the file, line, field and rule (exit code 2)."""


class ScenarioError(UnusableError):
    """A scenario file cannot be used: names file, step and key."""

    def __init__(self, file: str, where: str, rule: str, line: int = 0) -> None:
        """``where`` is a dotted path such as ``step 3.send.to``; ``rule`` says what should stand there.

        ``line`` counts from 1; 0 where it is not known.
        """
        at = f"line {line}" if line else ""
        super().__init__(": ".join(filter(None, (file, at, where, rule))))
        self.file, self.where, self.rule, self.line = file, where, rule, line
        self.mistakes: tuple[str, ...] = (": ".join(filter(None, (at, where, rule))),)

    @classmethod
    def of(cls, each: Sequence[ScenarioError], most: int) -> ScenarioError:
        """One error for several of a file: a line for each of the first ``most``; its fields are those of the first."""
        first = each[0]
        made = cls(first.file, first.where, first.rule, first.line)
        more = (f"and {len(each) - most:,} more",) if len(each) > most else ()
        made.mistakes = tuple(line for one in each[:most] for line in one.mistakes) + more
        made.args = ("\n".join(f"{first.file}: {line}" for line in made.mistakes),)
        return made


class HostError(PopboxError):
    """A mail host could not be started or reached (exit code 3); carries the last log lines it left."""

    def __init__(self, what: str, log: str = "") -> None:
        """``log`` is shown below the text, indented; empty when there is none."""
        tail = "".join(f"\n    {line}" for line in log.splitlines())
        super().__init__(f"{what}\n  its last log lines:{tail}" if tail else what)
        self.what, self.log = what, log


class NotPossibleError(HostError):
    """What a scenario needs cannot be done on this host, for a reason of its engine: no verdict on the mail host."""


class StepTimeout(PopboxError):
    """A wait ended without what it waited for."""

    def __init__(self, awaited: str, seen: str, waited_s: float) -> None:
        """``seen`` is what was there last instead, in words."""
        super().__init__(f"waited {waited_s:.1f} s for {awaited}; last seen: {seen}")
        self.awaited, self.seen, self.waited_s = awaited, seen, waited_s


class ConnectionFailed(PopboxError):
    """A TCP peer refused, reset or closed the connection; names the peer and what was expected of it."""
