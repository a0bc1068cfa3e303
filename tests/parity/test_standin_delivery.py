"""Random boxes, .qmail files and messages through real qmail and the stand-in: files, headers, bounces, reports.

Intended differences, and no others (see standin/README.md): the queue's Received field and the one of SMTP name the
stand-in; the first paragraph of a bounce is our own text; file names in Maildirs; numbers after ``qp``; dates.
"""

from __future__ import annotations

import os
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.parity.standin_peer import in_namespace, needs_qmail, pack, scratch_copy, unpack

pytestmark = [*needs_qmail, pytest.mark.slow]

BOXES = int(os.environ.get("POPBOX_PARITY_BOXES", "330"))
SEED = int(os.environ.get("POPBOX_PARITY_SEED", "888"))
_NORMAL = [
    (
        re.compile(rb"Received: \((?:qmail|popbox stand-in) \d+ invoked ([a-z ]+?)(?: \d+|alias)?\);"),
        rb"Received: (\1);",
    ),
    (re.compile(rb"\(by alias\)"), rb"(by uid)"),
    (re.compile(rb" \(popbox stand-in\) with SMTP"), rb" with SMTP"),
    (re.compile(rb"\d+ [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d -0000"), rb"DATE"),
    (re.compile(rb"(From \S+ )[A-Z][a-z]{2} [A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d \d{4}"), rb"\1DATE"),
    (re.compile(rb"(?s)\nHi\. This is the .*?\n\n(?=<|---)"), rb"\nHI\n\n"),
    (re.compile(rb"qp[ _]\d+"), rb"qp N"),
]
LINES = [
    b"./Maildir/", b"./Maildir/", b"./Mailbox", b"&p-x@d.com", b"&list@d.com", b"q@remote.example", b"# note", b"",
    b"|exit 0", b"|echo said; exit 99", b"|exit 100", b"|echo no; exit 64", b"|exit 1", b"|kill -9 $$", b"|cat >> prog",
    b"|env | grep -E '^(USER|HOME|LOCAL|HOST.?|RECIPIENT|SENDER|NEWSENDER|EXT.?|DEFAULT|DTLINE|RPLINE)=' | sort > env",
    b"./Missing/", b"./Maildir", b"+list", b"&", b" ./Maildir/", b"./Maildir/  ", b"./nowhere/mbox", b"&trash",
    b"/dev/null", b"./fifo", b"./loop", b"&p-x@d.com\0Tq@d.com", b"&" + b"a" * 996 + b"@d.com",
    b"&" + b"a" * 997 + b"@d.com", b"./Maildir\0x/", b"./mb\0x", b"|echo nul\0 >out", b"&nobody", b"joe",
    b"./" + b"n" * 300, b"&@d.com", b"&p-x@.d.com", b"|printf x; exit 100", b"|printf '\\n\\nx\\n\\n'; exit 100",
    b"|printf 'x\\n\\n\\n\\ny'; exit 64", b"|printf x; exit 111", b"|printf x", b"|printf '\\n'; exit 100",
    b"|printf 'a\\0b\\n'; exit 100", b"|head -c 5000 /dev/zero | tr '\\0' y; exit 100",
]  # fmt: skip
EXTENSIONS = [".qmail-default", ".qmail-x", ".qmail-x-default", ".qmaildefault", ".qmail-a:b"]
OWNERS = [".qmail-owner", ".qmail-owner-default", ".qmail-x-owner"]
LOCALS = [b"b%03d"] * 3 + [b"B%03d", b"b%03d-x", b"b%03d-x-Y", b"b%03d-A.b", b"b%03dy", b"gone%03d"]
HEADER = [b"Subject: x", b"Delivered-To: p-b%03d@d.com", b"Return-Path: <old>", b"Received: y"]
BODY = [b"From me", b">From you", b"", b"text", b".", b"\xff", b"> From x", b"a\rb", b"long" * 300]
SENDERS = [b"s%03d@d.com"] * 6 + [b"", b"a b%03d@x.org", b'q"%03d@x.org', b"\xe9%03d@x.org", b"#@[]",
           b"list%03d-@d.com-@[]", b"plain%03d", b".dot%03d@x.org", b"x%03d-@[]", b"-@[]", b"#@[]-@[]",
           b"x%03d@-@[]"]  # fmt: skip


