"""Messages over HTTP: parsed, as they lie in the Maildir, as POP3 hands them out, and their attachments."""

from __future__ import annotations

import threading
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from popbox.journey.feeds.maildirs import Maildirs, Numbered
from popbox.journey.model import Kind
from popbox.message.model import Attachment, Mail
from popbox.message.parse import parse
from popbox.serve.errors import ApiError
from popbox.serve.journeys import Id
from popbox.serve.live import Live
from popbox.serve.mail.arrivals import Arrival, arrival
from popbox.serve.reads import Answer
from popbox.serve.space import Space, Within

OCTETS = "application/octet-stream"
DOWNLOAD: dict[int | str, dict[str, Any]] = {200: {"content": {OCTETS: {}}, "description": "the octets, as a download"}}
Profile = Annotated[
    Literal["rfc1939", "qmail"], Query(description="that of the POP3 server: `qmail` ends with an empty line, keeps CR")
]


class LinkSeen(BaseModel):
    """A link of the message: where it goes, as written there."""

    model_config = ConfigDict(extra="forbid")

    href: str
    text: str = Field(description="the words that a reader sees")
    part: str = Field(description="html or text: where it stands")


class HeaderField(BaseModel):
    """One header field, decoded."""

    model_config = ConfigDict(extra="forbid")

    name: str
    value: str


class AttachmentSeen(BaseModel):
    """A part that is not the text. It is fetched at ``path``, as a download."""

    model_config = ConfigDict(extra="forbid")

    number: int = Field(description="from 1")
    name: str = Field(description="as its sender gave it: may be empty, or a path")
    content_type: str
    octets: int = Field(description="after base64 or quoted-printable")
    sha256: str
    path: str


class MessageSeen(BaseModel):
    """One copy of a message in one Maildir."""

    model_config = ConfigDict(extra="forbid")

    id: int = Field(description="of this copy; ids grow as copies arrive, and are never used twice")
    journey: int = Field(description="id of the message that came in by SMTP: /v1/journeys/{journey}")
    at: float = Field(description="when the file was written, wall clock, in seconds since 1970")
    to: str = Field(description="the envelope's address that this copy is for")
    sender: str = Field(description="of the envelope; empty for a bounce")
    relation: str = Field(description="empty, or to the message that it comes from: forward, bounce, double bounce")
    subject: str
    message_id: str
    maildir: str = Field(description="below the qmail home")
    uidl: str
    octets: int = Field(description="of the file")
    gone: str = Field(description="why the file cannot be shown any more; empty where what follows is its content")
    text: str = ""
    html: str = ""
    links: list[LinkSeen] = []
    codes: list[str] = Field(default=[], description="what looks like a one-time code, likeliest first")
    headers: list[HeaderField] = []
    attachments: list[AttachmentSeen] = []
    defects: list[str] = Field(default=[], description="what could not be read, in words")


class OneMessage(Answer):
    """A message, parsed."""

    message: MessageSeen


