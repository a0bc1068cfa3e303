"""Mail from a sender that knows nothing of popbox, and its journeys over HTTP."""

from __future__ import annotations

import hashlib
import smtplib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from typing import Any
from urllib.parse import quote

from tests.popbox.serve.served import ask

from popbox.hosts.base import Host
from popbox.journey.join import rules

DONE_S = 60.0
PDF = b"%PDF-\x00\xff" * 100


def mail(subject: str, to: str = "joe@domain.com") -> EmailMessage:
    """A reset mail with a link, a code and an attachment whose name points elsewhere."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "Shop <shop@client.example>", to, subject
    message["Message-ID"] = f"<{hashlib.sha256(subject.encode()).hexdigest()[:16]}@client.example>"
    message.set_content("Your code is 482913.\n.a line with a dot\n")
    message.add_alternative('<p>Your code is 482913. <a href="https://shop.example/r?t=1">Reset</a>', subtype="html")
    message.add_attachment(PDF, maintype="text", subtype="html", filename='../../etc/ev"il\r.html'.replace("\r", ""))
    return message


def send(host: Host, message: EmailMessage, *to: str, sender: str = "bounces@client.example") -> None:
    at = host.address("smtp")
    with smtplib.SMTP(at.host, at.port, timeout=60) as smtp:
        smtp.sendmail(sender, to, message.as_bytes().replace(b"\n", b"\r\n"))


def until(look: Callable[[], Any]) -> Any:
    """What ``look`` gives once it gives something."""
    deadline = time.monotonic() + DONE_S
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)
    return found


def journey_of(port: int, query: str, since: int) -> dict[str, Any]:
    """The one journey that a query finds, once it has ended."""

    def ended() -> Any:
        status, body, _ = ask(port, f"/v1/journeys?since={since}&{query}")
        assert (status, len(body["journeys"]) <= 1) == (200, True), body
        return next((one for one in body["journeys"] if one["ended"]), None)

    brief = until(ended)
    status, body, _ = ask(port, f"/v1/journeys/{brief['id']}")
    assert status == 200
    assert body["messages"] == brief["messages"]
    return {**body["journey"], "brief": brief}


def deferred(port: int, address: str, since: int) -> dict[str, Any]:
    """The one journey to an address, once its delivery was put off."""
    query = f"/v1/journeys?since={since}&to={quote(address)}"
    [brief] = until(lambda: [one for one in ask(port, query)[1]["journeys"] if one["end"] == "deferred"])
    return dict(brief)


def cursor_of(port: int) -> int:
    """The cursor behind all that the host showed until now; another server may have looked at it before this one."""
    now = time.time()

    def recorded() -> bool:
        status, ready, _ = ask(port, "/readyz")  # 503 on a machine so busy that a greeting takes over 2 s
        return status == 200 and (ready["recorder"]["whole_since"] or 0.0) >= now

    until(recorded)
    return int(ask(port, "/v1/journeys?limit=1")[1]["cursor"])


@contextmanager
def box_without_tmp(host: Host, local: str) -> Iterator[Callable[[], None]]:
    """A mailbox whose deliveries are deferred; calling what this yields mends it and has the queue tried again."""
    address = f"{local}@domain.com"
    assert host.run("mailbox", "add", address, "--login", local, "--crypt", "DmIMm9e5Hc8ic").code == 0

    def mend() -> None:
        made = host.shell(f'cd "$MAILHOST_HOME/{box}" && mkdir tmp && chmod 700 tmp && chown --reference=new tmp')
        assert made.code == 0, made.stderr
        assert host.run("queue", "flush").code == 0

    try:
        [box] = rules.ask(host, address).places
        host.remove(f"{box}/tmp")
        yield mend
    finally:
        assert host.run("mailbox", "del", address).code == 0
