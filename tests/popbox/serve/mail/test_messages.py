"""Journeys and messages over HTTP, of mail from a sender that knows nothing of popbox, to a host that is up."""

from __future__ import annotations

import hashlib
import poplib
import smtplib
from email.message import EmailMessage
from typing import Any
from urllib.parse import quote

import pytest
from tests.popbox.serve.mailing import PDF, cursor_of, journey_of, mail, send, until
from tests.popbox.serve.served import ask, octets

from popbox.hosts.base import Host


def filed(journey: dict[str, Any]) -> int:
    """The id of the one message that a journey ended in."""
    [of] = journey["brief"]["messages"]
    return int(of)


def test_a_journey_is_found_by_each_fact_and_shown_whole(port: int, host: Host) -> None:
    since = cursor_of(port)
    sent = mail("Reset one")
    send(host, sent, "Joe@Domain.com")
    whole = journey_of(port, "to=joe@domain.com", since)
    brief = whole["brief"]
    assert (brief["sender"], brief["to"], brief["subject"]) == (
        "bounces@client.example",
        ["Joe@Domain.com"],
        "Reset one",
    )
    assert brief["legs"] == {"SMTP": "done", "queue": "done", "Maildir": "done", "POP3": "waiting"}
    [recipient] = whole["message"]["recipients"]
    assert recipient["foretold"]["outcome"] == "delivered"
    [file] = recipient["files"]
    facts = {
        "to": "JOE@domain.com", "sender": "bounces@client.example", "subject": "Reset one", "uidl": file["uidl"],
        "message_id": sent["Message-ID"], "queue_id": brief["queued_as"], "domain": "domain.com",
    }  # fmt: skip
    for name, value in facts.items():
        found = ask(port, f"/v1/journeys?since={since}&{name}={quote(value)}")[1]["journeys"]
        assert [one["id"] for one in found] == [whole["id"]], name
        part = ask(port, f"/v1/journeys?since={since}&{name}={quote(value[:-1])}")[1]["journeys"]
        assert part == [], f"{name} matches as a part"
    every = "&".join(f"{name}={quote(value)}" for name, value in facts.items())
    assert [one["id"] for one in ask(port, f"/v1/journeys?{every}")[1]["journeys"]] == [whole["id"]]
    assert ask(port, f"/v1/journeys?{every}&since={whole['id']}")[1]["journeys"] == []


def test_a_message_is_parsed_and_its_octets_are_those_of_the_file_and_of_pop3(port: int, host: Host) -> None:
    since = cursor_of(port)
    sent = mail("Reset two")
    send(host, sent, "joe@domain.com")
    whole = journey_of(port, "subject=Reset%20two", since)
    of = filed(whole)
    status, body, _ = ask(port, f"/v1/messages/{of}")
    message = body["message"]
    assert (status, body["mta"], message["id"], message["gone"]) == (200, "stand-in", of, "")
    assert (message["to"], message["subject"], message["codes"]) == ("joe@domain.com", "Reset two", ["482913"])
    assert message["links"] == [{"href": "https://shop.example/r?t=1", "text": "Reset", "part": "html"}]
    assert ".a line with a dot" in message["text"]
    assert {"name": "Subject", "value": "Reset two"} in message["headers"]
    [attachment] = message["attachments"]
    assert (attachment["sha256"], attachment["octets"]) == (hashlib.sha256(PDF).hexdigest(), len(PDF))

    status, raw, headers = octets(port, f"/v1/messages/{of}/raw")
    file = whole["message"]["recipients"][0]["files"][0]
    assert (status, raw) == (200, host.read(file["path"]))
    assert (headers["content-type"], headers["content-disposition"]) == (
        "application/octet-stream",
        f"attachment; filename*=UTF-8''{of}.eml",
    )
    status, content, headers = octets(port, attachment["path"])
    assert (status, content, headers["x-content-type-options"]) == (200, PDF, "nosniff")
    assert headers["content-type"] == "application/octet-stream"
    assert headers["content-disposition"] == "attachment; filename*=UTF-8''ev%22il.html"
    assert octets(port, f"/v1/messages/{of}/attachments/2")[0] == 404

    wire = octets(port, f"/v1/messages/{of}/pop3")[1]
    at = host.address("pop3")
    pop3 = poplib.POP3(at.host, at.port, timeout=60)
    pop3.user("joe")
    pop3.pass_("testpw")
    number = next(int(one.split()[0]) for one in pop3.uidl()[1] if one.split()[1].decode() == file["uidl"])
    pop3._putcmd(f"RETR {number}")  # type: ignore[attr-defined]
    pop3._getresp()  # type: ignore[attr-defined]
    lines = []
    while not lines or lines[-1] != b".\r\n":
        lines.append(pop3.file.readline())  # type: ignore[attr-defined]
    assert wire == b"".join(lines)
    pop3.dele(number)
    pop3.quit()

    def gone() -> Any:
        status, body, _ = ask(port, f"/v1/messages/{of}")
        return status == 410 and "joe removed it over POP3" in body["evidence"][0]

    until(gone)
    again = until(
        lambda: [one for one in journey_of(port, "subject=Reset%20two", since)["legs"] if one["name"] == "POP3"]
    )
    assert again[0]["state"] == "done"
    assert octets(port, f"/v1/messages/{of}/raw")[0] == 410


