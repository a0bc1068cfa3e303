"""The parser of messages: what a test asks of a mail, and what hostile mail does to it."""

from __future__ import annotations

import base64
import hashlib
import importlib
import time
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popbox.message import Link, parse
from popbox.message.codes import codes
from popbox.message.markup import read_html, read_text
from popbox.message.parse import addresses

module = importlib.import_module("popbox.message.parse")  # the package has a function of that name


def reset_mail() -> EmailMessage:
    mail = EmailMessage()
    mail["From"] = "Shop <no-reply@shop.example>"
    mail["To"] = "joe@domain.com"
    mail["Subject"] = "Zurücksetzen: your password"
    mail.set_content("Your code is 482 913.\nOr open https://shop.example/reset?t=abc123&u=7.\n")
    mail.add_alternative(
        '<html><head><title>9999</title></head><body><p>Your code: <b>482913</b></p>'
        '<a class=x href="https://shop.example/reset?t=abc123&amp;u=7">Reset <i>now</i></a>'
        "<!-- <a href='https://evil.example/'>no</a> --></body></html>",
        subtype="html",
    )  # fmt: skip
    mail.add_attachment(b"%PDF-1.7\n\0\xff", maintype="application", subtype="pdf", filename="Größe.pdf")
    return mail


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_a_mail_of_an_application(line_end: bytes) -> None:
    raw = reset_mail().as_bytes().replace(b"\n", line_end)
    got = parse(raw)
    assert (got.raw, got.subject, got.header("to")) == (raw, "Zurücksetzen: your password", "joe@domain.com")
    assert got.text.startswith("Your code is 482 913.\nOr open")
    assert got.html.startswith("<html>")
    assert (got.codes, got.code) == (("482913",), "482913")
    assert got.links == (Link("https://shop.example/reset?t=abc123&u=7", "Reset now", "html"),)
    assert got.link("reset") == "https://shop.example/reset?t=abc123&u=7"
    [pdf] = got.attachments
    content = b"%PDF-1.7\n\0\xff"
    assert (pdf.name, pdf.content_type, pdf.octets, pdf.content) == ("Größe.pdf", "application/pdf", 11, content)
    assert pdf.sha256 == hashlib.sha256(content).hexdigest()
    assert got.defects == ()


def test_what_is_not_there_is_said() -> None:
    got = parse(b"Subject: x\n\nhello\n")
    assert (got.text, got.html, got.links, got.codes, got.attachments) == ("hello\n", "", (), (), ())
    assert got.header("From") is None
    with pytest.raises(LookupError, match="'x' has nothing that looks like a one-time code"):
        _ = got.code
    with pytest.raises(LookupError, match="its links: none"):
        got.link()


def test_a_message_in_a_message_is_an_attachment_and_its_text_is_not_the_texts() -> None:
    mail = EmailMessage()
    mail["Subject"] = "fwd"
    mail.set_content("see below")
    mail.add_attachment(reset_mail())
    got = parse(mail.as_bytes())
    assert (got.text, got.codes) == ("see below\n", ())
    [inner] = got.attachments
    assert inner.content_type == "message/rfc822"
    assert parse(inner.content).code == "482913"


def test_a_text_file_that_is_attached_is_not_the_text() -> None:
    mail = EmailMessage()
    mail.set_content("body")
    mail.add_attachment("notes", filename="a.txt")
    got = parse(mail.as_bytes())
    assert (got.text, [one.name for one in got.attachments]) == ("body\n", ["a.txt"])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Your code is 123456.", ["123456"]),
        ("Code:\n\n   12-34\n 0042 \n", ["0042"]),
        ("G-482913 is your verification code", ["482913"]),
        ("Use A1B2C3 to sign in", ["A1B2C3"]),
        ("ABCD-12EF", ["ABCD-12EF"]),
        ("1234 5678 and 123-456", ["12345678", "123456"]),
        ("© 2026 Shop. Order 55512, code 7788", ["7788", "55512"]),
        ("© 2026 Shop\nOrder 55512\nPIN\n2031", ["2031", "55512"]),
        ("Total 1999.00 EUR, 1.234,00, $4321, #98765, 10:30:4500, +49 30-123456, 2026-11-28", []),
        ("https://shop.example/r/482913?x=123456 joe1234@domain.com", []),
        ("HELLO WORLD hello1234", []),
        ("123456789 12345678901234", []),
        ("Ihr Bestätigungscode lautet 4711", ["4711"]),
    ],
)
def test_codes(text: str, found: list[str]) -> None:
    assert list(codes(text)) == found


def test_links_of_text_lose_the_punctuation_behind_them() -> None:
    text = "See (https://a.example/x_(y)), https://b.example/?q=1&r=2. HTTP://C.EXAMPLE! ftp://d.example https://"
    assert [one.href for one in read_text(text)] == [
        "https://a.example/x_(y)", "https://b.example/?q=1&r=2", "HTTP://C.EXAMPLE",
    ]  # fmt: skip


