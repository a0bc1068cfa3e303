"""Messages sent through the API, on host local: what arrives, what is told, and what cannot be smuggled."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.popbox.serve.api import Api
from tests.popbox.standin import standin

from popbox.hosts.base import Host
from popbox.journey.model import Kind
from popbox.journey.store import Filters
from popbox.message.parse import parse


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with standin(tmp_path_factory.mktemp("state")) as up, Api(up, tmp_path_factory.mktemp("s")) as api:
        yield api


@pytest.fixture(scope="module")
def space(api: Api) -> Any:
    return api.space()


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true() and time.monotonic() < deadline:
        time.sleep(0.05)


def filed(host: Host, needle: str) -> list[bytes]:
    """The files that hold a text, once there is one and the queue is empty."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (
        host.search((needle,)) and host.run("queue", "list", "--json").stdout == "[]\n"
    ):
        time.sleep(0.05)
    return [one.octets for one in host.search((needle,))]


def test_fields_become_a_message_with_a_journey_of_its_own(api: Api, space: Any) -> None:
    picture = bytes(range(256))
    status, receipt = api.post("/v1/messages", {
        "from": "shop@a.example", "to": [f"joe@{space['domain']}"], "subject": "Grüße ✓", "text": "line\n.dot\n",
        "html": "<a href='https://x.example/?a=1'>go</a>",
        "attachments": [{"name": "pïc.png", "type": "image/png", "content": base64.b64encode(picture).decode()}],
    }, popbox_space=space["token"])  # fmt: skip
    assert (status, receipt["accepted"], receipt["refused"], receipt["command"]) == (200, True, [], "DATA"), receipt
    assert receipt["dialogue"][-2].startswith("C: .") or "C: ." in receipt["dialogue"]
    [sent] = [one for one in api.store.events_of(receipt["journey"]) if one.kind is Kind.SENT]
    dialogue = sent.fields["dialogue"]
    assert (dialogue[0][:6], dialogue[-1][:6]) == ("S: 220", "S: 221")
    assert [one for one in dialogue if "of the message" in one] == [dialogue[dialogue.index("C: .") - 1]]
    [octets] = filed(api.host, receipt["message_id"])
    mail = parse(octets)
    assert (mail.subject, mail.header("From")) == ("Grüße ✓", "shop@a.example")
    assert ".dot" in mail.text
    assert [(one.name, one.sha256) for one in mail.attachments] == [("pïc.png", hashlib.sha256(picture).hexdigest())]
    deadline = time.monotonic() + 60
    while not (journey := api.store.journey(receipt["journey"])).ended and time.monotonic() < deadline:  # type: ignore[union-attr]
        time.sleep(0.05)
    assert journey is not None
    assert (journey.end.value, journey.message.message_id) == ("delivered exactly once", receipt["message_id"])
    assert receipt["journey"] > receipt["cursor"]
    assert api.store.search(Filters(message_id=receipt["message_id"])) == (receipt["journey"],)
    assert [one.kind for one in api.store.events_about(receipt["journey"])].count(Kind.SENT) == 1


def test_a_send_joins_the_journey_however_early_the_log_is_read(api: Api, space: Any) -> None:
    """The recorder runs beside; each message has one journey, with its sender's side and the log's."""
    made = [
        api.post("/v1/messages", {"to": [f"n{number}@{space['domain']}"], "text": f"number {number}"})[1]["journey"]
        for number in range(30)
    ]
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not all(api.store.journey(one).ended for one in made):  # type: ignore[union-attr]
        time.sleep(0.05)
    for number, one in enumerate(made):
        assert api.store.search(Filters(to=f"n{number}@{space['domain']}")) == (one,)
        assert {event.kind for event in api.store.events_about(one)} >= {Kind.SENT, Kind.QUEUED, Kind.ENDED}
    assert len(set(made)) == 30


def test_a_recipient_that_is_refused_is_told_and_the_others_get_it(api: Api, space: Any) -> None:
    to = [f"one@{space['domain']}", "x@elsewhere.example"]
    status, receipt = api.post("/v1/messages", {"to": to, "raw": "Subject: both-of-them\n\n"})
    assert (status, receipt["accepted"]) == (200, True)
    [refused] = receipt["refused"]
    assert (refused["address"], refused["reply"][:3]) == ("x@elsewhere.example", "553")
    assert len(filed(api.host, "both-of-them")) == 1
    status, receipt = api.post("/v1/messages", {"to": to[1:], "text": "x"})
    assert (status, receipt["accepted"], receipt["command"]) == (200, False, "RCPT TO:<x@elsewhere.example>")
    journey = api.store.journey(receipt["journey"])
    assert journey is not None
    assert (journey.end.value, journey.ended) == ("smtp", True)
    assert receipt["journey"] not in api.store.unfinished()


