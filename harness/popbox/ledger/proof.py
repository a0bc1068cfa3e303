"""The proof of one message: four legs SMTP -> queue -> Maildir -> POP3, joined by the token that the message carries.

Plain data, fit for JSON. ``ledger`` makes it, ``report`` shows it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from popbox.journey.model import Disposition as Disposition


class Fact(BaseModel):
    """A frozen record of what was seen; it refuses keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LegStatus(StrEnum):
    """What looking at a leg gave. ``NOT_LOOKED_AT`` is no pass: ``said`` gives the reason."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_LOOKED_AT = "not looked at"


class Leg(Fact):
    """One leg. ``at_s`` is seconds from the start of the send, where the time is known; ``said`` is one line."""

    name: str
    verdict: LegStatus
    said: str
    at_s: float | None = Field(default=None, description="seconds since the send began; null where nothing tells")


class SmtpLeg(Leg):
    """What the MTA answered: the reply that decided, at which command, and the whole dialogue."""

    name: Literal["SMTP"] = "SMTP"
    command: str = ""
    reply: str = ""
    transcript: tuple[str, ...] = ()


class QueueLeg(Leg):
    """What the MTA logged of this message, of its forwarded copies and of its bounce (qmail-log(5))."""

    name: Literal["queue"] = "queue"
    log: tuple[str, ...] = ()


class Copy(Fact):
    """A file that holds the message. ``kind`` is ``bounce`` where it lies in the report of one."""

    kind: Literal["maildir", "mbox", "bounce"]
    path: str = Field(description="below the qmail home")
    uid: int
    gid: int
    mode: str = Field(pattern=r"^[0-7]{4}$")
    size: int = Field(ge=0, description="octets of the file, with LF line ends")
    sha256: str


class MaildirLeg(Leg):
    """Where it should lie, by the mail host's own rules at the time of the send, and each file that holds it."""

    name: Literal["Maildir"] = "Maildir"
    expected: tuple[str, ...] = ()
    copies: tuple[Copy, ...] = ()


class Retrieved(Fact):
    """A RETR that handed the message out. ``by`` is ``step N`` or ``popbox``, which logs in by itself afterwards."""

    by: str
    login: str
    number: int
    octets: int = Field(ge=0, description="as they came over the wire, line ends too; without dot-stuffing and the end")
    sha256: str


class Pop3Leg(Leg):
    """What POP3 handed out."""

    name: Literal["POP3"] = "POP3"
    retrieved: tuple[Retrieved, ...] = ()


class Message(Fact):
    """All that became of one message. ``verdict`` is failed where its end is not the one that was expected."""

    id: str
    token: str
    sender: str
    recipients: tuple[str, ...]
    octets: int = Field(ge=0, description="of the message as sent, with LF line ends")
    sha256: str
    sent_at: AwareDatetime
    expected: str = Field(description="which end was expected, and who says so")
    ended: Disposition
    why: str = Field(description="the reason, from reply, queue, log and `mailhost explain`")
    verdict: LegStatus
    legs: tuple[SmtpLeg, QueueLeg, MaildirLeg, Pop3Leg]