def test_links_of_html_are_those_that_a_browser_follows() -> None:
    markup = (
        "<script>'<a href=no>'</script><style><a href=no></style><textarea><a href=no></textarea><?x <a href=no>"
        "<A HREF = ' https://a.example/\n1 ' title='>'>one<br>line</A><a name=x>none</a><area href=/2 alt=two>"
        "<a href=3/ >t&eacute;t<a href='4' href='no'>four<img src=x>&#99999999999;"
    )
    words, links = read_html(markup)
    assert [(one.href, one.text) for one in links] == [
        ("https://a.example/1", "one line"), ("/2", "two"), ("3/", "tét"), ("4", "four\ufffd"),
    ]  # fmt: skip
    assert words.startswith("one\nlinenone")


def test_a_field_that_names_an_address_gives_it_exactly() -> None:
    assert addresses('"a, b" <Joe@Domain.COM>, ann@x.example') == ("Joe@domain.com", "ann@x.example")
    assert addresses(None) == addresses("(" * 5_000) == ()


def nested(kind: bytes) -> bytes:
    return b"".join(b'Content-Type: %b; boundary="%d"\n\n--%d\n' % (kind, n, n) for n in range(3000))


PART = b"--x\nContent-Type: text/plain" + b"; a=" * 480 + b"\n\nx\n"
HOSTILE = {
    "nothing": b"",
    "no header": b"\n\nx",
    "nul": b"\0" * 1000,
    "deep multiparts": nested(b"multipart/mixed"),
    "deep messages": b"Content-Type: message/rfc822\n\n" * 3000,
    "hidden depth": nested(b"multi(x)part/mixed;\n x=y"),
    "many parts": b"Content-Type: multipart/mixed; boundary=x\n\n" + b"--x\n\n\n" * 100_000,
    "parameters": b"Content-Type: text/plain" + b"; a=" * 50_000 + b"\n\n482913",
    "folded parameters": b"Content-Type: text/plain;\n" + b" a*0*=b;\n" * 50_000 + b"\n482913",
    "parameters of parts": b"Content-Type: multipart/mixed; boundary=x\n\n" + PART * 900,
    "many types": b"Content-Type: multipart/mixed; boundary=x\n\n" + b"--x\nContent-Type: a/b\n\n\n" * 20_000,
    "many fields of addresses": (b"To: " + b"a@b," * 1_900 + b"\n") * 400 + b"\n",
    "long field": b"To: " + b"a@b, " * 200_000 + b"\n\n",
    "nested comment": b"From: " + b"(" * 100_000 + b"\n\n",
    "groups": b"To: " + b"a:" * 50_000 + b"\n\n",
    "many fields": b"X: y\n" * 100_000 + b"\n",
    "long encoded word": b"Subject: " + b"=?utf-8?q?" * 50_000 + b"\n\n",
    "broken encoded word": b"Subject: =?x-none?b?!!!?= =?utf-8?b?/w?=\n\n",
    "odd type": b"Content-Type: text/plain; charset*0*=\xff''%; name*=x'\n\n\xff",
    "no end of base64": b"Content-Transfer-Encoding: base64\n\nabc!!!=\n=\n",
    "odd encoding": b"Content-Transfer-Encoding: x-uuencode\n\nbegin 644 x\n!!!\n",
    "bad uuencode": b"Content-Transfer-Encoding: x-uuencode\nContent-Type: application/x; name=\xff\n\nbegin 9\nend\n",
    "binary": bytes(range(256)) * 100,
    "bare cr": b"Subject: a\rb\r\n\r\nx\ry",
    "date": b"Date: 99 Foo 99999999999999999999 99:99:99 +9999999999\nMessage-ID: <<>@[\n\n",
    "disposition": b"Content-Disposition: attachment; filename*0*=x; filename*=;;;\n\n",
    "tags": b"Content-Type: text/html\n\n" + b"<a " * 300_000,
    "quotes": b"Content-Type: text/html\n\n" + b"<a href='" * 100_000,
    "comments": b"Content-Type: text/html\n\n" + b"<!--" * 250_000,
    "divs": b"Content-Type: text/html\n\n" + b"<div>" * 200_000,
    "ends": b"Content-Type: text/html\n\n" + b"</" * 500_000,
    "links": b"Content-Type: text/html\n\n" + b"<a href=x>" * 100_000,
    "blanks": b"Content-Type: text/html\n\n<a" + b" " * 1_000_000,
    "equals": b"Content-Type: text/html\n\n<a" + b" x =" * 250_000,
    "attributes": b"Content-Type: text/html\n\n<a" + b" href" * 200_000,
    "scripts": b"Content-Type: text/html\n\n" + b"<script>" * 125_000,
    "entity": b"Content-Type: text/html\n\n&#" + b"9" * 1_000_000,
    "addresses": b"\n" + b"https://" * 125_000,
    "parentheses": b"\nhttps://x/" + b")" * 1_000_000,
    "digits": b"\n" + b"1" * 1_000_000,
    "code-like": b"\n" + b"A-" * 500_000,
    "words": b"\n" + b"a@" * 500_000,
    "schemes": b"\n" + b"a" * 1_000_000 + b"://",
    "blank lines": b"\n" + b"\n \n" * 300_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_message_neither_raises_nor_takes_long(name: str) -> None:
    began = time.process_time()
    got = parse(HOSTILE[name])
    assert time.process_time() - began < 20, "quadratic time would be minutes to hours"
    assert got.raw == HOSTILE[name]
    assert all(one.octets == len(one.content) for one in got.attachments)


@pytest.mark.parametrize(
    "charset", ["x-none", "hex", "zip", "rot13", "idna", "punycode", "unicode_escape", "utf-7\0", "a" * 500]
)
def test_an_odd_charset_is_read_as_utf_8_and_said(charset: str) -> None:
    got = parse(f"Content-Type: text/plain; charset={charset}\n\nGr\xfc\xdfe 123456\n".encode())
    assert "123456" in got.text
    assert got.codes == ("123456",)
    assert got.defects or charset == "utf-7\0"


def test_a_field_that_is_too_long_to_be_parsed_hides_no_text() -> None:
    got = parse(b"Subject: x\n" + HOSTILE["parameters"])
    assert (got.subject, got.text, got.codes) == ("x", "482913", ("482913",))
    assert any("Content- fields of more than" in one for one in got.defects)


def test_broken_base64_keeps_what_can_be_read_and_says_so() -> None:
    body = base64.b64encode(b"hello world, hello") + b"\n*\n"
    got = parse(b"Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n" + body)
    assert got.text.startswith("hello world")
    assert any("Base64" in one for one in got.defects)


def test_a_message_that_is_about_messages_is_read() -> None:
    mail = EmailMessage()
    mail["Subject"] = "multipart"
    mail.set_content("multipart message\n" * 100)
    mail.add_alternative("<p>multipart message</p>" * 100, subtype="html")
    got = parse(mail.as_bytes())
    assert (got.defects, got.html.count("<p>")) == ((), 100)


def test_the_text_of_a_message_that_nests_too_much_is_still_shown() -> None:
    got = parse(b"Subject: x\n" + HOSTILE["deep multiparts"])
    assert (got.subject, got.text[:5]) == ("x", "--0\nC")
    assert any("not told apart" in one for one in got.defects)


PIECES = st.sampled_from(
    [b"Content-Type: ", b"multipart/mixed; boundary=x", b"text/html", b"message/rfc822", b"\n", b"\n\n", b"--x", b"--",
     b"; charset=", b"utf-16", b"Content-Transfer-Encoding: base64", b"=?utf-8?q?", b"?=", b"\xff\0", b"<a href=", b"'",
     b">", b"</a>", b"&#x", b"123456", b'"', b"(", b"From: ", b"Content-Disposition: attachment; filename*=", b" "]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES | st.binary(max_size=5), max_size=40))
