"""The console's pages without script: every link leads on, and no text of a stranger is markup."""

from __future__ import annotations

import base64
import hashlib
import html
import html.parser
import re
from collections.abc import Iterator
from email.message import EmailMessage
from urllib.parse import quote, urljoin, urlsplit

import pytest
from tests.popbox.serve.hostile import INPUTS
from tests.popbox.serve.mailing import box_without_tmp, cursor_of, journey_of, mail, send, until
from tests.popbox.serve.served import octets

from popbox.hosts.base import Host

PAGE_OCTETS = 60 * 1024
MOST_PAGES = 2_000  # what other tests have sent to this host is on pages too
UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
TAGS = INPUTS[::4]  # all of them are in tests/popbox/serve/browser


class Seen(html.parser.HTMLParser):
    """What a page is made of: links, headings, and what no page may have."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.scripts: list[str] = []
        self.frames: list[dict[str, str | None]] = []
        self.wrong: list[str] = []
        self.headings = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        self.headings += tag == "h1"
        if tag == "a":
            self.links.append(said.get("href") or "")
        if tag == "script":
            self.scripts.append(said.get("src") or "inline")
        if tag == "iframe":
            self.frames.append(said)
        if tag in ("base", "object", "embed", "style") or (tag == "meta" and "http-equiv" in said):
            self.wrong.append(tag)
        self.wrong += [f"{tag} {name}" for name in said if name.startswith("on") or name == "style"]
        for name in ("href", "src", "action"):
            where = said.get(name) or ""
            if urlsplit(where).scheme or where.startswith("//"):
                self.wrong.append(f"{tag} {name}={where}")


def pages_from(port: int, *paths: str) -> Iterator[tuple[str, int, bytes, dict[str, str]]]:
    """These pages, and all that their links lead to, each once; downloads are not pages."""
    waiting, known = list(paths), set(paths)
    while waiting and len(known) <= MOST_PAGES:
        path = waiting.pop(0)
        status, body, headers = octets(port, path)
        yield path, status, body, headers
        if "text/html" in headers.get("content-type", "") and not path.startswith("/mail/"):
            for link in Seen(body.decode()).links:
                there = urljoin(path, link).partition("#")[0]
                if there not in known and not there.startswith("/v1/"):
                    known.add(there)
                    waiting.append(there)
    assert len(known) <= MOST_PAGES, "the pages do not end"


def judge(path: str, status: int, body: bytes, headers: dict[str, str]) -> list[str]:
    """What is wrong with a page; empty where nothing is. A search that finds one message leads to it."""
    if status == 303 and headers["location"].startswith("/journeys/"):
        return []
    if "text/html" not in headers.get("content-type", ""):
        return [f"{path}: {status} {headers.get('content-type')}"]
    seen = Seen(body.decode())
    policy = headers["content-security-policy"]
    faults = [f"has {one}" for one in seen.wrong]
    faults += [f"script {one}" for one in seen.scripts if one != "/static/console.js"]
    faults += [f"frame {one}" for one in seen.frames if one.get("sandbox") != "" and one.get("sandbox") is not None]
    faults += [f"frame {one}" for one in seen.frames if "sandbox" not in one]
    faults += ["shows an unseen character"] if UNSEEN.search(body.decode()) else []
    faults += ["no strict policy"] if "default-src 'none'" not in policy or "'unsafe" in policy else []
    faults += [f"{len(body)} octets"] if len(body) > PAGE_OCTETS else []
    faults += [f"{seen.headings} h1"] if seen.headings != 1 else []
    return [f"{path}: {one}" for one in ([str(status)] if status != 200 else []) + faults]


def test_every_link_leads_to_a_page_and_each_names_the_world(port: int, host: Host) -> None:
    since = cursor_of(port)
    send(host, mail("Crawled and bounced"), "joe@domain.com", "nobody@domain.com", sender="joe@domain.com")
    send(host, mail("Crawled"), "joe@domain.com", "sales@domain.com")
    journey_of(port, "subject=Crawled", since)
    found = list(pages_from(port, "/"))
    assert [one for page in found for one in judge(*page)] == []
    kinds = {urlsplit(path).path.split("/")[1] for path, *_ in found}
    screens = {"", "journeys", "queue", "accounts", "explain", "find", "file", "box"}
    assert kinds == screens | {"send", "telnet", "scenarios", "faults"}
    for path, _, body, _ in found:
        assert b"stand-in" in body or not body, path
        assert b"DmIMm9e5Hc8ic" not in body, f"{path} shows a hash"


def hostile(number: int, text: str) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = (
        "x@client.example",
        "joe@domain.com",
        re.sub("[\r\n]", " ", text),
    )
    message["Message-ID"], message["X-Note"] = f"<xss{number}@client.example>", re.sub("[\r\n]", " ", text)
    message.set_content(text)
    message.add_alternative(f"<p>{text}", subtype="html")
    message.add_attachment(b"x", maintype="application", subtype="pdf", filename=text)
    return message


def test_no_text_of_a_stranger_is_markup_on_any_page(port: int, host: Host) -> None:
    since = cursor_of(port)
    for number, text in enumerate(TAGS):
        local = re.sub(r"[\x00-\x20\x7f-\uffff<>\"]", "", text)[:40] or "x"
        send(host, hostile(number, text), "joe@domain.com", sender=f"{local}@client.example".replace("@@", "@"))
    ids = [
        journey_of(port, f"message_id={quote(f'<xss{number}@client.example>')}", since)["id"]
        for number in range(len(TAGS))
    ]
    views = ("text", "html", "parts", "links", "source", "pop3")
    paths = [f"/journeys/{of}?view={view}" for of in ids for view in views]
    paths += [
        f"/{where}={quote(text)}"
        for text in TAGS
        for where in ("find?q", "explain?address", "accounts?of", "box?maildir", "file?path", "?domain")
    ]
    wrong = []
    for path in paths:
        status, body, headers = octets(port, path)
        wrong += [one for one in judge(path, status, body, headers) if not one.endswith((": 404", ": 422"))]
    assert wrong == []


def test_html_mail_is_by_itself_and_has_only_its_own_images(port: int, host: Host) -> None:
    since = cursor_of(port)
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "x@client.example", "joe@domain.com", "Framed"
    message.set_content("text")
    message.add_alternative(
        '<img src="cid:logo@x"><img src="cid:none@x"><img src="https://evil.example/x.png">'
        '<Link rel=preconnect href="https://evil.example"><IFRAME src=//evil.example>',
        subtype="html",
    )
    message.get_payload()[1].add_related(PNG, "image", "png", cid="<logo@x>")  # type: ignore[index, union-attr]
    send(host, message, "joe@domain.com")
    [of] = journey_of(port, "subject=Framed", since)["brief"]["messages"]
    status, body, headers = octets(port, f"/mail/{of}/html")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    frame = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'; sandbox"
    assert headers["content-security-policy"] == frame
    held = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    assert re.findall(rb'src="([^"]*)"', body) == [held.encode(), b"cid:none@x", b"https://evil.example/x.png"]
    assert not re.search(rb"<(link|iframe)", body.lower()), (
        "a browser may connect to where it says, whatever the policy"
    )
    assert headers["x-dns-prefetch-control"] == "off"
    assert octets(port, "/mail/999999999/html")[0] == 404
    assert [octets(port, f"/{path}")[0] for path in (f"mail/{2**63}/html", f"journeys/{2**63}")] == [422, 422]


@pytest.mark.parametrize(
    "path", ["users/poppasswd", "users/cdb", "control/servercert.pem", "control/../users/poppasswd", "/etc/passwd",
             "../x", "popboxes/domain-com/joe/Maildir/new/x", "popboxes/../users/.qmail/../poppasswd", "",
             "users/domains/\0", "popboxes/.qmail\0"]
)  # fmt: skip
def test_only_files_that_route_mail_are_shown(port: int, path: str) -> None:
    status, body, _ = octets(port, f"/file?path={quote(path)}")
    assert (status, b"Not shown" in body) == (404, True)


@pytest.mark.parametrize("path", ["users/domains", "users/domains/none", "users/domains/" + "a" * 300])
def test_a_file_that_is_not_there_is_told_so(port: int, path: str) -> None:
    """It said that the mail host does not answer."""
    status, body, _ = octets(port, f"/file?path={quote(path)}")
    assert (status, b"Not found" in body, b"cannot read users/domains" in body) == (404, True, True)


def test_an_address_that_would_be_deferred_is_explained(port: int, host: Host) -> None:
    with box_without_tmp(host, "later"):
        status, body, _ = octets(port, "/explain?address=later@domain.com")
    assert (status, b'data-outcome="deferred"' in body) == (200, True)
    assert body.count(b"Temporary error on maildir delivery. (#4.3.0)") == 2, "of the address and of its delivery"


def test_a_search_finds_by_each_fact_and_says_what_is_not_there(port: int, host: Host) -> None:
    since = cursor_of(port)
    sent = mail("Searched in the console")
    send(host, sent, "joe@domain.com", sender="only-once@client.example")
    whole = journey_of(port, "subject=Searched%20in%20the%20console", since)
    uidl = whole["message"]["recipients"][0]["files"][0]["uidl"]
    for fact in (sent["Message-ID"], sent["Message-ID"].strip("<>"), sent["Subject"], uidl, "ONLY-once@client.example"):
        status, _, headers = octets(port, f"/find?q={quote(fact)}")
        assert (status, headers.get("location")) == (303, f"/journeys/{whole['id']}"), fact
    status, body, _ = octets(port, "/find?q=nobody%40nowhere.example")
    assert status == 200
    assert b"Nothing is exactly" in body
    assert b"/explain?address=nobody%40nowhere.example" in body


def test_a_message_and_its_forwarded_copy_are_found_as_one(port: int, host: Host) -> None:
    since = cursor_of(port)
    send(host, mail("Found once"), "sales@domain.com", sender="forwarded-once@client.example")
    of = journey_of(port, "sender=forwarded-once%40client.example", since)["id"]
    status, _, headers = octets(port, "/find?q=forwarded-once@client.example")
    assert (status, headers.get("location")) == (303, f"/journeys/{of}")


def test_the_page_of_a_journey_has_the_evidence_of_each_leg(port: int, host: Host) -> None:
    since = cursor_of(port)
    send(host, mail("Proved"), "sales@domain.com", "nobody@domain.com", sender="joe@domain.com")
    whole = journey_of(port, "subject=Proved", since)
    body = octets(port, f"/journeys/{whole['id']}")[1].decode()
    cards = re.findall(r'<article class="card \w+" data-recipient="([^"]+)">(.*?)</article>', body, re.DOTALL)
    assert [to for to, _ in cards[:2]] == ["nobody@domain.com", "sales@domain.com"], "what went wrong is first"
    [copied] = [one for one in whole["copies"] if one["relation"] == "forward"]
    [file] = copied["recipients"][0]["files"]
    [seen] = [card for _, card in cards if f'data-file="{file["path"]}"' in card]
    for fact in (file["path"], file["uidl"], f"uid {file['uid']}, {file['mode']:04o}"):
        assert fact in seen, fact
    assert hashlib.sha256(host.read(file["path"])).hexdigest() in seen
    assert "starting delivery" in seen
    assert [re.search(r"<td[^>]*>([^<]*)</td></tr></tbody>", card)[1] for _, card in cards] == ["as foretold"] * 4  # type: ignore[index]
    assert f"<code>{file['path'].rsplit('/', 2)[0]}</code>" in cards[1][1], "where the forwarded copy lies"
    assert f'data-journey="{whole["id"]}"' in body


def test_a_message_for_many_is_shown_in_pages(port: int, host: Host) -> None:
    since = cursor_of(port)
    to = [f"nobody-{number:03}@domain.com" for number in range(24)]
    send(host, mail("For many"), "joe@domain.com", *to, sender="joe@domain.com")
    of = journey_of(port, "subject=For%20many&sender=joe%40domain.com", since)["id"]
    seen, path = list[bytes](), f"/journeys/{of}"
    while path:
        page = octets(port, path)
        assert judge(path, *page) == []
        seen += re.findall(rb'data-recipient="([^"]+)"', page[1])
        found = re.search(rb'rel="next" href="([^"]+)"', page[1])
        path = urljoin(path, found[1].decode()).partition("#")[0] if found else ""
    assert sorted(one.decode() for one in seen if one != b"joe@domain.com") == to
    assert seen.count(b"joe@domain.com") == 2, "of the message, and of its bounce"


def test_a_box_has_the_sizes_of_the_disk_and_of_pop3(port: int, host: Host) -> None:
    since = cursor_of(port)
    send(host, mail("Sized"), "joe@domain.com")
    whole = journey_of(port, "subject=Sized", since)
    [file] = whole["message"]["recipients"][0]["files"]
    [of] = whole["brief"]["messages"]
    raw = octets(port, f"/v1/messages/{of}/raw")[1]
    path, rows = "/box?maildir=popboxes/domain-com/joe/Maildir", list[str]()
    while not rows:
        body = octets(port, path)[1].decode()
        rows = re.findall(rf'<tr data-uidl="{re.escape(file["uidl"])}">.*?</tr>', body)
        found = re.search(r'rel="next" href="([^"]+)"', body)
        assert rows or found, "it is on no page of the box"
        path = html.unescape(found[1]) if found else ""
    [row] = rows
    sizes = [int(one) for one in re.findall(r'<td class="number"[^>]*>(\d+)</td>', row)]
    assert sizes == [len(raw), len(raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))]
    assert f"/journeys/{whole['id']}" in row


def test_the_row_of_a_journey_is_what_the_script_puts_in(port: int, host: Host) -> None:
    since = cursor_of(port)
    send(host, mail("Live"), "joe@domain.com")
    of = journey_of(port, "subject=Live", since)["id"]
    status, body, _ = octets(port, f"/rows?ids={of},999999999")
    assert status == 200
    assert re.findall(rb'data-journey="(\d+)"', body) == [str(of).encode()]
    assert re.findall(rb'data-leg="(\w+)" data-state="(\w+)"', body) == [
        (b"SMTP", b"done"), (b"queue", b"done"), (b"Maildir", b"done"), (b"POP3", b"waiting"),
    ]  # fmt: skip
    counted = re.findall(rb'data-count="\w+"', octets(port, "/")[1])
    assert counted[:2] == [b'data-count="waiting"', b'data-count="deferred"']
    assert re.findall(rb'data-count="\w+"', body) == counted
    assert octets(port, "/rows?ids=1,x")[0] == 422


def test_what_waits_and_what_went_wrong_is_counted(port: int, host: Host) -> None:
    def bounced() -> int:
        found = re.search(rb'data-count="bounced"><b>(\d+)</b>', octets(port, "/")[1])
        return int(found[1]) if found else 0

    before = bounced()
    send(host, mail("Counted"), "nobody@domain.com", sender="joe@domain.com")
    until(lambda: bounced() == before + 1)
    until(lambda: b'data-count="waiting"><b>0</b> in the queue' in octets(port, "/")[1])
