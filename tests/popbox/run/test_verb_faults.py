"""Verbs x faults: for each verb every way in which a host or a peer can be wrong about it, and the words that say so.

The hosts are fakes and the peers scripted, since real programs do none of this; what they do do is in test_faults.py.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.popbox.fakehost import FakeHost, entry
from tests.popbox.peer import peer

from popbox.clients.smtp import Receipt, Reply
from popbox.hosts.base import Found, Ran
from popbox.ledger import TOKEN_FIELD
from popbox.run.runner import Run
from popbox.run.verbs import Sent
from popbox.scenario.load import load
from popbox.scenario.steps import STEP_VERBS

MESSAGE = f"{TOKEN_FIELD}: pb-1\nSubject: x\n\nHello.\n".encode()
WHOLE = b"Return-Path: <a@b.example>\n" + MESSAGE
BOUNCE = b"Return-Path: <>\n\nSorry, no mailbox here.\n--- Below this line is a copy of the message.\n" + MESSAGE
TAKEN = (
    "new msg 7\ninfo msg 7: bytes 9 from <a@b.example> qp 9 uid 1\nstarting delivery 1: msg 7 to local joe@d.example\n"
)
DEFERRED = TAKEN + "delivery 1: deferral: Disk_trouble./\n"
DONE = TAKEN + "delivery 1: success: did_1+0+0/\nend msg 7\n"
SMTP = [b"220 x\r\n", b"250 x\r\n", b"250 ok\r\n"]  # the greeting, and the answers to EHLO and MAIL
LOGIN = [b"+OK hi\r\n", b"+OK\r\n", b"+OK\r\n"]
WIRED = WHOLE.replace(b"\n", b"\r\n")
OTHER = WIRED.replace(b"Hello", b"Hullo")


def files(*octets: bytes, mode: int = 0o600, uid: int = 888) -> list[Found]:
    return [Found(entry(f"new/{number}.2.mx", mode, uid), one) for number, one in enumerate(octets)]


def pop3(*messages: bytes) -> list[bytes]:
    """A session that lists messages; then TOP and RETR are asked for each, the newest first."""
    listing = b"".join(b"%d %d\r\n" % (number, len(one)) for number, one in enumerate(messages, 1))
    turns = [b"+OK\r\n" + one + b".\r\n" for one in reversed(messages)]
    heads = [b"+OK\r\n" + one.partition(b"\r\n\r\n")[0] + b"\r\n\r\n.\r\n" for one in reversed(messages)]
    return [
        *LOGIN,
        b"+OK\r\n" + listing + b".\r\n",
        *(turn for pair in zip(heads, turns, strict=True) for turn in pair),
    ]


BEFORE = """
title = "t"
needs = { own-host = true }
[[step]]
send = { from = "a@b.example", to = ["joe@d.example"] }
[[step]]
break = { id = "frozen", pause = "smtp" }
[[step]]
within-s = 0.2
"""


@dataclass
class Case:
    """A step that must fail, why, and the words of the verdict."""

    verb: str
    fault: str
    step: str
    words: str
    host: FakeHost = field(default_factory=FakeHost)
    logs: dict[str, str] = field(default_factory=dict)  # service -> what it logs in this run
    says: dict[str, list[bytes]] = field(default_factory=dict)  # service -> script of its peer
    silent: bool = False  # the peer says nothing more after its script, and does not hang up
    sent: bool = True  # the message was accepted


DELIVERED = 'expect-delivered = { mailbox = "joe@d.example" }'
RETRIEVED = 'expect-retrieved = { login = "joe", password = "pw" }'
BOUNCED = 'expect-bounce = { mailbox = "joe@d.example", says = "no mailbox" }'
SEND = 'send = { id = "new", from = "a@b.example", to = ["joe@d.example"] }'
REFUSED = SEND.replace(" }", ', refused = "553" }')
TELNET = "telnet = '''\nS: +OK hi\nC: STAT\nS: +OK 1 9\n'''"
RAN = Ran((), 3, "joe\n", "wrong\n")

CASES = [
    Case("declare", "ends otherwise", 'declare = { argv = ["lint"] }', "ended with 3", FakeHost(ran=RAN)),
    Case(
        "declare",
        "says something else",
        'declare = { argv = ["x"], code = 3, says = "eve" }',
        "with 3",
        FakeHost(ran=RAN),
    ),
    Case("shell", "ends otherwise", 'shell = { script = "true" }', "the script ended with 3", FakeHost(ran=RAN)),
    Case("shell", "says else", 'shell = { script = "x", code = 3, says = "eve" }', "with 3", FakeHost(ran=RAN)),
    Case("explain", "delivered, not refused", 'explain = { address = "j@d", delivered = false }', "ended with 0"),
    Case("explain", "other way", 'explain = { address = "j@d", says = "eve" }', "ended with 0"),
    Case("send", "no one listens", SEND, "smtp has no port"),
    Case("send", "refused", SEND, "refused at RCPT TO.*: 553 no", says={"smtp": [*SMTP, b"553 no\r\n", b"221 x\r\n"]}),
    Case(
        "send",
        "accepted, not refused",
        REFUSED,
        "250 ok qp 9",
        says={"smtp": [*SMTP, b"250 ok\r\n", b"354 go\r\n", *[b""] * 6, b"250 ok qp 9\r\n", b"221\r\n"]},
    ),
    Case("send", "refused otherwise", REFUSED, "421 later", says={"smtp": [*SMTP, b"421 later\r\n", b"221 x\r\n"]}),
    Case("send", "hangs up", SEND, "(closed|broke) the connection", says={"smtp": SMTP[:2]}),
    Case("send", "falls silent", SEND, "the reply to RCPT.* last seen", says={"smtp": SMTP}, silent=True),
    Case("send", "no SMTP", SEND, "which is no SMTP reply", says={"smtp": [b"hello\r\n"]}),
    Case(
        "send",
        "dialogue: another answer",
        "send = { id = 'new', dialogue = '''\nS: 220 x\nC: NOOP\nS: 250 ok\n''' }",
        "line 3: expected '250 ok', but the server said '500 what'",
        says={"smtp": [b"220 x\r\n", b"500 what\r\n"]},
    ),
    Case("expect-delivered", "never accepted", DELIVERED, "was never accepted", sent=False),
    Case("expect-delivered", "nothing there", DELIVERED, "no file in popboxes/domain-com/joe/Maildir/new"),
    Case("expect-delivered", "twice", DELIVERED, "delivered 2 times", FakeHost(found=files(WHOLE, WHOLE))),
    Case(
        "expect-delivered",
        "octets changed",
        DELIVERED,
        "does not end with the octets that were sent",
        FakeHost(found=files(WHOLE.replace(b"Hello", b"Hullo"))),
    ),
    Case("expect-delivered", "truncated", DELIVERED, "does not end with the octets", FakeHost(found=files(WHOLE[:-1]))),
    Case("expect-delivered", "another's", DELIVERED, "belongs to uid 0, not 888", FakeHost(found=files(WHOLE, uid=0))),
    Case("expect-delivered", "open", DELIVERED, "mode 0644: others may", FakeHost(found=files(WHOLE, mode=0o644))),
    Case(
        "expect-delivered", "MTA ended", DELIVERED, "no file in", FakeHost(ended={"smtp": "gone"}, ill=["smtp: gone"])
    ),
    Case(
        "expect-nothing",
        "it is there",
        DELIVERED.replace("delivered", "nothing"),
        "holds it: new/0",
        FakeHost(found=files(WHOLE)),
        {"smtp": DONE},
    ),
    Case(
        "expect-nothing",
        "still under way",
        DELIVERED.replace("delivered", "nothing"),
        "is not done with the message",
        logs={"smtp": TAKEN},
    ),
    Case("expect-bounce", "none", BOUNCED, "no bounce in"),
    Case("expect-bounce", "no bounce but mail", BOUNCED, "no bounce in", FakeHost(found=files(WHOLE))),
    Case("expect-bounce", "two", BOUNCED, r"2 bounce\(s\)", FakeHost(found=files(BOUNCE, BOUNCE))),
    Case(
        "expect-bounce",
        "other words",
        BOUNCED.replace("no mailbox", "no host"),
        "1 bounce",
        FakeHost(found=files(BOUNCE)),
    ),
    Case("expect-deferred", "delivered", 'expect-deferred = { says = "." }', "in success", logs={"smtp": DONE}),
    Case(
        "expect-deferred",
        "other words",
        'expect-deferred = { says = "full" }',
        "deferral: Disk trouble",
        logs={"smtp": DEFERRED},
    ),
    Case("expect-retrieved", "never accepted", RETRIEVED, "was never accepted", sent=False),
    Case(
        "expect-retrieved",
        "login refused",
        RETRIEVED,
        r"PASS \*+: -ERR no",
        says={"pop3": [*LOGIN[:2], b"-ERR no\r\n"]},
    ),
    Case(
        "expect-retrieved",
        "not listed",
        RETRIEVED,
        "hand it out: .*(carries the token|cannot connect)",
        says={"pop3": pop3()},
    ),
    Case("expect-retrieved", "octets changed", RETRIEVED, "RETR 1 does not end with", says={"pop3": pop3(OTHER)}),
    Case("expect-retrieved", "listed twice", RETRIEVED, "listed 2 times: 2, 1", says={"pop3": pop3(WIRED, WIRED)}),
    Case("expect-retrieved", "no one listens", RETRIEVED, "pop3 has no port"),
    Case(
        "telnet",
        "another line",
        TELNET,
        r"line 3: expected '\+OK 1 9'.*said '\+OK 2 9'",
        says={"pop3": [b"+OK hi\r\n", b"+OK 2 9\r\n"]},
    ),
    Case("telnet", "hangs up", TELNET, "line 3: .*(closed|broke) the connection", says={"pop3": [b"+OK hi\r\n"]}),
    Case("telnet", "falls silent", TELNET, "line 3: .*last seen: C: STAT", says={"pop3": [b"+OK hi\r\n"]}, silent=True),
    Case(
        "telnet",
        "too quick",
        "telnet = { transcript = 'S: +OK', at-least-s = 2 }",
        "2 s at least",
        says={"pop3": [b"+OK\r\n"]},
    ),
    Case(
        "telnet",
        "too slow",
        "telnet = { transcript = 'S: +OK', less-than-s = 1e-9 }",
        "less than",
        says={"pop3": [b"+OK\r\n"]},
    ),
    Case(
        "maildir",
        "too many",
        'maildir = { mailbox = "j@d", new = 0, cur = 0 }',
        "new 1, cur 0",
        FakeHost(found=files(WHOLE)),
    ),
    Case("file", "absent", 'file = { path = "a", has = "x" }', "No such file"),
    Case("file", "lacks it", 'file = { path = "a", has = "x" }', "nothing in it matches", FakeHost(files={"a": b"y"})),
    Case("file", "has it", 'file = { path = "a", lacks = "y" }', "it holds 'y'", FakeHost(files={"a": b"y"})),
    Case("file", "mode", 'file = { path = "a", mode = "0600" }', "mode is 0644", FakeHost(files={"a": b""})),
    Case(
        "write", "cannot", 'write = { path = "a", text = "x" }', "read-only", FakeHost(broken="read-only file system")
    ),
    Case("log", "does not say", 'log = { service = "smtp", says = "x" }', "does not say 'x'"),
    Case(
        "log",
        "says too much",
        'log = { service = "smtp", says = "y", never = "pw" }',
        "says 'pw'",
        logs={"smtp": "y pw"},
    ),
    Case("break", "it lives on", 'break = { kill = "smtp" }', "kill smtp: it still runs"),
    Case(
        "break",
        "no such line",
        'break = { drop-line = { a = "x" } }',
        "a has no line 'x'",
        FakeHost(files={"a": b"y\n"}),
    ),
    Case("break", "cannot", 'break = { pause = "smtp" }', "not allowed", FakeHost(broken="not allowed")),
    Case("heal", "does not come back", 'heal = "frozen"', "smtp does not answer: .*no port"),
    Case("wait-until", "no answer", 'wait-until = { answers = "pop3" }', "pop3 does not answer"),
    Case(
        "wait-until",
        "wrong greeting",
        'wait-until = { answers = "pop3" }',
        "does not answer",
        says={"pop3": [b"-ERR\r\n"]},
    ),
    Case(
        "wait-until",
        "still answers",
        'wait-until = { silent = "pop3" }',
        "still greets|cannot connect",
        says={"pop3": [b"+OK hi\r\n", b"+OK\r\n"]},
    ),
    Case("wait-until", "never done", 'wait-until = { done = "message" }', "not done", logs={"smtp": DEFERRED}),
    Case("restart", "not ready", 'restart = "smtp"', "not ready in time", FakeHost(broken="smtp: not ready in time")),
    Case("hup", "no process", 'hup = "smtp"', "no such process", FakeHost(broken="no such process")),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.verb}: {case.fault}")
def test_a_fault_is_caught_and_named(case: Case, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(BEFORE + case.step + "\n")
    file = load(tmp_path / "x.toml")
    with ExitStack() as stack:
        for service, script in case.says.items():
            heard = stack.enter_context(peer(script, linger=case.silent, repeat=True))
            case.host.serves[service] = heard.address
        going = Run(file, case.host)
        case.host.logs = case.logs
        if case.sent:
            going.context.sent["message"] = accepted()
            going.context.offered.append(going.context.sent["message"])
        going.take(file.scenario.step[1])
        seen = going.take(file.scenario.step[-1]).seen
    assert not seen.passed
    assert re.search(case.words, seen.said + seen.hint, re.DOTALL), seen.said


def test_a_service_that_greets_no_more_is_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at a frozen one takes two seconds."""
    looks = iter(["it did not answer"])
    monkeypatch.setattr("popbox.run.verbs.faults.greets", lambda _host, _service: next(looks))
    (tmp_path / "x.toml").write_text(f'{BEFORE}wait-until = {{ silent = "pop3" }}\n')
    file = load(tmp_path / "x.toml")
    seen = Run(file, FakeHost()).take(file.scenario.step[-1]).seen
    assert (seen.passed, seen.said) == (True, "it did not answer")


def accepted() -> Sent:
    receipt = Receipt(True, "DATA", Reply(250, ("ok 1 qp 9",)), ())
    return Sent("message", "pb-1", MESSAGE, "a@b.example", ("joe@d.example",), (), 1, receipt=receipt)


def test_every_verb_has_a_fault_that_it_catches() -> None:
    assert {case.verb for case in CASES} == set(STEP_VERBS)
