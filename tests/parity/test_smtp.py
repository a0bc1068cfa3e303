"""Random SMTP dialogues against the real qmail-smtpd: replies octet by octet, envelope, stored text, exit code.

Intended differences, and no others (see standin/README.md):
- the banner and HELP name the stand-in;
- our Received field says ``(popbox stand-in)``;
- the number after ``qp`` is a message number, not a process id.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.parity.standin_peer import in_namespace, needs_qmail, pack, scratch_copy, unpack, write_controls

from mailhost.standin import header_fields
from mailhost.standin.interfaces import addresses
from mailhost.standin.smtp import address as address_rules
from mailhost.standin.smtp import data as content_rules
from mailhost.standin.smtp import session as smtp
from mailhost.standin.smtp.policy import HostPolicy, Policies

pytestmark = needs_qmail

DIALOGUES = int(os.environ.get("POPBOX_PARITY_DIALOGUES", "700"))
FUZZED = int(os.environ.get("POPBOX_PARITY_FUZZED", "500"))
SEED = int(os.environ.get("POPBOX_PARITY_SEED", "1998"))
AT_ONCE, FEW = 1000, 15  # inputs handed to one namespace; where the first difference is enough
RELAYING = (None, None, None, None, b"", b"@fix")
IP = "127.0.0.1"
CONTROLS = {
    "me": b"mx.example.net\n",
    "rcpthosts": b"d.com\n.sub.org\n# note\nCASE.Net  \n",
    "badmailfrom": b"bad@x.org\n@evil.org\n",
    "databytes": b"400\n",
    "localiphost": b"d.com\n",
}
# NULs, blanks and line ends where they do not belong; the short controls take it from here.
ODD = {
    "me": b"mx.example.net\0zz\n", "smtpgreeting": b" mx \0greets\n",
    "rcpthosts": b"d.com\0sub.org\n\0evil.org\n.d.com\n[]\n",
    "badmailfrom": b"bad@x.org\0\nx-@[]\n@evil.org \t\n", "localiphost": b"d.com\0Tq@q\n", "databytes": b"400\0\n",
}  # fmt: skip
OPEN = {name: text for name, text in CONTROLS.items() if name not in ("rcpthosts", "databytes")}
_NORMAL = [
    (re.compile(rb"220 (.*) ESMTP[^\r]*"), rb"220 \1 ESMTP"),
    (re.compile(rb"(?m)^214 [^\r]*"), rb"214 help"),
    (re.compile(rb"250 ok \d+ qp \d+"), rb"250 ok T qp N"),
    (re.compile(rb"\d+ [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d -0000"), rb"DATE"),
    (re.compile(rb" \(popbox stand-in\)"), rb""),
]


def normal(text: bytes) -> bytes:
    """The text without the intended differences."""
    for pattern, put in _NORMAL:
        text = pattern.sub(put, text)
    return text


@dataclass
class Run:
    """The result of one dialogue; of several messages the last."""

    output: bytes = b""
    status: int = 1  # EOF without QUIT
    message: bytes = b""
    envelope: bytes = b""
    arriving: list[bytes] = field(default_factory=list)


def ours(home: Path, data: bytes, relayclient: bytes | None, rng: random.Random) -> Run:
    """The same through our core, with input split at random places."""
    policy = HostPolicy(Policies(home).snapshot(), IP, addresses())
    policy.__dict__["relayclient"] = relayclient
    session, run = smtp.Session(policy), Run()
    todo = [session.banner]
    envelope = smtp.Envelope(b"", (), None)
    while True:
        for event in todo:
            if isinstance(event, smtp.Reply):
                run.output += event.octets
            elif isinstance(event, smtp.Content):
                run.arriving.append(event.octets)
            elif isinstance(event, smtp.Envelope):
                envelope, run.arriving = event, []
            elif isinstance(event, smtp.Close):
                run.status = event.status
                return run
            elif isinstance(event, smtp.Ended):
                trace = header_fields.received_smtp(header_fields.Peer(IP.encode(), b"here"), envelope.helo, 0)
                run.message = trace + b"".join(run.arriving)
                tos = b"".join(b"T%s\0" % one for one in envelope.recipients)
                run.envelope = b"F%s\0%s\0" % (envelope.sender, tos)
                data, todo = data, session.stored(smtp.Reply(250, (b"ok 1 qp 1",)))
                break
        else:
            if not data:
                return run
            cut = rng.choice((1, 3, 17, 200, 100_000))
            piece, data = data[:cut], data[cut:]
            todo = session.feed(piece)


ADDRESSES = [
    b"<joe@d.com>", b"<JOE@D.COM>", b"joe@d.com", b"<joe@x.sub.org>", b"<joe@sub.org>", b"<joe@other.com>", b"<>",
    b"<bad@x.org>", b"<BAD@X.ORG>", b"<q@evil.org>", b'<"jo e"@d.com>', b'<jo"@"e@d.com>', b"<a\\@b@d.com>",
    b"<@a,@b:joe@d.com>", b"<@domain.com>", b"< joe@d.com>", b"<joe@d.com", b"<joe@d.com.>", b"<joe@>",
    b"<joe@[127.0.0.1]>", b"<joe@[383.0.0.1]>", b"<joe@[127.1]>", b"<joe@[0.0.0.0]>", b"<joe@[127.0.0.1]x>",
    b"<joe@[10.99.98.97]>", b"<root>", b"<a%x@d.com>", b"<a!b@case.net>", b"<\xe9@d.com>", b'<"a>b"@d.com> x',
    b"<joe@d.com> BODY=8BITMIME SIZE=1",
    b"<" + b"x" * 893 + b"@d.com>", b"<" + b"x" * 894 + b"@d.com>", b"<a\0b@d.com>",
    b"<x-@[]>", b"<-@[]>", b"<#@[]>", b"<l-@d.com-@[]>", b"<@>", b"<.@d.com>", b"<joe@.d.com>", b"<joe@d.com\0>",
    b"<\0>",
    b"<joe@.sub.org>", b"<a@b@d.com>", b"<joe@d.com><x@y>", b'<"unclosed@d.com>', b"<back\\>slash@d.com>", b"<joe\\",
]  # fmt: skip
PREFIXES = [b"FROM:", b"TO:", b"to: ", b"From:  ", b"", b"X", b"TO :"]
VERBS = [b"HELO", b"EHLO", b"MAIL", b"RCPT", b"DATA", b"RSET", b"NOOP", b"HELP", b"VRFY", b"QUIT"]
OTHERS = [b"", b" ", b"EXPN x", b"STARTTLS", b"AUTH PLAIN", b"MAIL\tFROM:<a>", b" NOOP", b"N\0OOP", b"NOOP\0x", b"TURN"]
LINES = [
    b"Subject: x", b"", b".", b"..", b".a", b". ", b".\rx", b"a\rb", b"a\r", b".\r", b"Received: x", b"received",
    b"DELIVERED-to", b"Received-SPF: p", b"\xff\0", b"From x", b"long" * 60, b"\r", b"x" * 395,
]  # fmt: skip


def address(rng: random.Random) -> bytes:
    return rng.choice(ADDRESSES) if rng.random() < 0.7 else rng.choice(ADDRESSES[:3])


def command(rng: random.Random, end: bytes) -> bytes:
    chance = rng.random()
    if chance < 0.12:
        return rng.choice(OTHERS) + end
    verb = rng.choice(VERBS[:9] if chance < 0.97 else VERBS)
    verb = verb if rng.random() < 0.8 else verb.lower()
    if verb.upper() in (b"MAIL", b"RCPT"):
        return verb + b" " * rng.choice((1, 1, 2)) + rng.choice(PREFIXES) + address(rng) + end
    argument = rng.choice((b"", b" t", b" unknown", b" a.b (c)", b"  two", b" UNKNOWN"))
    return verb + argument + end


def content(rng: random.Random) -> bytes:
    chance = rng.random()
    if chance < 0.08:
        return b"a\nb\r\n.\r\n"
    if chance < 0.2:
        hops = rng.choice((98, 99, 100, 101))
        return b"Received: x\r\n" * hops + rng.choice((b"\r\n", b"y\r\n")) + b".\r\n"
    if chance < 0.35:
        return b"x" * rng.choice((398, 399, 400)) + b"\r\n.\r\n"
    lines = [line for line in rng.choices(LINES, k=rng.randrange(9)) if line != b"." or rng.random() < 0.05]
    return b"".join(line + b"\r\n" for line in lines) + b".\r\n"


def dialogue(rng: random.Random) -> bytes:
    """A few commands, most of them valid, some content, perhaps no QUIT."""
    parts = []
    for _ in range(rng.randrange(1, 4)):
        end = rng.choice((b"\r\n", b"\r\n", b"\r\n", b"\n"))
        parts += [command(rng, end) for _ in range(rng.randrange(3))]
        parts.append(b"MAIL FROM:" + address(rng) + end)
        parts += [b"RCPT TO:" + address(rng) + end for _ in range(rng.randrange(4))]
        if rng.random() < 0.3:
            parts.append(command(rng, end))
        if rng.random() < 0.6:
            parts.append(b"RCPT TO:<joe@d.com>" + end)
        parts += [b"DATA" + end, content(rng)]
    if rng.random() < 0.8:
        parts.append(b"QUIT\r\n")
    return b"".join(parts)


SPOILING = (b"", b"\0", b"\n", b"\r", b".", b"<", b"@", b'"', b"\\", b" ", b"\xff", b"\r\n.\r\n")


def fuzz(rng: random.Random) -> bytes:
    """A dialogue with octets changed, dropped, doubled or inserted, or random octets."""
    if rng.random() < 0.1:
        return rng.randbytes(rng.randrange(400))
    text = bytearray(dialogue(rng))
    for _ in range(rng.choice((1, 2, 5, 30))):
        place = rng.randrange(len(text) + 1)
        text[place : place + rng.choice((0, 0, 1, 1, 3))] = rng.choice((*SPOILING, rng.randbytes(2)))
    return bytes(text)


@pytest.mark.slow
def test_dialogues_are_answered_as_by_qmail_smtpd(tmp_path: Path) -> None:
    """>= 500 dialogues, each cut differently on our side, with and without RELAYCLIENT."""
    found = differences(tmp_path, DIALOGUES)
    assert not found, f"{len(found)} differences, first:\n" + "\n".join(one[:3000] for one in found[:3])


def test_any_octets_are_answered_as_by_qmail_smtpd(tmp_path: Path) -> None:
    found = differences(tmp_path, FUZZED, fuzz)
    print(f"{FUZZED:,} fuzzed inputs compared with qmail-smtpd")
    assert not found, f"{len(found)} differences, first:\n" + "\n".join(one[:3000] for one in found[:3])


@pytest.mark.parametrize(
    ("module", "name", "wrong"),
    [
        (smtp, "MOST_HOPS", 101),
        (content_rules, "_STUFFED", re.compile(rb"\n\.(?=\.)")),
        (address_rules, "LONGEST", 900),
        (smtp, "FLUSHED", smtp.OK),
        (smtp, "BARE_LF", smtp.Reply(451, (b"see elsewhere",))),
        (header_fields, "_TRACE", bytes(range(256))),
        (smtp, "c_string", bytes),
    ],
)
def test_a_rule_that_is_broken_on_purpose_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str, wrong: object
) -> None:
    assert hasattr(module, name)
    monkeypatch.setattr(module, name, wrong)
    assert differences(tmp_path, 150, first=True)


def differences(
    tmp_path: Path, count: int, make: Callable[[random.Random], bytes] = dialogue, *, first: bool = False
) -> list[str]:
    """What differs in so many inputs that ``make`` makes, shared out to three sets of control files.

    With ``first`` they are taken a few at a time, until one differs.
    """
    rng = random.Random(SEED)
    home, scratch = tmp_path / "home", scratch_copy(tmp_path)
    home.mkdir()
    sets = (CONTROLS, CONTROLS, CONTROLS, OPEN, ODD)
    cases = [(sets[number % len(sets)], make(rng), rng.choice(RELAYING)) for number in range(count)]
    found: list[str] = []
    for controls in (CONTROLS, OPEN, ODD):
        chosen = [(data, relay) for used, data, relay in cases if used is controls]
        for place in (home, scratch):
            write_controls(place, controls)
        step = FEW if first else AT_ONCE
        for start in range(0, len(chosen), step):
            found += _run(home, scratch, chosen[start : start + step], rng)
            if first and found:
                return found
    return found


def _run(home: Path, scratch: Path, chosen: list[tuple[bytes, bytes | None]], rng: random.Random) -> list[str]:
    base = {"TCPREMOTEIP": IP, "TCPLOCALHOST": "here"}
    work = [
        {"input": pack(data), "environment": base if relay is None else {**base, "RELAYCLIENT": relay.decode()}}
        for data, relay in chosen
    ]
    answers = in_namespace(scratch, Path(__file__).with_name("standin_smtpd_run.py"), work)
    found: list[str] = []
    for (data, relay), answer in zip(chosen, answers, strict=True):
        found += compare(data, ours(home, data, relay, rng), parsed(answer))
    return found


def parsed(answer: dict[str, Any]) -> Run:
    """What the runner in the namespace reports."""
    return Run(unpack(answer["output"]), answer["status"], unpack(answer["message"]), unpack(answer["envelope"]))


def compare(data: bytes, mine: Run, theirs: Run) -> list[str]:
    """The differences, without the intended ones."""
    result = []
    pairs = [("output", mine.output, theirs.output), ("envelope", mine.envelope, theirs.envelope)]
    for name, one, other in [*pairs, ("message", mine.message, theirs.message)]:
        if normal(one) != normal(other):
            result.append(f"{name} of {data!r}:\n ours   {normal(one)!r}\n theirs {normal(other)!r}")
    if mine.status != theirs.status:
        result.append(f"status of {data!r}: ours {mine.status}, theirs {theirs.status}")
    return result
