# ruff: noqa: E501 - one case a line
"""Files in the dialects of mbox, with known answers: Content-Length."""

from __future__ import annotations

from tests.popbox.migrate.oldhost.mboxes.sources import INNER, JWZ, MUTT, OPEN, PATCH, SOLARIS, SVR4, A
from tests.popbox.migrate.oldhost.mboxes.writers import (
    PLAIN,
    QUOTED,
    Case,
    O,
    crlf,
    mail,
    mbox,
    nothing,
    plain,
    stored,
    with_length,
)  # fmt: skip


def lengths() -> list[Case]:
    """Content-Length: right, wrong, and counted in other ways."""
    inner = [mail(1, b"see", b"", *INNER.splitlines()), mail(2, b"two"), mail(3, b"", *A.splitlines(), b"x")]
    lying = [mail(1, b"one", header=b"Content-Length: 12345\n"), *PLAIN[1:]]
    short = [mail(1, b"one, two and three", header=b"Content-Length: 5\n"), *PLAIN[1:]]
    to_third = len(b"one\n") + 1 + len(A) + len(PLAIN[1])
    crafted = [mail(1, b"one", header=b"Content-Length: %d\n" % to_third), *PLAIN[1:]]
    blanks = [mail(1, b"one", b"", b""), mail(2, b"two", b"")]
    differing = [mail(1, b"x", header=b"Content-Length: 2\nContent-Length: 9\n"), mail(2, b"y")]
    one_wrong = with_length(inner, stored)
    one_wrong[1] = one_wrong[1].replace(b"Content-Length: 4", b"Content-Length: 1")
    return [
        Case("mboxcl", SVR4, mbox(QUOTED[:1], quote=O, length=stored), with_length(QUOTED[:1], stored, O), "mboxcl"),
        Case("mboxcl, no line tells", SVR4, mbox(PLAIN, length=stored), with_length(PLAIN, stored), "mboxcl or mboxcl2"),
        Case("mboxcl2", SOLARIS, mbox(inner, quote=nothing, length=stored), with_length(inner, stored), "mboxcl2"),
        Case("mboxcl2 with >From of the sender", SOLARIS, mbox(QUOTED, quote=nothing, length=stored),
             with_length(QUOTED, stored), "mboxcl2", note="stay"),
        Case("mboxcl2, no empty line between", "SCO and SVR4 mail", mbox(inner, quote=nothing, length=stored, between=b""),
             with_length(inner, stored), "mboxcl2"),
        Case("mboxcl2 with CR LF", "Solaris spool moved by FTP", mbox_crlf(inner), with_length(inner, as_crlf), "mboxcl2"),
        Case("mboxcl2, then CR LF", "Solaris spool moved by FTP in text mode",
             crlf(mbox(inner, quote=nothing, length=stored)), with_length(inner, stored), "mboxcl2"),
        Case("counted before quoting", "procmail(1), formail(1) on mismatched Content-Length",
             mbox(QUOTED[:1], quote=O, length=plain), with_length(QUOTED[:1], plain, O), "mboxcl"),
        Case("empty lines at the end are counted", MUTT, mbox(blanks, length=stored), with_length(blanks, stored)),
        Case("wrong, beyond the end", JWZ, mbox(lying), lying, OPEN, doubts=(1,)),
        Case("wrong, too short", JWZ, mbox(short), short, OPEN, doubts=(1,)),
        Case("wrong, to another From_ line", JWZ, mbox(crafted), crafted, OPEN, doubts=(1,)),
        Case("two that differ", JWZ, mbox(differing), differing, OPEN, doubts=(1,)),
        Case("one wrong among right ones", SOLARIS, mbox_of(one_wrong), one_wrong, "mboxcl2", doubts=(14,)),
        Case("a message with a length within one", JWZ, mbox_of(nested()), [*nested_parts()], doubts=(1,)),
        Case("cut off", "Dovecot mbox, a broken Content-Length", mbox(PLAIN, length=stored)[:-5],
             [*with_length(PLAIN, stored)[:2], with_length(PLAIN, stored)[2][:-4]], doubts=(18,)),
        Case("a patch of git within a length", "git-format-patch(1)",
             mbox([mail(1, b"the patch:", b"", *PATCH.splitlines(), b"")], quote=nothing, length=stored) + mbox(PLAIN[1:]),
             [*with_length([mail(1, b"the patch:", b"", *PATCH.splitlines(), b"")], stored), *PLAIN[1:]], "mboxcl2"),
    ]  # fmt: skip


def as_crlf(body: bytes, _stored: bytes) -> int:
    """Octets with CR LF."""
    return len(crlf(body))


def mbox_crlf(messages: list[bytes]) -> bytes:
    """mboxcl2 written with CR LF, and counted so."""
    return crlf(mbox(messages, quote=nothing, length=as_crlf))


def mbox_of(messages: list[bytes]) -> bytes:
    """Messages that have their fields already."""
    return mbox(messages, quote=nothing)


def nested_parts() -> list[bytes]:
    """What From_ lines make of `nested`."""
    return [
        b"%sContent-Length: %d\n\nsee\n" % (mail(1)[:-1], len(b"see\n\n") + len(A) + len(_inner())),
        _inner(),
        *PLAIN[1:],
    ]


def _inner() -> bytes:
    return with_length([mail(9, b"inner")], stored)[0]


def nested() -> list[bytes]:
    """A length that fits covers a message with a length that fits: either can be meant."""
    first, inner, *rest = nested_parts()
    return [first + b"\n" + A + inner, *rest]
