"""A host with mail of every kind: delivered, fetched, bounced, deferred, with forwards, in long words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.message import EmailMessage
from urllib.parse import parse_qsl, urljoin, urlsplit

from tests.popbox.serve.browser.moving import Move
from tests.popbox.serve.console.test_console import PNG, Seen
from tests.popbox.serve.mailing import PDF, mail, send, until
from tests.popbox.serve.served import ask, octets

from popbox.clients.pop3 import Pop3
from popbox.hosts.base import Host

PASSWORD = "testpw"
LONG = "a-subject-without-any-place-to-break-" * 6
WORD = "x" * 60


@dataclass(frozen=True, slots=True)
class Town:
    """``url`` has no slash at its end. ``paths`` are one page of each kind, by a name fit for a file."""

    host: Host
    port: int
    url: str
    paths: dict[str, str]
    move: Move


def built(host: Host, port: int, move: Move) -> Town:
    """Accounts and mail, and the pages that show them once all is where it belongs."""
    declared(host)
    sent(host)
    until(lambda: len(journeys(port)) >= 7 and not any(one["end"] == "in the queue" for one in journeys(port)))
    return Town(host, port, f"http://127.0.0.1:{port}", kinds(port), move)


def declared(host: Host) -> None:
    for argv in (
        ("domain", "add", "domain.com"),
        ("domain", "add", "shop.example"),
        ("mailbox", "add", "joe@domain.com", "--login", "testid", "--password-stdin", "--extensions"),
        ("mailbox", "add", "ann@domain.com", "--login", "ann", "--password-stdin"),
        ("mailbox", "add", "orders@shop.example", "--login", "orders", "--password-stdin"),
        ("mailbox", "add", f"{WORD}@domain.com", "--login", WORD[:30], "--password-stdin"),
        ("forward", "add", "sales@domain.com", "joe@domain.com", "ann@domain.com"),
        ("forward", "add", "away@domain.com", "friend@elsewhere.example"),
        ("catchall", "set", "shop.example", "orders@shop.example"),
    ):
        ran = host.run(*argv, stdin=PASSWORD.encode())
        assert ran.code == 0, ran.stderr


def sent(host: Host) -> None:
    """The HOWTO's first message is fetched; the newest is rich."""
    send(host, mail("the first message"), "joe@domain.com", sender="paul@example.org")
    fetched(host, "testid")
    send(host, mail("Your order is on its way", "orders@shop.example"), "orders@shop.example")
    send(host, mail(LONG), f"{WORD}@domain.com", sender=f"{WORD}@{WORD}.example")
    send(host, mail("To all of sales"), "sales@domain.com", sender="boss@domain.com")
    send(host, mail("Nobody is there"), "nobody@domain.com", sender="joe@domain.com")
    send(
        host, mail("For another host"), "away@domain.com", "ann@domain.com", sender="ann@domain.com"
    )  # no route: it waits
    send(host, rich(), "joe@domain.com", "ann@domain.com", sender="bounces@client.example")


def rich() -> EmailMessage:
    message = mail("Reset your password")
    message.get_payload()[1].add_related(PNG, "image", "png", cid="<logo@x>")  # type: ignore[index, union-attr]
    message.add_attachment(PDF, maintype="application", subtype="pdf", filename=f"{WORD}.pdf")
    return message


def fetched(host: Host, login: str) -> None:
    until(lambda: host.find("popboxes/domain-com/joe/Maildir", "the first message"))
    with Pop3(host.address("pop3")) as session:
        session.login(login, PASSWORD)
        session.retrieve(1)
        session.quit()


def journeys(port: int) -> list[dict[str, object]]:
    found: list[dict[str, object]] = ask(port, "/v1/journeys")[1]["journeys"]
    return found


def kinds(port: int) -> dict[str, str]:
    """One page of each kind that links lead to from the first page on: a new screen is walked without being listed."""
    changed = "/explain?address=sales%40domain.com"  # by the move: a link leads to an address that is as it was
    waiting, found = ["/", "/find?q=nothing%40nowhere.example", "/nowhere", changed], dict[str, str]()
    while waiting:
        path = waiting.pop(0)
        if (name := kind(path)) in found:
            continue
        status, body, headers = octets(port, path)
        if "text/html" in headers.get("content-type", ""):
            found[name] = path
            links = [urljoin(path, one).partition("#")[0] for one in Seen(body.decode()).links]
            waiting += [one for one in links if not one.startswith(("/v1/", "/static/"))]
        assert status < 500, path
    return found


def kind(path: str) -> str:
    """``journeys-N-view-html`` of ``/journeys/12?copy=3&view=html``; values of other parameters do not matter."""
    split = urlsplit(path)
    asked = [f"{key}-{value}" if key in ("view", "show") else key for key, value in parse_qsl(split.query)]
    return re.sub(r"\d+", "N", "-".join([*filter(None, split.path.split("/")), *asked])) or "now"