def normal(text: bytes) -> bytes:
    """Without the intended differences; failures in one order, because either of two deliveries may end first."""
    for pattern, put in _NORMAL:
        text = pattern.sub(put, text)
    return re.sub(rb"(?s)(?<=\nHI\n\n).*?(?=--- Below)", lambda found: sorted_paragraphs(found[0]), text)


def sorted_paragraphs(text: bytes) -> bytes:
    return b"".join(sorted(re.split(rb"(?m)^(?=<[^\n]*>:\n)", text)))


def dot_qmail(rng: random.Random) -> bytes:
    lines = rng.choices(LINES, k=rng.choice((0, 1, 1, 1, 2, 3)))
    if rng.random() < 0.5:
        lines.insert(0, b"./Maildir/")
    return b"".join(line + b"\n" for line in lines)


def box(rng: random.Random, number: int) -> dict[str, Any]:
    names = [".qmail"] if rng.random() < 0.9 else []
    names += rng.sample(EXTENSIONS, rng.randrange(3)) + rng.sample(OWNERS, rng.choice((0, 0, 1, 2)))
    modes = [0o644] * 12 + [0o600, 0o660, 0o646, 0o744]
    return {
        "name": f"b{number:03}",
        "files": {name: (pack(dot_qmail(rng)), rng.choice(modes)) for name in names},
        "mode": rng.choice([0o700] * 16 + [0o755, 0o770, 0o777, 0o1700, 0o300]),
    }


def assign(rng: random.Random, number: int) -> bytes:
    home = b"/var/qmail/popboxes/b%03d" % number
    uid = rng.choice([b"888"] * 30 + [b"0", b"abc"])
    home = rng.choice([home] * 30 + [b"relative", b"/nonexistent"])
    line = b"=p-b%03d:popuser:%s:888:%s:::\n" % (number, uid, home)
    kind = rng.randrange(4)
    if kind == 1:
        line += b"+p-b%03d-:popuser:888:888:%s:-::\n" % (number, home)
    elif kind == 2:
        line += b"+p-b%03d:popuser:888:888:%s:::\n" % (number, home)
    return line


def message(rng: random.Random, number: int) -> dict[str, Any]:
    local = rng.choice(LOCALS) % number
    to = [local + rng.choice([b"@d.com", b"@d.com", b"@D.com", b"@Sub.d.com", b"@.d.com"])]
    if rng.random() < 0.15:
        to.append(rng.choice([b"nobody%03d@d.com", b"special%03d@d.com"]) % number)
    header = [one % number if b"%" in one else one for one in rng.sample(HEADER, 2)]
    lines = [*header, b"", *rng.choices(BODY, k=rng.randrange(6))]
    sender = rng.choice(SENDERS)
    return {
        "sender": pack(sender % number if b"%03d" in sender else sender),
        "to": [pack(one) for one in to],
        "text": pack(b"".join(line + b"\n" for line in lines)),
    }


def world(rng: random.Random) -> dict[str, Any]:
    senders = b"".join(b"=p-s%03d:popuser:888:888:/var/qmail/popboxes/s:::\n" % n for n in range(BOXES))
    entries = b"".join(assign(rng, number) for number in range(BOXES))
    catch = b"=p-list:popuser:888:888:/var/qmail/popboxes/s:::\n=dbl:popuser:888:888:/var/qmail/popboxes/s:::\n"
    catch += b"".join(b"+p-list%03d-:popuser:888:888:/var/qmail/popboxes/s:::\n" % n for n in range(BOXES))
    files = {
        "control/me": b"mx.example.net\n", "control/locals": b"mx.example.net\n", "control/concurrencyremote": b"0\n",
        "control/virtualdomains": b"d.com:p\n.d.com:p\nspecial1@d.com:zz\n", "control/doublebounceto": b"dbl\n",
        "control/defaultdelivery": b"./Mailbox\n|printf default\n\n",
        "users/assign": entries + senders + catch + b".\n",
    }  # fmt: skip
    catcher = {
        "name": "s",
        "files": {name: (pack(b"./Maildir/\n"), 0o644) for name in (".qmail", ".qmaildefault")},
        "mode": 0o700,
    }
    return {
        "files": {name: pack(text) for name, text in files.items()},
        "boxes": [box(rng, number) for number in range(BOXES)] + [catcher],
        "messages": [message(rng, number) for number in range(BOXES)],
    }


