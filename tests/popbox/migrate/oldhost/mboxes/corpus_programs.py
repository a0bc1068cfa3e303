# ruff: noqa: E501 - one case a line
"""Files in the dialects of mbox, with known answers: what programs write, what is damaged, what is no mbox."""

from __future__ import annotations

import bz2
import gzip
import lzma

from tests.popbox.migrate.oldhost.mboxes.sources import GIT, INNER, JWZ, NOTES, OPEN, PATCH, QMAIL, A
from tests.popbox.migrate.oldhost.mboxes.writers import ASCTIME, PLAIN, Case, crlf, mail, mbox, nothing

TRACE = b"Return-Path: <sue@sender.example>\n"


def programs() -> list[Case]:
    """Mail that programs added something to."""
    qmail = [b"%sDelivered-To: joe@old.example\n%s" % (TRACE, one) for one in PLAIN]
    postfix = [b"%sX-Original-To: joe@old.example\nDelivered-To: joe@old.example\n%s" % (TRACE, one) for one in PLAIN]
    exim = [b"Return-path: <sue@sender.example>\nEnvelope-to: joe@old.example\n" + one for one in PLAIN]
    read = [b"Status: RO\nX-Status: A\nX-Keywords:\nX-UID: 7\n" + one for one in PLAIN]
    mozilla = [b"X-Mozilla-Status: 0009\nX-Mozilla-Status2: 00000000\n" + one for one in PLAIN]
    base = [b"X-IMAPbase: 1000000000 3\nStatus: O\n" + PLAIN[0], *PLAIN[1:]]
    forged = [TRACE + NOTES.partition(b"\n")[2][:-1], *PLAIN]
    gnus = [b"X-From-Line: sue Mon Sep 10 01:46:40 2001\nX-Gnus-Mail-Source: file\nLines: 1\n" + one for one in PLAIN]
    patches = [PATCH[len(GIT) :], PATCH[len(GIT) :].replace(b"[PATCH] x", b"[PATCH] y")]
    quoting = [mail(1, b"the patch:", b"", *PATCH.splitlines()), PLAIN[1]]
    tight = [PLAIN[0], mail(2, b"two")]
    return [
        Case("qmail-local", "qmail-local(8), Q-MBOX-2", mbox(qmail), qmail, OPEN),
        Case("Postfix", "Postfix local(8)", mbox(postfix), postfix, OPEN),
        Case("Exim", "Exim appendfile transport", mbox(exim), exim, OPEN),
        Case("Dovecot", "Dovecot MailboxFormat.mbox.txt", mbox(base), base, OPEN),
        Case("mailx", "mailx of POSIX, heirloom", mbox(read), read, OPEN),
        Case("Thunderbird, deleted and not compacted", "nsMsgMessageFlags.h, eyrich-net.org X-Mozilla-Status",
             mbox(mozilla, start=b"From - " + ASCTIME), mozilla, OPEN),
        Case("Gnus nnfolder", "Gnus manual, Mail Folders", mbox(gnus), gnus, OPEN),
        Case("UW-IMAP's own message", "UW-IMAP pseudo.c", NOTES + mbox(PLAIN), PLAIN, OPEN, note="own notes"),
        Case("UW-IMAP's own message alone", "UW-IMAP pseudo.c", NOTES, [], note="own notes"),
        Case("a message by SMTP that looks like it", "UW-IMAP pseudo.c", mbox(forged), forged, OPEN),
        Case("a file of git's patches", "git-format-patch(1) --stdout", mbox(patches, start=GIT[:-1]), patches, OPEN),
        Case("a patch of git in a message", "git-format-patch(1)", mbox(quoting, quote=nothing), quoting, doubts=(7,)),
        Case("no empty line between messages", "Python mailbox docs, ePADD issue 404", mbox(tight, between=b""), tight,
             f"{OPEN}, no empty line between messages"),
        Case("no empty line between most", JWZ, mbox(tight, between=b"") + INNER, [*tight, INNER[len(A):]],
             f"{OPEN}, no empty line between messages"),
        Case("an empty line between some", JWZ, mbox([*tight, *tight], between=b"") + b"\n" + INNER,
             [*tight, *tight, INNER[len(A):]], f"{OPEN}, no empty line between messages", doubts=(0,)),
    ]  # fmt: skip


