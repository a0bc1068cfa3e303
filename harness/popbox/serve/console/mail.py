"""One copy of a message as people look at it: text, HTML in a frame of its own, parts, links, source, POP3's octets."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from fastapi import APIRouter, Response
from markupsafe import escape

from popbox.errors import HostError
from popbox.journey.model import Event
from popbox.message.model import Attachment, Mail
from popbox.message.parse import parse
from popbox.printable import plain
from popbox.serve.console.render import Pages, missing
from popbox.serve.journeys import Id
from popbox.serve.live import Live
from popbox.serve.mail.arrivals import arrival, arrivals_of
from popbox.serve.mail.messages import Mailroom, as_retr, whole

T = TypeVar("T")

VIEWS = {"text": "Text", "html": "HTML", "parts": "Parts", "links": "Links", "source": "Source", "pop3": "POP3"}
SHOWN_OCTETS = 32 * 1024  # our choice: of a message on a page, as markup; whoever sends it must not make the page slow
ROW_OCTETS = 200  # of the markup around a link, a part or a field
IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
IMAGE_OCTETS = 5 << 20  # our choice: of all images in one frame
CID = re.compile(r"cid:([^\s\"'<>)]{1,200})", re.IGNORECASE)
# A frame without scripts, forms, links that leave it or requests; its images are the message's own.
FRAME = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'; sandbox"
# Names in links are not looked up before anyone follows one; a meta element cannot take that back.
HEADERS = {"content-security-policy": FRAME, "x-dns-prefetch-control": "off"}
# Chromium sometimes connects for a frame that the policy blocks; `link rel=preconnect` is under no policy. So these are
# shown as text: a tag's name follows `<` at once (HTML, 13.2.5.6).
REACHING = re.compile(r"<(?=i?frame|fencedframe|portal|object|embed|link)", re.IGNORECASE)


def mail_of(mailroom: Mailroom, events: Iterable[Event], copy: int | None, view: str) -> dict[str, Any]:
    """What the page of a journey shows of its message: of the copy of that id, else of the first."""
    found = arrivals_of(events)
    chosen = next((one for one in found if one.id == copy), found[0] if found else None)
    shown = view if view in VIEWS else "text"
    values: dict[str, Any] = {"copies": found, "copy": chosen, "views": VIEWS, "view": shown, "mail": None}
    if chosen is None:
        return {**values, "unread": "No file of this message was seen."}
    try:
        octets = mailroom.octets(chosen)
    except (LookupError, HostError) as error:
        return {**values, "unread": str(error)}
    return {**values, "unread": "", "mail": (mail := parse(octets)), **seen(mail, octets, shown)}


def seen(mail: Mail, octets: bytes, view: str) -> dict[str, Any]:
    """As much of a view as a page holds; ``cut`` says whether there is more."""
    if view in ("source", "pop3"):
        source = as_retr(octets, "rfc1939") if view == "pop3" else octets
        text = source[:SHOWN_OCTETS].decode("utf-8", "backslashreplace")
        lines = beginning(text).splitlines()
        return {"source": lines, "cut": len(source) > SHOWN_OCTETS or lines != text.splitlines()}
    if view == "text":
        return {"text": (text := beginning(mail.text)), "cut": len(text) < len(mail.text)}
    if view == "links":
        links = fitting(mail.links, lambda one: one.href + one.text[:200], SHOWN_OCTETS)
        return {"links": links, "cut": len(links) < len(mail.links)}
    parts = fitting(mail.attachments, lambda one: one.name + one.content_type, SHOWN_OCTETS // 2)
    fields = fitting(mail.headers, "".join, SHOWN_OCTETS // 2)
    return {"parts": parts, "fields": fields, "cut": len(parts + fields) < len(mail.attachments) + len(mail.headers)}


def beginning(text: str, most: int = SHOWN_OCTETS) -> str:
    """As much of a text as takes at most so many octets of markup."""
    shown = text[:most]
    while (size := _size(shown)) > most:
        shown = shown[: len(shown) * most // size]
    return shown


def fitting(rows: Sequence[T], text_of: Callable[[T], str], most: int) -> list[T]:
    """The first rows, as many as take at most so many octets of markup."""
    left, kept = most, list[T]()
    for row in rows:
        left -= ROW_OCTETS + _size(text_of(row)[:most])
        if left < 0:
            break
        kept.append(row)
    return kept


def _size(text: str) -> int:
    return len(escape(plain(text)).encode("utf-8", "replace"))


def frames(live: Live, mailroom: Mailroom, pages: Pages) -> APIRouter:
    """HTML mail by itself, for the frame on a journey's page."""
    router = APIRouter(include_in_schema=False)

    @router.get("/mail/{of}/html")
    def html(of: Id) -> Response:
        """The HTML of a message: what a stranger sent, so that it may run, load and reach nothing."""
        if (found := arrival(live.store, of, None)) is None:
            return missing(pages, "there is no message of that id")
        try:
            mail = parse(mailroom.octets(found))
        except LookupError as error:
            return missing(pages, str(error))
        return Response(with_images(mail), media_type="text/html; charset=utf-8", headers=HEADERS)

    return router


def with_images(mail: Mail) -> str:
    """The HTML without elements that reach out, and each ``cid:`` of an image that came with it is that image."""
    images = _images(mail.attachments)
    return CID.sub(lambda found: images.get(found[1], found[0]), REACHING.sub("&lt;", whole(mail.html)))


def _images(attachments: Iterable[Attachment]) -> Mapping[str, str]:
    left, held = IMAGE_OCTETS, {}
    for one in attachments:
        kind = one.content_type.lower()
        if one.content_id and kind in IMAGES and one.octets <= left:
            left -= one.octets
            held[one.content_id] = f"data:{kind};base64,{base64.b64encode(one.content).decode()}"
    return held
