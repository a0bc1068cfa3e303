"""Hard messages as senders write them: headers, MIME and line ends that trip readers, servers and consoles."""

from __future__ import annotations

import base64

from popbox.message.hard import BODIES, HEAD, Mail

FROM = b"From: popbox <check@popbox.invalid>\n"
PNG = (
    b"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="  # one red pixel
)
HOPS = 101  # one more than qmail-smtpd(8) takes


def _letter(name: str, head: str | bytes, body: str | bytes, hard: str) -> Mail:
    """With header fields of its own beside those of every message here."""
    more = head.encode() if isinstance(head, str) else head
    text = body.encode() if isinstance(body, str) else body
    subject = b"" if b"Subject" in more else b"Subject: " + name.encode() + b"\n"
    return Mail(name, FROM + subject + b"X-Popbox-Check: token-" + name.encode() + b"\n" + more + b"\n" + text, hard)


def _exact(name: str, body: bytes, hard: str) -> Mail:
    head = (HEAD % (name.encode(), b"token-" + name.encode()) + b"\n").replace(b"\n", b"\r\n")
    return Mail(name, head + body, hard, exact=True)


def _mime(name: str, kind: str, body: str | bytes, hard: str) -> Mail:
    return _letter(name, f"MIME-Version: 1.0\nContent-Type: {kind}\n", body, hard)


def _file(disposition: str, kind: str = "text/plain") -> str:
    return f"--b\nContent-Type: {kind}\nContent-Disposition: attachment{disposition}\n\nx\n"


def _nested(depth: int) -> str:
    begin = "".join(f"--n{n}\nContent-Type: multipart/mixed; boundary=n{n + 1}\n\n" for n in range(depth))
    end = "".join(f"--n{n}--\n" for n in range(depth, -1, -1))
    return f"{begin}--n{depth}\n\ndeep down\n{end}"


def _within(depth: int) -> str:
    """A message in a message, and so on."""
    forwarded = "Subject: the innermost\n\nhere\n"
    for _ in range(depth):
        forwarded = f"Subject: outer\nContent-Type: message/rfc822\n\n{forwarded}"
    return forwarded


NAMES = (
    '; filename="../../etc/passwd"', '; filename="C:\\\\Windows\\\\evil.exe"', '; filename="CON"', '; filename=""', "",
    "; filename*=utf-8''%E2%80%AEfdp.exe", "; filename*0*=utf-8''gr%C3%BC; filename*1=%C3%9Fe.txt",
    '; filename="=?utf-8?q?gr=C3=BC=C3=9Fe=2Etxt?="', "; filename*=utf-8''a%0d%0aX-Evil:%20x.txt", "; filename*=x'y",
    "; filename=a b c.txt", f'; filename="{"n" * 300}.txt"', '; filename="<script>alert(1)</script>.html"',
    "; filename*=utf-8''a%00.txt", '; filename=".htaccess"', '; filename="a.txt"; filename="b.txt"',
)  # fmt: skip
HOSTILE = """<script>alert(1)</script><img src=x onerror=alert(1)><img src="https://popbox.invalid/pixel.gif">
<base href="https://popbox.invalid/"><meta http-equiv=refresh content="0;url=https://popbox.invalid/">
<form action="https://popbox.invalid/"><input name=password><button>Log in</button></form>
<iframe src="javascript:alert(1)"></iframe><style>*{display:none}@import url(https://popbox.invalid/x.css)</style>
<a href="javascript:alert(1)">x</a>
"""
INVITATION = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//popbox//check//EN
METHOD:REQUEST
BEGIN:VEVENT
UID:hard-calendar@popbox.invalid
DTSTAMP:20260101T000000Z
DTSTART:20260102T090000Z
DTEND:20260102T100000Z
ORGANIZER:mailto:check@popbox.invalid
ATTENDEE;RSVP=TRUE:mailto:joe@popbox.invalid
SUMMARY:Grüße\\, and a folded
  line
END:VEVENT
END:VCALENDAR
"""
RELATED = f"""--a
Content-Type: text/plain

text
--a
Content-Type: multipart/related; boundary=r

--r
Content-Type: text/html