def damaged() -> list[Case]:
    """What crashes and odd octets leave."""
    latin, nul = [mail(1, bytes(range(0xA0, 0x100)), b"\xff\xfe")], [mail(1, b"a\0b"), PLAIN[1]]
    long_line = [mail(1, b"x" * 200_000), PLAIN[1]]
    long_sender = b"From " + b"a" * 1_002 + b" " + ASCTIME
    hole = mail(1, b"one") + b"\0" * 5_000
    return [
        Case("empty", QMAIL, b"", [], "empty"),
        Case("only empty lines", QMAIL, b"\n\n\r\n", [], "empty"),
        Case("only From_ lines, each with its empty line", JWZ, (A + b"\n") * 3, [b"", b"", b"\n"], OPEN),
        Case("an empty line first", JWZ, b"\n" + mbox(PLAIN), PLAIN, OPEN),
        Case("8-bit", RFC_EIGHT, mbox(latin), latin, OPEN),
        Case("NUL in a line", QMAIL, mbox(nul), nul, OPEN, note="NUL"),
        Case("a hole of NULs before a From_ line", "Dovecot mbox, after a crash", A + hole + mbox(PLAIN),
             [hole, *PLAIN], OPEN, doubts=(6,), note="NUL"),
        Case("NULs first", "Dovecot mbox, after a crash", b"\0" * 700 + mbox(PLAIN), PLAIN, OPEN, doubts=(1, 1)),
        Case("a very long line", QMAIL, mbox(long_line), long_line, OPEN),
        Case("the longest sender", "Q-QUEUE-3", mbox(PLAIN[:1]) + mbox(PLAIN[1:], start=long_sender), PLAIN, OPEN),
        Case("no newline at the end", "Q-MBOX-3", mbox(PLAIN)[:-3], [*PLAIN[:2], mail(3, b"three")[:-1]], OPEN, note="cut off"),
        Case("cut off in a header", "Q-MBOX-4", mbox(PLAIN[:1]) + A + b"From: Sue <sue", [PLAIN[0], b"From: Sue <sue"], OPEN,
             note="cut off"),
        Case("cut off in a From_ line", "Q-MBOX-4", mbox(PLAIN) + b"From sue@sen", [*PLAIN[:2], PLAIN[2] + b"\nFrom sue@sen"],
             note="cut off"),
        Case("no header", JWZ, A + b"text alone\n\n", [b"text alone\n"], OPEN, doubts=(1,)),
        Case("a header alone", QMAIL, A + b"Subject: x\n\n", [b"Subject: x\n"], OPEN),
    ]  # fmt: skip


RFC_EIGHT = "RFC 4155, eight-bit data"


def refused() -> list[Case]:
    """What is no mbox, and is said to be what it is."""
    text, mh = mbox(PLAIN), PLAIN[0]
    mmdf = b"".join(b"\1\1\1\1\n" + one + b"\1\1\1\1\n" for one in PLAIN)
    babyl = b"BABYL OPTIONS: -*- rmail -*-\nVersion: 5\n\x1f\x0c\n0,,\n*** EOOH ***\n" + mh + b"\x1f"
    return [
        Case("gzip", "Mailman 2 pipermail, gzip'd text", gzip.compress(text, mtime=0), refused="gzip"),
        Case("bzip2", "procmail archives", bz2.compress(text), refused="bzip2"),
        Case("xz", "Fedora list archives", lzma.compress(text), refused="xz"),
        Case("MMDF", "mmdf(5), SCO cnvtmbox(ADM)", mmdf, refused="MMDF"),
        Case("MMDF of mutt", "mutt mbox.c, Exim wiki Q0604", mmdf.replace(b"\1\1\1\1\nFrom:", b"\1\1\1\1\n" + A + b"From:"),
             refused="MMDF"),
        Case("Babyl", "Emacs etc/BABYL", babyl, refused="Babyl"),
        Case("mbx", "UW-IMAP mbx.c", b"*mbx*\r\n3bb1c2a500000003\r\n" + b"\r\n" * 1_010, refused="mbx"),
        Case("one message of MH", "nmh mh-mail(5)", mh, refused="a single message"),
        Case("no date", JWZ, b"From nobody\n" + mh, refused="that has a date"),
        Case("text", QMAIL, b"hello\nworld\n", refused="does not begin"),
        Case("a byte order mark", "Windows editors", b"\xef\xbb\xbf" + text, refused="byte order mark"),
        Case("text before the first From_ line", JWZ, b"Folder of Sue\n\n" + text, refused="does not begin"),
        Case("CR LF and gzip", "Mailman 2 pipermail, gzip'd text", gzip.compress(crlf(text), mtime=0), refused="gzip"),
    ]  # fmt: skip
