"""The report of `migrate routes`: for programs, and for a person."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from popbox.migrate.oldhost.findings import shown
from popbox.migrate.routes.compare import Answer, Difference
from popbox.migrate.routes.work import Outcome
from popbox.printable import counted

SCHEMA = "popbox.migrate.routes/1"
SHOWN = 50


def as_json(
    outcome: Outcome,
    sides: tuple[str, str],
    seconds: float,
    sample: dict[str, Any] | None,
    qmail_local: list[dict[str, Any]] | None,
) -> str:
    """One object; the README describes it."""
    hosts = [{"tree": name, **host} for name, host in zip(sides, outcome.hosts, strict=True)]
    told = {
        "schema": SCHEMA,
        "old": hosts[0],
        "new": hosts[1],
        "took_s": round(seconds, 3),
        "addresses": sum(outcome.asked.values()),
        "kinds": dict(sorted(outcome.asked.items())),
        **{name.replace(" ", "_"): outcome.count(name) for name in ("changed", "not judged", "added")},
        "differences": [_difference(one) for one in outcome.differences],
        "sample": sample,
        "qmail_local": qmail_local,
    }
    return json.dumps(told, indent=1) + "\n"


def _difference(one: Difference) -> dict[str, Any]:
    about = {"address": shown(one.address), "kind": one.kind, "what": one.what}
    return {**about, "old": _answer(one.old), "new": _answer(one.new)}


def _answer(one: Answer) -> dict[str, Any]:
    ends = [{"kind": end.kind, "text": _plain(end.text)} for end in one.ends]
    return {"accepted": one.accepted, "ends": ends, "where": list(one.where)}


def _plain(text: str) -> str:
    return shown(text.encode("utf-8", "surrogateescape"))


def as_text(outcome: Outcome, seconds: float, *, everything: bool = False) -> Iterator[str]:
    """Lines for a person: each difference with what decided on both sides, then the counts."""
    wanted = [one for one in outcome.differences if everything or one.what != "added"]
    for one in wanted if everything else wanted[:SHOWN]:
        yield f"{one.what}: {shown(one.address)} [{one.kind}]"
        for label, answer in (("old", one.old), ("new", one.new)):
            refused = "" if answer.accepted or one.kind == "relayed" else "refused by qmail-smtpd; else "
            ends = "; ".join(f"{end.kind} {_plain(end.text)}".rstrip() for end in answer.ends)
            yield f"  {label}  {refused}{ends}"
            yield f"       by {', '.join(answer.where) or 'no file'}"
    if not everything and len(wanted) > SHOWN:
        yield f"... and {len(wanted) - SHOWN} more; --all shows them"
    yield from _notes(outcome)
    total, changed, unjudged, added = (
        sum(outcome.asked.values()), outcome.count("changed"), outcome.count("not judged"), outcome.count("added")
    )  # fmt: skip
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(outcome.asked.items()))
    yield f"{counted(total, 'address', 'addresses')} in {seconds:.1f} s ({kinds})"
    more = f"; {added} are known to the new host alone, which the old one refused" if added else ""
    yield f"{total - changed - unjudged - added} the same, {changed} changed, {unjudged} not judged{more}"


def _notes(outcome: Outcome) -> Iterator[str]:
    for label, host in zip(("old", "new"), outcome.hosts, strict=True):
        if not host.get("owners_count"):
            yield f"note: {label}: owners of files are not counted: it is a copy that has lost them, or not root's"
        if label == "old" and host.get("default_delivery"):
            yield f"note: old: a box without .qmail delivers to {_plain(host['default_delivery'])}"
        answers = (one.old if label == "old" else one.new for one in outcome.differences)
        if any("its passwd is not known" in end.text for answer in answers for end in answer.ends):
            yield f"note: {label}: which accounts it has is not known: --{label}-passwd FILE names its /etc/passwd"
