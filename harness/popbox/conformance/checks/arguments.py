"""Message numbers that are none (RFC 1939 §3, §5): each verb that takes one, with each way to be wrong."""

from __future__ import annotations

from popbox.conformance.box import Box
from popbox.conformance.check import Need, Run, Table
from popbox.conformance.verdict import expect, insist

TABLE = Table("message numbers")

LONG = ("retr", "top")  # LIST and UIDL with an argument have replies of one line
VERBS = {"list": "", "uidl": "", "retr": "", "top": " 0"}
WRONG = {
    "missing": ("", "without a number"),
    "zero": ("0", "of message 0"),
    "negative": ("-1", "of message -1"),
    "too-high": ("{above}", "of a message that is not there"),
    "wraps-32": ("4294967297", "of message 2^32+1, which is not 1"),
    "wraps-64": ("18446744073709551617", "of message 2^64+1, which is not 1"),
    "endless": ("9" * 40, "of a number with 40 digits"),
    "word": ("first", "of a word"),
    "junk": ("1x", "of 1x, which is not 1"),
    "plus": ("+1", "of +1, which is not a number of this protocol"),
    "hex": ("0x1", "of 0x1"),
}


def _wrong(verb: str, argument: str, tail: str) -> Run:
    def run(box: Box) -> None:
        above = len(box.scan()) + 1
        command = f"{verb.upper()} {argument.format(above=above)}{tail}".strip().encode()
        if verb == "uidl":
            box.ids()
        with box.own() as session:
            reply = session.multi(command) if verb in LONG else session.say(command)
            expect(not reply.ok, f"{command.decode()} gave {reply}")
            insist(session.say(b"STAT").ok, "after it STAT is refused")

    return run


def _dele(argument: str) -> Run:
    def run(box: Box) -> None:
        with box.victims(1) as v:
            before = box.scan(v.session)
            command = f"DELE {argument.format(above=len(before) + 1)}".strip().encode()
            reply = v.session.say(command)
            expect(not reply.ok, f"{command.decode()} gave {reply}")
            insist(box.scan(v.session) == before, f"{command.decode()} was refused, and yet LIST has changed")

    return run


for _verb, _tail in VERBS.items():
    for _kind, (_argument, _words) in WRONG.items():
        if _kind == "missing" and _verb in ("list", "uidl"):
            continue  # without a number they are other commands
        TABLE.add(
            f"{_verb}-{_kind}",
            "RFC 1939 §7" if _verb in ("uidl", "top") else "RFC 1939 §5",
            f"{_verb.upper()} {_words} gets -ERR.",
            f"{_verb}-number-{_kind}",
            _wrong(_verb, _argument, "" if _kind == "missing" else _tail),
            Need.MAIL,
        )
for _kind, (_argument, _words) in WRONG.items():
    TABLE.add(
        f"dele-{_kind}",
        "RFC 1939 §5 DELE",
        f"DELE {_words} gets -ERR and marks nothing.",
        f"dele-number-{_kind}",
        _dele(_argument),
        Need.CHANGES,
    )