def test_raw_octets_arrive_as_they_are_and_smuggle_nothing(api: Api, space: Any) -> None:
    for number, end in enumerate(("\r\n.\r\n", "\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\r\r\n.\r\r\n")):
        needle = f"smuggle-{number}"
        inner = f"MAIL FROM:<evil@x.example>\r\nRCPT TO:<two@{space['domain']}>\r\nDATA\r\n"
        raw = f"Subject: {needle}\r\n\r\nfirst{end}{inner}"
        status, receipt = api.post("/v1/messages", {"to": [f"one@{space['domain']}"], "raw": raw})
        assert (status, receipt["accepted"]) == (200, True), receipt
        [octets] = filed(api.host, needle)
        assert octets.endswith(raw.replace("\r\n", "\n").encode()), "the whole of it is content"
    assert not api.store.search(Filters(sender="evil@x.example"))
    binary = b"Subject: binary-octets\n\n" + bytes(range(256)).replace(b"\r\n", b"")
    api.post("/v1/messages", {"to": [f"one@{space['domain']}"], "raw_base64": base64.b64encode(binary).decode()})
    assert filed(api.host, "binary-octets")[0].endswith(binary + b"\n")


@pytest.mark.parametrize(
    "change",
    [
        {"to": []}, {"to": [""]}, {"to": "joe@x"}, {"to": ["a@x\r\nDATA"]}, {"to": ["a@x\nb"]}, {"to": ["a@x\r"]},
        {"to": ["a@x> NOTIFY=NEVER"]}, {"to": ["a@x>"]}, {"to": ["<a@x"]}, {"to": ["a@x\x00"]}, {"to": ["\ud800@x"]},
        {"to": ["a b@x"]}, {"to": ["a" * 901]}, {"to": ["a@x"] * 101}, {"from": "a@x\r\nRCPT TO:<b@y>"}, {"from": None},
        {"from": "a@x> SIZE=1"}, {"subject": "a\r\nBcc: b@y"}, {"subject": "a\nb"}, {"subject": "\x00"},
        {"subject": "\ud800"}, {"text": "\ud800"}, {"text": 7}, {"bcc": ["x"]}, {"raw": "x", "text": "x"},
        {"raw": "x", "raw_base64": "eA=="},
        {"raw_base64": "not base64"}, {"raw_base64": "é"}, {"raw": "\ud800"},
        {"attachments": [{"name": "a\r\nb: c", "content": ""}]}, {"attachments": [{"name": "a", "content": "*"}]},
        {"attachments": [{"name": "a", "content": "", "type": "text/x\r\nb: c"}]}, {"attachments": [{"content": ""}]},
        {"attachments": [{"name": "a", "content": "", "type": "multipart"}]}, {"attachments": "x"},
    ],
)  # fmt: skip
def test_what_cannot_be_sent_is_refused_and_nothing_is_sent(api: Api, space: Any, change: dict[str, Any]) -> None:
    before = len([one for one in api.store.events_since(0) if one.kind is Kind.SENT])
    status, said = api.post("/v1/messages", {"to": [f"one@{space['domain']}"], **change})
    assert (status, set(said)) == (422, {"error", "hint", "evidence", "host", "mta"}), said
    assert len([one for one in api.store.events_since(0) if one.kind is Kind.SENT]) == before


def test_a_space_sends_to_itself_only(api: Api, space: Any) -> None:
    other = api.space()
    to = [f"a@{space['domain']}", f"b@{other['domain']}"]
    status, said = api.post("/v1/messages", {"to": to, "text": "x"}, popbox_space=space["token"])
    assert (status, said["evidence"]) == (403, [to[1]])
    assert api.post("/v1/messages", {"to": to, "text": "x"})[0] == 200
    api.delete(f"/v1/spaces/{other['space']}")


def test_a_server_that_is_down_is_told(api: Api, space: Any) -> None:
    api.host.stop("smtp")
    try:
        status, said = api.post("/v1/messages", {"to": [f"a@{space['domain']}"], "text": "x"})
    finally:
        api.host.restart("smtp", time.monotonic() + 60)
    assert (status, said["error"], said["evidence"][0]) == (503, "SMTP broke off", "at connect")