<p>with <img src="cid:p@x"></p>
--r
Content-Type: image/png
Content-ID: <p@x>
Content-Transfer-Encoding: base64

{PNG.decode()}
--r--
--a--
"""
BOUNCE = """--b

It did not go.
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; popbox.invalid

Final-Recipient: rfc822; joe@popbox.invalid
Action: failed
Status: 5.1.1
--b
Content-Type: text/rfc822-headers

Subject: what was sent
--b--
"""

WORDS = """Subject: =?utf-8?b?R3LDvMOf?= =?iso-8859-1?q?e_=E4?= =?utf-8?q?=F0=9F?=
 =?utf-8?q?=98=80?= =?nonesuch?q?x?= =?utf-8?b?%%%?= =?utf-8?q?unended
"""
ALIKE = "--b\n\n--bb\n--b-\n --b\n--b \n\ntwo\n--b--x\n--b--\n--b\nafter\n"
SIGNED = (
    "--b\n\nFrom me, \nsigned with its spaces \n--b\nContent-Type: application/pgp-signature\n\nunreadable\n--b--\n"
)
BIG = (
    b"--b\nContent-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n"
    b"Content-Disposition: attachment; filename=big\n\n" + base64.encodebytes(bytes(600_000)) + b"--b--\n"
)

LETTERS: tuple[Mail, ...] = (
    _letter(
        "rtl-subject",
        "Subject: invoice \u202efdp.exe\u202c \u05e9\u05dc\u05d5\u05dd\n",
        "x\n",
        "a subject that turns its direction",
    ),
    _letter(
        "bidi-sender",
        "From: \u2067moc.elpmaxe@ssob\u2069 <x@popbox.invalid>\n",
        "x\n",
        "two From fields, one turned around",
    ),
    _letter(
        "invisible-subject", "Subject: a\u200bb\u2060c\ufeffd\u00ade \U000e0041\n", "x\n", "characters without a width"
    ),
    _letter(
        "encoded-words",
        WORDS,
        "x\n",
        "encoded words: three charsets, one unknown, a character in two halves, one that does not end",
    ),
    _letter(
        "header-8-bit",
        b"Subject: Gr\xfc\xdfe \xf0\x9f\x98\x80 \xff\n",
        "x\n",
        "octets above 127 in a header, of two charsets",
    ),
    _letter("header-998", "Subject: " + "s" * 989 + "\n", "x\n", "a header line of 998 octets"),
    _letter(
        "header-folded",
        "Subject: one" + "\n\ttwo" * 500 + "\n \n end\n",
        "x\n",
        "a field of 503 lines, one of them blank",
    ),
    _letter(
        "header-huge",
        "".join(f"X-Field-{n}: {'h' * 900}\n" for n in range(200)),
        "x\n",
        "200 fields of 900 octets each",
    ),
    _letter("header-nul", b"Subject: a\0b\n", "x\n", "NUL in a header"),
    _letter(
        "header-controls", b"Subject: a\x1b[31mb\x07c\x7fd\x85e\n", "x\n", "what moves a terminal's cursor, in a header"
    ),
    _letter(
        "header-spaced", "Subject : before the colon\nNo colon in this line\n: no name\n", "x\n", "fields that are none"
    ),
    _letter(
        "header-twice",
        "Subject: first\nSubject: second\nTo: a@x.invalid\nTo: b@x.invalid\n",
        "x\n",
        "fields that may be there once, twice",
    ),
    _letter("date-odd", "Date: 31 Feb 99999 25:61:61 -9999\n", "x\n", "a date that is none"),
    _letter("message-id-odd", "Message-ID: no brackets and spaces\n", "x\n", "a Message-ID that is none"),
    _letter(
        "hops", "Received: from a by b\n" * HOPS, "x\n", f"{HOPS} Received fields: a loop, which the MTA is to refuse"
    ),
    _letter("no-subject", "Subject:\n", "x\n", "an empty subject"),
    _mime("nested-50", "multipart/mixed; boundary=n0", _nested(50), "50 multiparts in each other"),
    _mime("message-in-message", "message/rfc822", _within(20), "20 messages in each other"),
    _mime("related", "multipart/alternative; boundary=a", RELATED, "HTML with an image of its own, beside text"),
    _mime("html-hostile", "text/html; charset=utf-8", HOSTILE, "HTML that runs, loads, asks and leads away"),
    _mime("html-unended", "text/html", "<p><b>bold <a href='x", "HTML that does not end"),
    _mime("boundary-unended", "multipart/mixed; boundary=b", "--b\n\none\n--b\n\ntwo", "parts without an end"),
    _mime("boundary-none", "multipart/mixed", "--b\n\none\n--b--\n", "a multipart that names no boundary"),
    _mime("boundary-absent", "multipart/mixed; boundary=b", "no part at all\n", "a boundary that is nowhere"),
    _mime(
        "boundary-alike",
        "multipart/mixed; boundary=b",
        ALIKE,
        "lines that look like boundaries, and text after the end",
    ),
    _mime(
        "boundary-odd",
        'multipart/mixed; boundary="a b:c?=(d)/\'+_,-."',
        "--a b:c?=(d)/'+_,-.\n\none\n--a b:c?=(d)/'+_,-.--\n",
        "a boundary of all characters that it may have",
    ),
    _letter(
        "base64-broken",
        "MIME-Version: 1.0\nContent-Transfer-Encoding: base64\n",
        "R3I*dG\nH===\n!\nQQ\n",
        "base64 that cannot be read to its end",
    ),
    _letter(
        "quoted-broken",
        "MIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\n",
        "=ZZ =C3=\n=BC = \nend=",
        "quoted-printable that is not",
    ),
    _letter(
        "encoding-unknown",
        "MIME-Version: 1.0\nContent-Transfer-Encoding: x-uuencode\n",
        "begin 644 a\n#86)C\n`\nend\n",
        "an encoding that no one reads",
    ),
    _mime("charset-unknown", "text/plain; charset=x-nonesuch", b"\xe4\xf6\xfc\n", "a charset that there is not"),
    _mime("charset-wrong", "text/plain; charset=us-ascii", b"\xe4 \xc3\xa4\n", "octets that its charset has not"),
    _mime(
        "charset-utf-7", "text/html; charset=utf-7", "+ADw-script+AD4-alert(1)+ADw-/script+AD4-\n", "markup in UTF-7"
    ),
    _mime(
        "charset-2022", "text/plain; charset=iso-2022-jp", b"\x1b$BF|K\\8l\x1b(B\n", "a charset with escape sequences"
    ),
    _mime("calendar", "text/calendar; method=REQUEST; charset=utf-8", INVITATION, "an invitation"),
    _mime(
        "names",
        "multipart/mixed; boundary=b",
        "".join(map(_file, NAMES)) + "--b--\n",
        "attachments whose names lead elsewhere, or are none",
    ),
    _mime("parts-1000", "multipart/mixed; boundary=b", _file("") * 1_000 + "--b--\n", "1,000 attachments"),
    _mime("attachment-big", "multipart/mixed; boundary=b", BIG, "an attachment of 600,000 octets"),
    _mime(
        "bounce",
        "multipart/report; report-type=delivery-status; boundary=b",
        BOUNCE,
        "a report of another message's delivery",
    ),
    _mime(
        "signed",
        "multipart/signed; protocol=application/pgp-signature; micalg=pgp-sha256; boundary=b",
        SIGNED,
        "text that any change of a space spoils",
    ),
    _mime("flowed", "text/plain; format=flowed; delsp=yes", "> quoted \n> on\n From \nend\n", "text that flows"),
    _exact("bare-lf", b"one\ntwo\r\n", "LF without CR: qmail refuses it"),
    _exact("bare-cr", b"one\rtwo\r\rthree\r\n", "CR without LF"),
    _exact("lf-dot-lf", b"one\n.\nNOOP\r\n", "LF dot LF, which must not end the message"),
    _exact("lf-dot-crlf", b"one\n.\r\nNOOP\r\n", "LF dot CR LF, which must not end the message"),
    _exact("cr-dot-cr", b"one\r.\rtwo\r\n", "CR dot CR, which must not end the message"),
)
HARD = {mail.name: mail for mail in (*LETTERS, *BODIES)}