class Mailroom:
    """Reads messages on the host, one at a time, by one program that stays there. Its methods may block."""

    def __init__(self, live: Live) -> None:
        """Nothing is started before the first message is read."""
        self._live, self._maildirs, self._lock = live, Maildirs(live.host), threading.Lock()
        live.at_end(self._maildirs.close)

    def octets(self, found: Arrival) -> bytes:
        """The file as it lies there now.

        Raises:
            LookupError: it is gone, or cannot be handed over; says why.
            HostError: the host shows no files.
        """
        try:
            with self._lock:
                return self._maildirs.read(found.maildir, found.uidl)
        except LookupError as error:
            raise LookupError(self._taken(found) or str(error)) from error

    def own(self, path: str) -> bytes:
        """See ``Maildirs.own``.

        Raises:
            LookupError: it cannot be handed over; says why.
            HostError: the host shows no files.
        """
        with self._lock:
            return self._maildirs.own(path)

    def hashes(self, files: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """See ``Maildirs.hashes``.

        Raises:
            HostError: the host shows no files.
        """
        with self._lock:
            return self._maildirs.hashes(files)

    def page(self, maildir: str, first: int, most: int) -> tuple[int, list[Numbered]]:
        """How many messages a Maildir has, and those from a number on, as POP3 numbers them.

        Raises:
            LookupError: it cannot be listed; says why.
            HostError: the host shows no files.
        """
        with self._lock:
            return self._maildirs.page(maildir, first, most)

    def _taken(self, found: Arrival) -> str:
        """Who removed it over POP3, if that was seen."""
        for event in self._live.store.events_about(found.message):
            if event.kind is Kind.REMOVED and event.fields["uidl"] == found.uidl:
                return f"{event.fields['login']} removed it over POP3, session {event.fields['session']}"
        return ""

    def message(self, found: Arrival) -> MessageSeen:
        """The message parsed, or why it is gone.

        Raises:
            HostError: the host shows no files.
        """
        try:
            return shown(found, parse(self.octets(found)))
        except LookupError as error:
            return shown(found, Mail(b""), gone=str(error))


def shown(found: Arrival, mail: Mail, gone: str = "") -> MessageSeen:
    """The message as it is answered."""
    return MessageSeen(
        id=found.id,
        journey=found.began,
        at=found.at,
        to=found.to,
        sender=found.sender,
        relation=found.relation,
        subject=whole(mail.subject or found.subject),
        message_id=found.message_id,
        maildir=found.maildir,
        uidl=found.uidl,
        octets=found.size,
        gone=gone,
        text=whole(mail.text),
        html=whole(mail.html),
        links=[LinkSeen(href=whole(one.href), text=whole(one.text), part=one.part) for one in mail.links],
        codes=[whole(one) for one in mail.codes],
        headers=[HeaderField(name=whole(name), value=whole(value)) for name, value in mail.headers],
        attachments=[_attachment(found.id, number, one) for number, one in enumerate(mail.attachments, 1)],
        defects=[whole(one) for one in mail.defects],
    )


def _attachment(of: int, number: int, one: Attachment) -> AttachmentSeen:
    return AttachmentSeen(
        number=number,
        name=whole(one.name),
        content_type=whole(one.content_type),
        octets=one.octets,
        sha256=one.sha256,
        path=f"/v1/messages/{of}/attachments/{number}",
    )


def whole(text: str) -> str:
    """The text without halves of UTF-16 pairs, which some charsets can make and no JSON in UTF-8 can hold."""
    return text.encode("utf-8", "replace").decode()


def as_retr(octets: bytes, profile: str) -> bytes:
    """What RETR sends of a file behind its ``+OK`` line: CR LF line ends, dots doubled, and the end (RFC 1939 §3).

    Profile ``qmail`` is what qmail-pop3d does: CR stays, and an empty line comes before the end (Q-POP3-13).
    """
    qmail = profile == "qmail"
    wire = (octets if qmail else octets.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
    wire = wire.replace(b"\n.", b"\n..")
    wire = b"." + wire if wire.startswith(b".") else wire
    wire += b"" if not octets or octets.endswith(b"\n") else b"\r\n"
    return wire + (b"\r\n" if qmail else b"") + b".\r\n"


def messages(live: Live, mailroom: Mailroom) -> APIRouter:
    """The endpoints, over one host and its store. They run in threads."""
    router = APIRouter()
    world: dict[str, Any] = {"host": live.host.name, "mta": live.host.mta}

    def there(of: int, within: Space | None) -> Arrival:
        found = arrival(live.store, of, within)
        if found is None:
            raise ApiError(404, "there is no message of that id", "/v1/messages/wait and /v1/journeys name messages")
        return found

    def octets(of: int, within: Space | None) -> bytes:
        found = there(of, within)
        try:
            return mailroom.octets(found)
        except LookupError as error:
            raise ApiError(410, "the message's file cannot be shown any more", "", (str(error),)) from error

    @router.get("/v1/messages/{id}", operation_id="message")
    def message(within: Within, id: Id) -> OneMessage:
        """A message, parsed: text, HTML, links, one-time codes, header fields, attachments. Nothing is fetched."""
        found = there(id, within)
        seen = mailroom.message(found)
        if seen.gone:
            raise ApiError(410, "the message's file cannot be shown any more", "", (seen.gone,))
        return OneMessage(**world, message=seen)

    @router.get("/v1/messages/{id}/raw", operation_id="raw", response_class=Response, responses=DOWNLOAD)
    def raw(within: Within, id: Id) -> Response:
        """The octets of the file in the Maildir."""
        return download(octets(id, within), f"{id}.eml")

    @router.get("/v1/messages/{id}/pop3", operation_id="pop3", response_class=Response, responses=DOWNLOAD)
    def pop3(within: Within, id: Id, profile: Profile = "rfc1939") -> Response:
        """The octets as RETR sends them behind its `+OK` line, by the rules of RFC 1939: no session is held for it."""
        return download(as_retr(octets(id, within), profile), f"{id}.pop3")

    @router.get(
        "/v1/messages/{id}/attachments/{number}",
        operation_id="attachment",
        response_class=Response,
        responses=DOWNLOAD,
    )
    def attachment(within: Within, id: Id, number: Id) -> Response:
        """The octets of one attachment, counted from 1, whatever type the message says it has."""
        found = parse(octets(id, within)).attachments
        if number > len(found):
            raise ApiError(404, f"the message has {len(found)} attachments", f"/v1/messages/{id} lists them")
        return download(found[number - 1].content, found[number - 1].name)

    return router


def download(octets: bytes, name: str) -> Response:
    """An answer that no browser shows or runs, under the last part of a name that says nothing to a file system."""
    last = whole(name).replace("\\", "/").rpartition("/")[2].strip(". ")
    kept = "".join(char for char in last if char.isprintable())[:100] or "attachment"
    disposition = f"attachment; filename*=UTF-8''{quote(kept, safe='')}"
    return Response(octets, media_type=OCTETS, headers={"content-disposition": disposition})
