"""The part of a page that shows a message stays small, however much a stranger sends."""

from __future__ import annotations

from email.message import EmailMessage
from types import SimpleNamespace

import pytest
from tests.popbox.serve.console.pages import PAGES

from popbox.message.parse import parse
from popbox.serve.console.mail import SHOWN_OCTETS, VIEWS, seen

AROUND = 2_000


def message(text: str, parts: int = 0) -> bytes:
    made = EmailMessage()
    made["Subject"] = "much"
    made.set_content(text)
    for number in range(parts):
        made.add_attachment(b"x", "application", "pdf", filename=f"{'<' * 40}{number}.pdf")
    return b"".join(b"X-Many: %s\n" % (b"<" * 300) for _ in range(parts)) + bytes(made)


MUCH = {
    "long lines": message("word " * 20_000),
    "markup": message("<\"&'>" * 12_000),
    "unseen": message("\u202e" * 12_000),
    "links": message("".join(f"https://evil.example/{number}?<a>\n" for number in range(1_000))),
    "parts": message("short", 300),
    "empty lines": b"Subject: x\n\n" + b"\n" * 100_000,
}


def shown(octets: bytes) -> dict[str, str]:
    """Each view's part of the page."""
    mail, copy = parse(octets), SimpleNamespace(id=1)
    return {
        view: PAGES.text("message.html.j2", view=view, copy=copy, mail=mail, **seen(mail, octets, view))
        for view in VIEWS
    }


@pytest.mark.parametrize("much", MUCH)
def test_much_is_cut_and_said_to_be(much: str) -> None:
    for view, text in shown(MUCH[much]).items():
        assert len(text.encode()) <= SHOWN_OCTETS + AROUND, view
        assert "data-cut" in text or len(text) < SHOWN_OCTETS // 2, view


def test_what_fits_is_shown_whole() -> None:
    views = shown(message("https://one.example/ and the end", 3))
    assert [view for view, text in views.items() if "data-cut" in text] == []
    assert all("and the end" in views[view] for view in ("text", "source", "pop3"))
    assert "https://one.example/" in views["links"]
    assert views["parts"].count("<tr>") == 4
