"""How a delivery ended, and the exception that stops one. Pure. Source: Q-LSP-12, Q-LSP-13."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from enum import Enum

from mailhost.qmail.failure import Failure, error_text
from mailhost.standin.header_fields import logged

REPORT_OCTETS = 3000  # a longer report is cut to this (Q-LSP-13)
_CUT = b"\nError report too long, sorry.\n"


class Outcome(Enum):
    """The values are the words of the log line."""

    SUCCESS = "success"
    FAILURE = "failure"
    DEFERRAL = "deferral"


@dataclass(frozen=True, slots=True)
class Report:
    """The end of one delivery attempt; ``text`` goes into the log, and into the bounce when it failed.

    ``cause`` goes into the log only: the file and the error behind a text of qmail that names neither.
    ``queued``: all is delivered, but the queue file could not be removed.
    """

    outcome: Outcome
    text: bytes = b""
    cause: str = field(default="", compare=False)
    queued: bool = field(default=False, compare=False)

    @classmethod
    def of(cls, outcome: Outcome, text: bytes, cause: str = "") -> Report:
        """``text`` up to its first NUL and of bounded length."""
        text = text.partition(b"\0")[0]
        if len(text) >= REPORT_OCTETS:
            text = text[: REPORT_OCTETS - len(_CUT) - 3] + _CUT
        return cls(outcome, text, cause)


class Stopped(Exception):
    """A delivery cannot go on: it bounces when ``permanent``, otherwise it is tried again.

    ``text`` is the report, without LF. For a program (``raw``) it is the output, which may end in LF (Q-LOG-9).
    """

    def __init__(self, text: str | bytes, *, permanent: bool = False, raw: bool = False) -> None:
        """``text`` is what the sender or the operator will read."""
        self.text = os.fsencode(text)
        self._raw = raw
        self.permanent = permanent
        super().__init__(self.text.decode("utf-8", "replace"))

    @classmethod
    def by(cls, failure: Failure) -> Stopped:
        """The refusal of a rule of ``mailhost.qmail``."""
        return cls(failure.text, permanent=failure.permanent)

    def report(self, said: bytes = b"") -> Report:
        """The report; ``said`` is what programs printed before."""
        text = said + (self.text if self._raw or not self.text else self.text + b"\n")
        cause = because(self.__cause__) if isinstance(self.__cause__, OSError) else ""
        return Report.of(Outcome.FAILURE if self.permanent else Outcome.DEFERRAL, text, cause)


def because(error: OSError) -> str:
    """``FILE: REASON`` for a log line, in the operating system's words."""
    file = ""
    if isinstance(error.filename, (str, bytes)):
        file = logged(os.path.normpath(os.fsencode(error.filename))) + ": "
    return file + (error.strerror or type(error).__name__)


def unable(action: str, error: OSError, code: str = "#4.3.0") -> Stopped:
    """``Unable to ACTION: REASON. (CODE)``, a temporary failure, the reason in qmail's words."""
    return Stopped(f"Unable to {action}: {error_text(error.errno)}. ({code})")