def test_a_forward_hangs_below_what_it_comes_from(port: int, host: Host) -> None:
    since = cursor_of(port)
    send(host, mail("To sales", "sales@domain.com"), "sales@domain.com")
    whole = journey_of(port, "to=sales@domain.com", since)
    [copy] = whole["copies"]
    assert (copy["relation"], whole["end"], whole["brief"]["subject"]) == (
        "forward",
        "delivered exactly once",
        "To sales",
    )
    status, body, _ = ask(port, f"/v1/messages/{filed(whole)}")
    assert (status, body["message"]["relation"], body["message"]["journey"]) == (200, "forward", whole["id"])
    assert ask(port, f"/v1/journeys/{copy['id']}")[1]["journey"]["id"] == whole["id"]


def test_a_subject_that_makes_half_a_character_stops_no_recording(port: int, host: Host) -> None:
    since = cursor_of(port)
    hostile = EmailMessage()
    hostile["Subject"] = "x"
    hostile.set_content("x")
    raw = hostile.as_bytes().replace(
        b"Subject: x", b"Subject: =?utf-7?q?+2AA-?=\nFrom: =?utf-7?q?+2AA-?= <a@b.example>"
    )
    raw = raw.replace(b'charset="utf-8"', b'charset="utf-7"').replace(b"\n\nx", b"\n\n+2AA-")
    at = host.address("smtp")
    with smtplib.SMTP(at.host, at.port, timeout=60) as smtp:
        smtp.sendmail("a@b.example", ["joe@domain.com"], raw.replace(b"\n", b"\r\n"))
    whole = journey_of(port, "to=joe@domain.com&sender=a@b.example", since)
    status, body, _ = ask(port, f"/v1/messages/{filed(whole)}")
    assert (status, body["message"]["text"].strip()) == (200, "?")
    assert ask(port, "/readyz")[1]["recorder"]["error"] == ""


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/journeys/999999999", 404),
        ("/v1/journeys/0", 422),
        ("/v1/journeys/9223372036854775808", 422),
        ("/v1/journeys/x", 422),
        ("/v1/messages/1", 404),
        ("/v1/messages/-1", 422),
        ("/v1/messages/999999999/raw", 404),
        ("/v1/journeys?to=", 422),
        ("/v1/journeys?form=x", 422),
        ("/v1/journeys?limit=501", 422),
        ("/v1/journeys?since=-1", 422),
        ("/v1/journeys?sender=", 200),
        ("/v1/journeys?subject=%00%ff%27%25", 200),
        ("/v1/messages/1/pop3?profile=x", 422),
    ],
)
def test_what_is_not_there_or_no_request(port: int, path: str, status: int) -> None:
    assert ask(port, path)[0] == status, path
