"""A host that got a hundred hostile messages: each input in every field that a stranger controls, over the wire."""

from __future__ import annotations

import itertools
import re
import smtplib
import socketserver
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Thread
from urllib.parse import quote

from tests.popbox.serve.hostile import INPUTS
from tests.popbox.serve.mailing import until
from tests.popbox.serve.served import ask

from popbox.clients.pop3 import Pop3, Pop3Refused
from popbox.hosts.base import Host

TRIED = INPUTS[::17]  # as logins: a server slows down who tries many
UNFIT = re.compile(r"[^!-~]|[<>\"@\\,;:()\[\]]")  # of a local part without quotes


@dataclass(frozen=True, slots=True)
class Infested:
    """``ids`` are journeys: of a harmless message, then one of each input, then one with a file named by each."""

    host: Host
    port: int
    url: str
    ids: list[int]


def infested(host: Host, port: int, relay: int) -> Infested:
    """All of it delivered, refused by the next host, or put off there. ``relay``: the port of that next host."""
    for argv in (
        ("domain", "add", "domain.com"),
        ("mailbox", "add", "joe@domain.com", "--login", "joe", "--password-stdin", "--extensions"),
        ("mailbox", "add", "ann@domain.com", "--login", "ann", "--password-stdin"),
        ("forward", "add", "away@domain.com", "x@next.example"),
    ):
        assert host.run(*argv, stdin=b"testpw").code == 0
    host.write("control/smtproutes", f"next.example:127.0.0.1:{relay}\n".encode())
    host.restart("smtp", time.monotonic() + 60)
    for number, text in enumerate(INPUTS):
        name = text.replace("/", "∕")[:60]
        host.write(f"popboxes/domain-com/ann/Maildir/new/{number}.{name}", f"Subject: {text}\n\nx\n".encode())
    for text in TRIED:
        with Pop3(host.address("pop3")) as session, suppress(Pop3Refused):
            session.login(text, text)
    at = host.address("smtp")
    with smtplib.SMTP(at.host, at.port, timeout=60) as smtp:
        smtp.command_encoding = "utf-8"
        for text in ("harmless", *INPUTS):
            hand_in(smtp, text, message(text, text))
        hand_in(smtp, "all files", message("all files", *INPUTS))

    def settled() -> list[int]:
        found = ask(port, "/v1/journeys?limit=500&oldest_first=true")[1]["journeys"]
        ended = all(one["end"] not in ("queue", "not known") for one in found)
        return [one["id"] for one in found] if len(found) == len(INPUTS) + 2 and ended else []

    return Infested(host, port, f"http://127.0.0.1:{port}", until(settled))


def hand_in(smtp: smtplib.SMTP, text: str, whole: str) -> None:
    """HELO, sender, recipients and all of the message say it; what the server refuses is left out."""
    local = UNFIT.sub("", text)[:40] or "x"
    smtp.docmd("HELO", text)
    if smtp.docmd("MAIL", f"FROM:<{local}@client.example>")[0] != 250:
        smtp.docmd("MAIL", "FROM:<x@client.example>")
    smtp.docmd("RCPT", f"TO:<joe-{local}@domain.com>")
    for to in ("joe", "away"):
        assert smtp.docmd("RCPT", f"TO:<{to}@domain.com>")[0] == 250
    assert smtp.data(whole.encode().replace(b"\n", b"\r\n"))[0] == 250


def message(text: str, *named: str) -> str:
    """Subject encoded, so that all of it comes through; elsewhere as it is. ``named``: a file of each name."""
    word = f"=?utf-8?b?{b64encode(text.encode()).decode()}?="
    return f"""From: {word} <x@client.example>
To: "{quoted(text)}" <joe@domain.com>
Subject: {word}
Message-ID: <{text}@client.example>
X-Note: {text}
X-{UNFIT.sub("", text) or "x"}: {text}
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: multipart/alternative; boundary=a

--a
Content-Type: text/plain; charset=utf-8

{text}
https://evil.example/{quote(text)} {text}
--a
Content-Type: text/html; charset=utf-8

<p>{text}<a href="//evil.example/{text}">{text}</a>
--a--
{"".join(map(attached, named))}--b--
"""


def attached(text: str) -> str:
    """Type, name and Content-ID of a part say it."""
    return f"""--b
Content-Type: application/{UNFIT.sub("", text).replace("/", "") or "x"}; name="{quoted(text)}"
Content-Disposition: attachment; filename*=utf-8''{quote(text, safe="")}
Content-ID: <{text}>

x
"""


def quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


@contextmanager
def next_host() -> Iterator[int]:
    """The port of a mail server that greets, refuses and puts off in words of the inputs, each in its turn."""
    words = itertools.cycle(INPUTS)

    class Talk(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            text = next(words)
            self.say(220, text)
            for line in self.rfile:
                verb = line[:4].upper()
                if verb == b"RCPT":
                    self.say(450 if len(text) % 2 else 550, text)
                else:
                    self.say(221 if verb == b"QUIT" else 250, text)

        def say(self, code: int, text: str) -> None:
            with suppress(OSError):
                self.wfile.write(f"{code} {text}\r\n".encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Talk) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@contextmanager
def catcher() -> Iterator[tuple[int, list[str]]]:
    """The port of a server for whatever a browser asks of elsewhere, and who came: none should."""
    came: list[str] = []

    class Note(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            came.append("a connection")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Note) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], came
        server.shutdown()
