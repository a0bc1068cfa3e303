# ruff: noqa: E501 - one case a line
"""Files in the dialects of mbox, with known answers: From_ lines, line ends, quoting."""

from __future__ import annotations

from tests.popbox.migrate.oldhost.mboxes.sources import BSD, C_CLIENT, INNER, JWZ, MUTT, OPEN, QMAIL, RFC, SOLARIS, A
from tests.popbox.migrate.oldhost.mboxes.writers import (
    ASCTIME,
    PLAIN,
    QUOTED,
    Case,
    O,
    bsd,
    crlf,
    every,
    mail,
    mbox,
    nothing,
)  # fmt: skip

DATES: list[tuple[str, str, bytes]] = [
    ("asctime", QMAIL, b"sue@sender.example " + ASCTIME),
    ("without seconds", C_CLIENT, b"sue Wed Dec  2 05:53 1992"),
    ("zone before the year", C_CLIENT, b"sue Wed Dec  2 05:53:22 PST 1992"),
    ("zone before the year, no seconds", C_CLIENT, b"sue Wed Dec  2 05:53 PST 1992"),
    ("number before the year", C_CLIENT, b"sue Wed Dec  2 05:53:22 -0700 1992"),
    ("zone behind the year", C_CLIENT, b"sue Wed Dec  2 05:53:22 1992 PST"),
    ("number behind the year", SOLARIS, b"sue Wed Dec  2 05:53:22 1992 -0700"),
    ("two words of zone", MUTT, b"sue Wed Dec  2 05:53:22 MET DST 1992"),
    ("remote from", "UUCP mail, rmail(8) of sendmail", b"sue Wed Dec  2 05:53:22 1992 remote from hugo"),
    ("RFC 822", "mailutils (guimb), rfc822_valid of VALID.c", b"sue Fri, 6 Mar 1996 10:00:00 +0100"),
    ("RFC 822, two digits", "c-client for the Amiga", b"sue Wed, 6 Dec 92 05:53:22 GMT"),
    ("RFC 822, comment", RFC, b"sue@sender.example Fri, 6 Mar 1998 10:00:00 -0800 (PST)"),
    ("ISO 8601", "exports of Google Takeout and Groups", b"1604@xxx 2001-09-10T01:46:40+00:00"),
    ("ISO 8601, blank", "archives of public-inbox", b"mboxrd@z 2001-09-10 01:46:40 +0000"),
    ("blanks in the sender", "mutt from.c (quoted return path)", b'"Sue Sender"@sender.example ' + ASCTIME),
    ("blanks without quotes", C_CLIENT, b"Sue Sender <sue@sender.example> " + ASCTIME),
    ("pipermail", "Mailman 2 pipermail archives, mutt from.c", b"sue at sender.example  " + ASCTIME),
    ("Eudora", "eudora2unix.sourceforge.net/details.html", b"???@??? Mon Sep 10 01:46:40 2001"),
    ("Mozilla", "Thunderbird, nsMsgLocalStoreUtils", b"- Mon Sep 10 01:46:40 2001"),
    ("no sender", "mutt from.c (is_day_name)", b"Mon Sep 10 01:46:40 2001"),
    ("more behind it", QMAIL, b"sue@sender.example Mon Sep 10 01:46:40 2001 moreinfo of any kind"),
    ("Gmail", "Google Takeout", b"1604@xxx Mon Sep 10 01:46:40 +0000 2001"),
]  # fmt: skip


def dates() -> list[Case]:
    """Each form of From_ line, in front of three messages."""
    return [Case(f"date: {name}", source, mbox(PLAIN, start=b"From " + line), PLAIN) for name, source, line in DATES]