def test_no_octets_make_it_raise(pieces: list[bytes]) -> None:
    raw = b"".join(pieces)
    got = parse(raw)
    assert got.raw == raw
    assert not any("the message cannot be parsed" in one for one in got.defects)


ATOM = st.text("ab1+-_.='!{}", min_size=1, max_size=5)
ODD = st.text("ab .<>@\"(),;:\\=?-_+1!\t%&'[]/{}~^|`*#$", max_size=14)
NAMED = st.builds("{} <{}@{}>".format, st.sampled_from(["Joe", "Joe 1a", "x  y"]), ATOM, ATOM)
FIELD_NAMES = ("Subject", "X-a", "Received", "From", "To", "Date", "Message-ID", "Content-Type", "MIME-Version")


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(FIELD_NAMES), st.one_of(ODD, NAMED, st.builds("{}@{}".format, ATOM, ATOM)))
def test_a_field_that_is_shown_as_it_stands_is_read_so_by_the_library_too(name: str, value: str) -> None:
    if module._is_as_read(name.lower(), value):
        assert module._tried(lambda: str(module._POLICY.header_factory(name, value)), value) == value


def test_ordinary_fields_are_shown_as_they_stand() -> None:
    """Else the shortcut is none."""
    shown = {"received": "(qmail 1 invoked by uid 2); 1 Jan 2026 00:00:00 -0000", "to": "joe@domain.com"}
    assert all(module._is_as_read(*one) for one in (*shown.items(), ("from", "The Shop <no-reply@shop.example>")))
    others = {"from": '"Joe" <joe@x>', "subject": "=?utf-8?q?a?=", "date": "x", "x-any": "a\tb"}
    assert not any(module._is_as_read(*one) for one in others.items())
