"""The greeting (RFC 1939 §4, §7)."""

from __future__ import annotations

import re

from popbox.conformance.box import Box
from popbox.conformance.check import Table
from popbox.conformance.refusals import stamp_of
from popbox.conformance.verdict import expect, need

TABLE = Table("greeting")
check = TABLE.check


@check("RFC 1939 §4", "The server speaks first, and what it says is +OK.", "greeting-not-ok")
def greeting_ok(box: Box) -> None:
    with box.connect() as session:
        expect(session.greeting.raw.startswith(b"+OK"), f"it said {session.greeting}")


@check("RFC 1939 §3", "The greeting ends in CR LF.", "greeting-bare-lf")
def greeting_crlf(box: Box) -> None:
    with box.connect() as session:
        expect(session.greeting.raw.endswith(b"\r\n"), f"it ends in {session.greeting.raw[-2:]!r}")


@check("RFC 1939 §4", "The greeting is one line.", "greeting-many-lines")
def greeting_one_line(box: Box) -> None:
    with box.connect() as session:
        more = session.wire.unread(0.15)
        expect(not more, f"after it came {more[:60]!r}")


@check("RFC 1939 §3", "The greeting is at most 512 octets long, CR LF included.", "greeting-over-512")
def greeting_length(box: Box) -> None:
    with box.connect() as session:
        expect(len(session.greeting.raw) <= 512, f"{len(session.greeting.raw)} octets")


@check("RFC 1939 §3", "After +OK of the greeting stands a space or the end.", "greeting-no-space")
def greeting_space(box: Box) -> None:
    with box.connect() as session:
        expect(re.match(rb"\+OK[ \r]", session.greeting.raw) is not None, f"it said {session.greeting}")


@check("RFC 2449 §9", "The greeting holds printable ASCII only.", "greeting-not-ascii")
def greeting_printable(box: Box) -> None:
    with box.connect() as session:
        line = session.greeting.raw.rstrip(b"\r\n")
        expect(re.fullmatch(rb"[\x20-\x7e]*", line) is not None, f"it said {session.greeting}")


@check("RFC 1939 §7 APOP", "A timestamp in the greeting is new for each connection.", "apop-timestamp-repeats")
def greeting_stamp_new(box: Box) -> None:
    with box.connect() as one, box.connect() as two:
        need(stamp_of(one.greeting) is not None, "the greeting has no timestamp: APOP is not offered")
        expect(stamp_of(one.greeting) != stamp_of(two.greeting), f"twice {one.greeting}")


@check("RFC 1939 §7 APOP", "A timestamp in the greeting has the form of a msg-id.", "apop-timestamp-form")
def greeting_stamp_form(box: Box) -> None:
    with box.connect() as session:
        need(b"<" in session.greeting.raw, "the greeting has no timestamp: APOP is not offered")
        stamp = stamp_of(session.greeting)
        expect(stamp is not None and re.fullmatch(rb"<[^<>@\s]+@[^<>@\s]+>", stamp) is not None, f"{session.greeting}")
