"""Sending a message over SMTP: what the server said to each recipient, and where its journey begins."""

from __future__ import annotations

import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from popbox.clients.smtp import Smtp, commands, queued_as, shortened
from popbox.errors import ConnectionFailed, StepTimeout
from popbox.hosts.base import Ability, Host
from popbox.journey.join.queue import logged_send
from popbox.journey.model import Event, Kind
from popbox.journey.store import NEW
from popbox.serve.errors import ApiError
from popbox.serve.live import Live
from popbox.serve.reads import Answer
from popbox.serve.rules import Caller
from popbox.serve.space import Space, Within
from popbox.serve.writes.common import SOURCE, TOKENS, Asking, able, noted
from popbox.serve.writes.compose import composed, decoded
from popbox.serve.writes.message import NewMessage

REPLY_S = 20.0  # our choice: for each reply


class RefusedRecipient(BaseModel):
    """A recipient that the server refused."""

    model_config = ConfigDict(extra="forbid")

    address: str
    reply: str


class SmtpReceipt(Answer):
    """What the server said. A refusal is no error of the API."""

    accepted: bool = Field(description="whether the MTA took it, for all recipients that are not refused")
    command: str = Field(description="the command that decided")
    reply: str = Field(description="the reply to it")
    refused: list[RefusedRecipient]
    dialogue: list[str] = Field(description="C: and S: lines; of a long message the middle is left out")
    journey: int = Field(description="its id, for /v1/journeys/{id}")
    message_id: str | None = Field(description="the Message-ID that it was given; null for raw")
    cursor: int = Field(description="behind the last event before it was sent")


@dataclass(slots=True)
class Talk:
    """A conversation with the server about one message."""

    command: str = "connect"
    reply: str = ""
    accepted: bool = False
    refused: dict[str, str] = field(default_factory=dict)
    dialogue: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Letter:
    """A message as it is sent: with LF line ends, or ``exact``; ``message_id`` where it was given one here."""

    octets: bytes
    message_id: str | None = None
    exact: bool = False


def send(live: Live) -> APIRouter:
    """The endpoint, over one host."""
    router = APIRouter(dependencies=TOKENS)

    @router.post("/v1/messages", operation_id="sendMessage")
    def send_message(new: NewMessage, caller: Asking, within: Within) -> SmtpReceipt:
        """Send a message over SMTP: to all recipients that the server takes; those that it refuses are told."""
        letter = letter_of(new)
        _in_space(new, within)
        return sent(live, caller, new, letter)

    return router


def sent(live: Live, caller: Caller, new: NewMessage, letter: Letter) -> SmtpReceipt:
    """Send a letter to the recipients of ``new``, and begin its journey.

    Raises:
        ApiError: the host cannot, or SMTP broke off.
        StoreError: it could not be noted.
    """
    host = live.host
    with noted(live, caller, "send", sender=new.sender, recipients=new.to) as told:
        able(host, Ability.SEND)
        cursor = live.store.cursor()
        talk = converse(host, new.sender, new.to, letter)
        told |= {"reply": talk.reply, "accepted": talk.accepted}
    journey = note_sent(live, new, talk, letter.message_id)
    live.kick()
    return SmtpReceipt(
        host=host.name,
        mta=host.mta,
        accepted=talk.accepted,
        command=talk.command,
        reply=talk.reply,
        refused=[RefusedRecipient(address=one, reply=reply) for one, reply in talk.refused.items()],
        dialogue=shortened(talk.dialogue),
        journey=journey,
        message_id=letter.message_id,
        cursor=cursor,
    )


def letter_of(new: NewMessage) -> Letter:
    """The message that is wanted.

    Raises:
        ApiError: it is said in two ways, or the fields make no message.
    """
    fields = [one for one in (new.subject, new.text, new.html, new.attachments) if one is not None]
    if (new.raw is not None) + (new.raw_base64 is not None) + bool(fields) > 1:
        raise ApiError(422, "say the message once", "raw, or raw_base64, or fields")
    if new.raw is not None:
        return Letter(_encoded(new.raw).replace(b"\r\n", b"\n"))
    if new.raw_base64 is not None:
        return Letter(decoded(new.raw_base64).replace(b"\r\n", b"\n"))
    message_id = f"<{secrets.token_hex(12)}@popbox.invalid>"
    return Letter(composed(new, message_id, datetime.now(UTC)), message_id)


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:  # JSON can write half a character
        raise ApiError(422, "raw is no text", "send octets as raw_base64", (error.reason,)) from error


def _in_space(new: NewMessage, within: Space | None) -> None:
    """A space writes into its own boxes only.

    Raises:
        ApiError: a recipient is elsewhere.
    """
    if within is not None and (others := [one for one in new.to if not within.holds(one)]):
        hint = f"the space has {within.domain}"
        raise ApiError(403, "a recipient is not of this space", hint, tuple(others[:10]))


def converse(host: Host, sender: str, recipients: list[str], letter: Letter) -> Talk:
    """Offer a message; recipients that are refused are left out, as SMTP clients do.

    Raises:
        ApiError: the conversation broke, so that it is not known whether the message was taken.
    """
    talk = Talk()
    try:
        session = Smtp(host.address("smtp"), REPLY_S)
        with session.wire:
            _converse(session, talk, sender, recipients, letter)
            talk.dialogue = session.wire.transcript()
    except (ConnectionFailed, StepTimeout) as error:
        status = 504 if isinstance(error, StepTimeout) else 503
        raise ApiError(status, "SMTP broke off", "GET /readyz", (f"at {talk.command}", str(error))) from error
    return talk


def _converse(session: Smtp, talk: Talk, sender: str, recipients: list[str], letter: Letter) -> None:
    talk.reply = str(session.greeting)
    if not session.greeting.ok:
        return
    for line in ("EHLO popbox.invalid", f"MAIL FROM:<{sender}>"):
        if not _said(session, talk, line):
            return
    for one in recipients:
        if not _said(session, talk, f"RCPT TO:<{one}>"):
            talk.refused[one] = talk.reply
    if len(talk.refused) < len(set(recipients)) and _said(session, talk, "DATA"):
        reply = session.data(letter.octets, exact=letter.exact)
        talk.reply, talk.accepted = str(reply), reply.ok
    with suppress(ConnectionFailed, StepTimeout):  # the verdict is in; a server may hang up after an error
        session.command("QUIT")


def _said(session: Smtp, talk: Talk, line: str) -> bool:
    reply = session.command(line)
    talk.command, talk.reply = line, str(reply)
    return reply.ok


def note_sent(live: Live, new: NewMessage, talk: Talk, message_id: str | None) -> int:
    """Begin the message's journey, or join the one that the log's line has begun already; returns its id.

    Raises:
        StoreError: the event could not be stored.
    """
    qp = queued_as(talk.reply) if talk.accepted else ""
    said: dict[str, Any] = {"sender": new.sender, "reply": talk.reply, "accepted": talk.accepted}
    said["recipients"] = [one for one in new.to if one not in talk.refused] if talk.accepted else new.to
    said |= {"dialogue": commands(talk.dialogue)} | ({"qp": qp} if qp else {})
    said |= {"subject": new.subject or "", "message_id": message_id} if message_id else {}
    now = time.time()
    with live.store.batch() as batch:
        of = logged_send(batch.db, qp, new.sender, now) if qp else 0
        seq = batch.add(Event(now, Kind.SENT, of or NEW, said, SOURCE))
        if not talk.accepted:
            batch.add(Event(now, Kind.ENDED, seq, {}, SOURCE))
    return of or seq
