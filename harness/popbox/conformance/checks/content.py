"""Octet exactness: what lies in the file is what comes over the wire (RFC 1939 §3, §5, §7)."""

from __future__ import annotations

from popbox.conformance.box import Box
from popbox.conformance.check import Need, Run, Table
from popbox.conformance.corpus import BY_NAME, CORPUS, canonical, doubled
from popbox.conformance.verdict import Broken, expect, insist, need
from popbox.message.hard import Mail

TABLE = Table("content")
check = TABLE.check

EMPTY_LINE = b"\r\n"
DEVIATIONS = {
    "crlf-file": "crlf-doubled",
    "mixed-ends": "crlf-doubled",
    "dot-crlf": "crlf-doubled",
    "split-at-4096": "crlf-doubled",
    "split-at-65536": "crlf-doubled",
    "header-only": "header-end-added",
    "unended": "header-end-added",
    "empty": "empty-message-changed",
    "only-dots": "first-dot-not-doubled",
    "dot-first": "first-dot-not-doubled",
    "no-header": "headerless-changed",
}
"""How servers are known to depart from a message; the others have a name of their own each."""


def trailer(box: Box) -> bytes:
    """What the server adds behind each message: nothing, or one empty line (measured on the plain message)."""
    body, wanted = box.body(box.number("plain")), canonical(BY_NAME["plain"].octets)
    if body == wanted + EMPTY_LINE:
        return EMPTY_LINE
    return b""


def _exact(mail: Mail) -> Run:
    def run(box: Box) -> None:
        got = box.body(box.number(mail.name))
        added = trailer(box)
        wanted = canonical(mail.octets) + added
        if got == wanted:
            return
        seen = _difference(got, wanted)
        if DEVIATIONS.get(mail.name) == "crlf-doubled" and got != doubled(mail.octets) + added:
            raise Broken(seen)
        expect(False, seen)

    return run


def _difference(got: bytes, wanted: bytes) -> str:
    """Where two messages part, with the octets around it."""
    at = next((i for i, (a, b) in enumerate(zip(got, wanted, strict=False)) if a != b), min(len(got), len(wanted)))
    near = slice(max(at - 8, 0), at + 12)
    return f"at octet {at} came {got[near]!r}, the file gives {wanted[near]!r} ({len(got)} octets, {len(wanted)} due)"


for _mail in CORPUS[:-2]:
    TABLE.add(
        f"exact-{_mail.name}",
        "RFC 1939 §3, §5 RETR",
        f"RETR gives exactly the file: {_mail.hard}.",
        DEVIATIONS.get(_mail.name, f"changed-{_mail.name}"),
        _exact(_mail),
        Need.CORPUS,
    )


@check("RFC 1939 §5 RETR", "Nothing is added behind a message.", "empty-line-added", Need.CORPUS)
def nothing_added(box: Box) -> None:
    body, wanted = box.body(box.number("plain")), canonical(BY_NAME["plain"].octets)
    if body != wanted:
        insist(body == wanted + EMPTY_LINE, _difference(body, wanted))
        expect(False, "one empty line more than the file has, before the dot")


@check("RFC 1939 §3", "Each line that begins with a dot is sent with one dot more.", "dot-not-doubled", Need.CORPUS)
def dots_doubled(box: Box) -> None:
    reply = box.session().multi(b"RETR %d" % box.number("dot-lines"))
    got = [line.rstrip(b"\r\n") for line in reply.lines if line.startswith(b".")]
    expect(got == [b"..", b"...", b"..x", b"....", b".."], f"the dot lines came as {got}")


@check("RFC 1939 §3", "A dot that is the first octet of a message is doubled.", "first-dot-not-doubled", Need.CORPUS)
def first_dot_doubled(box: Box) -> None:
    reply = box.session().multi(b"RETR %d" % box.number("dot-first"))
    expect(reply.lines[:1] != () and reply.lines[0].startswith(b"..token"), f"the first line came as {reply.lines[:1]}")


@check("RFC 1939 §3", "TOP doubles dots as RETR does.", "top-dot-not-doubled", Need.CORPUS)
def top_dots_doubled(box: Box) -> None:
    reply = box.session().multi(b"TOP %d 3" % box.number("dot-lines"))
    need(reply.ok, f"TOP is refused: {reply}")
    got = [line.rstrip(b"\r\n") for line in reply.lines if line.startswith(b".")]
    expect(got == [b"..", b"...", b"..x"], f"the dot lines came as {got}")


def _top(box: Box, name: str, count: int) -> bytes:
    reply = box.session().multi(b"TOP %d %d" % (box.number(name), count))
    need(reply.ok, f"TOP is refused: {reply}")
    return reply.body


def _begins(box: Box, name: str, count: int, wanted: bytes) -> None:
    got = _top(box, name, count)
    added = trailer(box)
    expect(got in (wanted, wanted + added), f"TOP {count} of '{name}' gave {got[-40:]!r} ({len(got)} octets)")


@check("RFC 1939 §7 TOP", "TOP 1 of a body of empty lines gives one of them.", "top-empty-lines", Need.CORPUS)
def top_blank(box: Box) -> None:
    head = canonical(BY_NAME["only-blank"].octets).partition(b"\r\n\r\n")[0]
    _begins(box, "only-blank", 1, head + b"\r\n\r\n\r\n")


@check("RFC 1939 §7 TOP", "TOP 0 of a message without a body gives its header.", "top-of-header-only", Need.CORPUS)
def top_header_only(box: Box) -> None:
    _begins(box, "header-and-end", 0, canonical(BY_NAME["header-and-end"].octets))


@check("RFC 1939 §7 TOP", "TOP 0 finds the end of a header whose lines are stored with CR LF.", "top-crlf", Need.CORPUS)
def top_crlf(box: Box) -> None:
    got = _top(box, "crlf-file", 0)
    expect(b"one" not in got and b"token-crlf-file" in got, f"it gave {got[-60:]!r}")


@check("RFC 1939 §7 TOP", "TOP 0 of a 1 MB message gives the header alone.", "top-of-big", Need.CORPUS)
def top_big(box: Box) -> None:
    head = canonical(BY_NAME["big"].octets).partition(b"\r\n\r\n")[0]
    _begins(box, "big", 0, head + b"\r\n\r\n")


@check("RFC 1939 §7 TOP", "TOP 1 gives a line of 100,000 octets whole.", "top-long-line", Need.CORPUS)
def top_long_line(box: Box) -> None:
    whole = canonical(BY_NAME["long-line"].octets)
    _begins(box, "long-line", 1, whole.removesuffix(b"end\r\n"))


@check(
    "RFC 1939 §7 TOP",
    "TOP 0 of a message that begins with an empty line gives that line.",
    "top-no-header",
    Need.CORPUS,
)
def top_no_header(box: Box) -> None:
    _begins(box, "no-header", 0, b"\r\n")


@check("RFC 1939 §5", "Every file of the Maildir is a message, the empty one too.", "message-hidden", Need.CORPUS)
def all_there(box: Box) -> None:
    scanned = len(box.scan())
    expect(scanned >= len(CORPUS), f"{len(CORPUS)} files were placed, LIST has {scanned} messages")
    for mail in CORPUS:
        box.number(mail.name)