def line_ends() -> list[Case]:
    """LF, CR LF and both."""
    text, kept = mbox(QUOTED), [crlf(one) for one in PLAIN]
    first_lf = b"".join(A + crlf(one + b"\n") for one in PLAIN)
    first_crlf = crlf(mbox(PLAIN[:1])) + mbox(PLAIN[1:])
    return [
        Case("CR LF everywhere", "Eudora for Windows (Roger Hill, converting to Eudora)", crlf(text), QUOTED, "mboxrd"),
        Case("From_ lines LF, mail CR LF", "Dovecot mbox, mail appended with CR LF", first_lf, kept, note="stays"),
        Case("first message CR LF, then LF", "Thunderbird folder appended to on Unix", first_crlf, PLAIN, note="taken"),
        Case("first message LF, then CR LF", "mbox with a Windows file appended", mbox(PLAIN[:1]) + crlf(mbox(PLAIN[1:])),
             [PLAIN[0], *kept[1:]], note="stays"),
        Case("CR alone", "Eudora for Mac OS 9", text.replace(b"\n", b"\r"), refused="CR alone"),
        Case("a bare CR in a line", QMAIL, mbox([mail(1, b"a\rb")]), [mail(1, b"a\rb")]),
    ]  # fmt: skip


def quotings() -> list[Case]:
    """What stands before From_ lines in bodies."""
    sent_o = [mail(1, b"one", b"From here on"), mail(2, b"", b"From me", b"two")]
    lossy = [QUOTED[0], mail(2, b"From me", b"two"), mail(3, b">From all", b"", b"From us")]
    unquoted = [mail(1, b"one", b"From here on we go", b"end"), mail(2, b"two", b"", b"From now on")]
    return [
        Case("mboxrd", QMAIL, mbox(QUOTED), QUOTED, "mboxrd", note="lose one >"),
        Case("mboxo", BSD, mbox(sent_o, quote=O), sent_o, "mboxo or mboxrd", note="lose their >"),
        Case("mboxo that wrote more than one >", "Rahul Dhesi's rule in qmail mbox(5): mboxo is not reversible",
             mbox(QUOTED, quote=O), lossy, "mboxrd", note="in mboxo those"),
        Case("nothing quoted", OPEN, mbox(PLAIN), PLAIN, OPEN),
        Case("BSD quotes behind an empty line only", BSD, mbox(sent_o, quote=bsd), sent_o, "mboxo"),
        Case("undated lines are not quoted", "Thunderbird, Postbox (MimeKit issue 150)", mbox(unquoted, quote=nothing),
             unquoted, "mboxo"),
        Case("c-client quotes what it takes for a From_ line", C_CLIENT, mbox([*unquoted, mail(3, A.rstrip())],
             quote=every(rb"From sue")), [*unquoted, mail(3, A.rstrip())], "mboxo"),
        Case("UUCP's own lines stay", "UUCP mail, rmail(8) of sendmail",
             A + b">From hugo!sue Wed Dec  2 05:53:22 1992 remote from bert\n" + mail(1, b"x") + b"\n",
             [b">From hugo!sue Wed Dec  2 05:53:22 1992 remote from bert\n" + mail(1, b"x")]),
        Case("a dated From_ line in a body, no empty line before", BSD, mbox([mail(1, b"see:", A.rstrip(), b"x")],
             quote=nothing), [mail(1, b"see:", A.rstrip(), b"x")], doubts=(6,)),
        Case("a dated From_ line in a body, behind an empty line", JWZ, mbox([mail(1, b"see:", b"", A.rstrip(), b"x")],
             quote=nothing), [mail(1, b"see:"), b"x\n"], doubts=(7,)),
        Case("a whole message in a body, no empty line before", JWZ, mbox([mail(1, b"see:") + INNER, mail(2, b"y")],
             quote=nothing), [mail(1, b"see:") + INNER, mail(2, b"y")], doubts=(6,)),
        Case("a From_ line without a date, with a header", JWZ, mbox([mail(1, b"", b"From joe", b"Subject: x")],
             quote=nothing), [mail(1, b"", b"From joe", b"Subject: x")], doubts=(6,)),
        Case("a date in no known form", JWZ, A + mail(1, b"x") + b"\nFrom joe at 12:30, 5th of May 1998\n" + mail(2, b"y"),
             [mail(1, b"x"), mail(2, b"y")], doubts=(7,)),
    ]  # fmt: skip