def deliveries(log: str) -> Counter[tuple[str, str, str]]:
    """(address, outcome, report) of each attempt."""
    started = dict(re.findall(r"starting delivery (\d+): msg \d+ to (\w+ .*)", log))
    ended = re.findall(r"delivery (\d+): (success|failure|deferral): (.*)", log)
    return Counter((started[one], how, normal(text.encode()).decode()) for one, how, text in ended)


def files(tree: list[Any]) -> Counter[tuple[str, int, bytes]]:
    """(place, mode, normalised content); a Maildir file's own name does not count."""
    placed = ((re.sub(r"(Maildir/\w+)/.*", r"\1", name), mode, normal(unpack(text))) for name, mode, text in tree)
    return Counter(placed)


def test_deliveries_end_as_with_qmail(tmp_path: Path) -> None:
    """>= 300 deliveries: the same files with the same octets, the same reports, the same bounces."""
    work = world(random.Random(SEED))
    script = Path(__file__).with_name("standin_deliver_run.py")
    answers = [in_namespace(scratch_copy(tmp_path / mta), script, {**work, "mta": mta}) for mta in ("qmail", "standin")]
    theirs, mine = answers
    assert all(theirs["taken"])
    ended, bounces = deliveries(theirs["log"]), theirs["log"].count("\nbounce msg ")
    print(f"{sum(ended.values())} deliveries, {bounces} bounces, {len(theirs['tree'])} files compared with real qmail")
    assert sum(ended.values()) >= 300
    assert bounces >= 50
    report = differences(theirs, mine)
    assert not report, f"{len(report)} differences\n" + "\n".join(sorted(report, key=lambda line: line[12:])[:40])


def differences(theirs: dict[str, Any], mine: dict[str, Any]) -> list[str]:
    """What only one of the two MTAs did."""
    logs = [deliveries(one["log"]) for one in (theirs, mine)]
    trees = [files(one["tree"]) for one in (theirs, mine)]
    report = [] if theirs["taken"] == mine["taken"] else ["not the same messages were taken"]
    report += [f"only qmail: {one}" for one in (logs[0] - logs[1]) + (trees[0] - trees[1])]
    return report + [f"only ours:  {one}" for one in (logs[1] - logs[0]) + (trees[1] - trees[0])]


BOUNCE = b"""Return-Path: <>
Received: (qmail 7 invoked for bounce); 1 Jan 2026 00:00:00 -0000

Hi. This is the first paragraph.

<joe@d.com>:
Sorry, no mailbox here by that name. (#5.1.1)

--- Below this line is a copy of the message.

Return-Path: <s@d.com>
"""
LOG = "starting delivery 1: msg 5 to local p-joe@d.com\ndelivery 1: failure: Sorry/\n"


@pytest.mark.parametrize(
    ("there", "wrong"),
    [
        (b"<joe@d.com>:", b"<p-joe@d.com>:"), (b"(#5.1.1)", b"(#5.1.0)"), (b"Return-Path: <>", b"Return-Path: <x>"),
        (b"\n\nReturn", b"\nReturn"), (b"for bounce", b"from network"), (b"is a copy", b"was a copy"),
        (LOG.encode(), LOG.replace("failure", "deferral").encode()), (LOG.encode(), LOG.replace("p-", "q-").encode()),
        (b"", b"mode"),
    ],
)  # fmt: skip
def test_what_another_mta_does_wrong_is_found(there: bytes, wrong: bytes) -> None:
    def answer(log: str, text: bytes, mode: int = 0o600) -> dict[str, Any]:
        return {"taken": [True], "log": log, "tree": [("popboxes/s/Maildir/new/1.2.h", mode, pack(text))]}

    theirs = answer(LOG, BOUNCE)
    assert not differences(theirs, answer(LOG, BOUNCE.replace(b"(qmail 7 ", b"(popbox stand-in 9 ")))
    log = LOG.encode().replace(there, wrong).decode() if there else LOG
    text = BOUNCE.replace(there, wrong) if there else BOUNCE
    assert differences(theirs, answer(log, text, 0o644 if wrong == b"mode" else 0o600))
