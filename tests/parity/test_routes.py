"""Whole routes against real deliveries: what ``route`` predicts is what qmail-lspawn, -getpw and -local then do."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.parity import lspawn
from tests.parity.real import HOME, MAIL_USER, MARKS, fresh, own, privately
from tests.parity.test_local import plant

from mailhost.qmail.bulk.answer import Answer, answer
from mailhost.qmail.bulk.host import TreeHost
from mailhost.qmail.bulk.tree import Tree
from mailhost.qmail.dotqmail import Kind
from mailhost.qmail.lookup import accounts_of
from mailhost.qmail.route import Outcome, Route, route, submitted

pytestmark = MARKS

HOSTS = int(os.environ.get("POPBOX_PARITY_HOSTS", "90"))
SEED = int(os.environ.get("POPBOX_PARITY_SEED", "25"))
ADDRESSES = 35
BULK_HOSTS = 25
DOMAINS = ("d.com", "x.d.com", "e.org", "here.net", ".test")
# control/defaultdelivery; None: there is none. The real program is given what sh makes of the file, as in the image.
DEFAULTS = (None, None, b"", b"./Maildir/\n", b"./Mailbox", b"/dev/null\n", b"\n", b"./Maildir/\n./copy\n\n",
            b"./Mail\0box")  # fmt: skip
DEFAULT_OF = 'default=./Mailbox; if [ -s "$1" ]; then default=$(cat "$1"); fi; printf %s "$default"'


def build_host(chance: random.Random) -> None:
    """Controls, boxes and users/assign of a small host, with the usual mistakes."""
    control = HOME / "control"
    (control / "me").write_text("here.net\n")
    (control / "rcpthosts").write_text("\n".join((*chance.sample(DOMAINS, 4), ".sub.org", "")))
    (control / "virtualdomains").write_text("d.com:d-com\n.d.com:sub\nBob@e.org:bob\ne.org:e\n:none\n")
    (control / "locals").write_text("here.net\n.test\n")
    (control / "defaultdelivery").unlink(missing_ok=True)
    text = chance.choice(DEFAULTS)
    if text is not None:
        (control / "defaultdelivery").write_bytes(text)
    boxes = fresh("boxes")
    lines = []
    for number in range(8):
        home = boxes / str(number)
        home.mkdir()
        plant_box(chance, home)
        prefix = chance.choice(("d-com-", "sub-", "e-", "bob-", ""))
        kind, dash = chance.choice((("=", ""), ("=", ""), ("+", ""), ("+", "-")))
        name = chance.choice(("joe", "Joe", "a-b", "", "joe-"))
        place = home if chance.random() < 0.95 else chance.choice((Path("gone"), HOME / "boxes/none"))
        uid = MAIL_USER if chance.random() < 0.95 else chance.choice((0, 0, (1 << 32) - 1))
        gid = MAIL_USER if chance.random() < 0.97 else (1 << 32) - 1
        lines.append(f"{kind}{prefix}{name}:popuser:{uid}:{gid}:{place}:{dash}::\n")
    (HOME / "users/assign").write_text("".join(lines) + ".\n")
    subprocess.run([HOME / "bin/qmail-newu"], check=True)


def plant_box(chance: random.Random, home: Path) -> None:
    plant(chance, home)
    for path in home.iterdir():  # what is in a file that runs a program or forwards is the queue's business, not ours
        if path.is_file() and not path.is_symlink():
            lines = [line for line in path.read_bytes().split(b"\n") if not is_onward(line)]
            path.write_bytes(b"\n".join(lines))
    os.mkfifo(home / "fifo")
    (home / "loop").symlink_to("loop")
    if chance.random() < 0.6:
        for part in chance.choice((("tmp", "new", "cur"), ("tmp", "new"), ("tmp",), ())):
            (home / "Maildir" / part).mkdir(parents=True, exist_ok=True)
    own(home)
    home.chmod(chance.choice((0o700, 0o700, 0o700, 0o755, 0o777, 0o1700, 0o500)))


def is_onward(line: bytes) -> bool:
    return line[:1] not in (b"", b"#", b".", b"/", b"+", b" ", b"\t", b"\0")


def addresses(chance: random.Random) -> list[bytes]:
    users = ("joe", "JOE", "joe-x", "joey", "a-b", "a-b-C", "bob", "", "nobody", "joe-a-b", "a@b",
             "X", "A.b", "Lists", "a-B.c", "joe-X", "joe-A.b", "joe-Lists")  # fmt: skip
    made = {f"{chance.choice(users)}@{chance.choice(DOMAINS)}".encode() for _ in range(ADDRESSES)}
    return sorted(made)


def expected_report(routed: Route) -> bytes | None:
    """The report qmail-lspawn should give; None where the mail never gets there."""
    if routed.outcome in (Outcome.REFUSED, Outcome.REMOTE):
        return None
    if routed.failure is not None:
        return (b"D" if routed.failure.permanent else b"Z") + os.fsencode(routed.failure.text) + b"\n"
    if routed.assignment is None:
        return b"K"
    files = sum(delivery.instruction.kind in (Kind.MAILDIR, Kind.MBOX) for delivery in routed.deliveries)
    return b"Kdid %d+0+0\n" % files


def compare(hosts: int = HOSTS, *, first: bool = False) -> tuple[dict[str, int], list[str]]:
    """Counts of the outcomes of all routes, and the differences; with ``first`` only up to the first such host."""
    chance = random.Random(SEED)
    outcomes: dict[str, int] = {}
    differences = []
    lspawn.put_message()
    for _ in range(hosts):
        build_host(chance)
        routes = {address: route(HOME, address) for address in addresses(chance)}
        for routed in routes.values():
            outcomes[routed.outcome.value] = outcomes.get(routed.outcome.value, 0) + 1
        kept = [
            routed
            for routed in routes.values()
            if expected_report(routed) is not None and not any(map(onward, routed.deliveries))
        ]
        reports = lspawn.deliver([routed.rewritten or b"" for routed in kept], default_delivery())
        for routed, report in zip(kept, reports, strict=True):
            if report != expected_report(routed):
                differences.append(f"{routed}\n  real {report!r}\n  ours {expected_report(routed)!r}")
        shutil.rmtree(HOME / "boxes")
        if first and differences:
            break
    return outcomes, differences


def bulk_report(found: Answer) -> bytes:
    """The report that qmail-lspawn should give, by an answer of `mailhost explain --batch`."""
    first = found.ends[0]
    if first.kind in ("bounced", "deferred"):
        return (b"D" if first.kind == "bounced" else b"Z") + first.text + b"\n"
    return b"K" if first.kind == "discarded" else b"Kdid %d+0+0\n" % len(found.ends)


def compare_bulk(hosts: int) -> tuple[int, list[str]]:
    """How many answers in bulk were compared with real deliveries, and those that differ."""
    chance, count, differences = random.Random(SEED + 1), 0, []
    lspawn.put_message()
    for _ in range(hosts):
        build_host(chance)
        host = TreeHost(Tree(Path("/")), os.fsencode(HOME), accounts_of(HOME), owners="strict")
        host.owners_count = True
        asked = {address: (submitted(host, address), answer(host, address)) for address in addresses(chance)}
        kept = [
            (way, found)
            for way, found in asked.values()
            if way.outcome is not Outcome.REMOTE and not any(map(onward, way.deliveries))
        ]
        reports = lspawn.deliver([way.rewritten or b"" for way, _ in kept], default_delivery())
        for (way, found), report in zip(kept, reports, strict=True):
            count += 1
            wanted = bulk_report(found)
            if report != wanted and not (report == b"Kdid 0+0+0\n" and wanted == b"K"):
                differences.append(f"{way.address!r}\n  real {report!r}\n  ours {found}")
        shutil.rmtree(HOME / "boxes")
    return count, differences


def default_delivery() -> bytes:
    """What the qmail image's run script would pass to qmail-start."""
    argv = ["/bin/sh", "-c", DEFAULT_OF, "sh", HOME / "control/defaultdelivery"]
    return subprocess.run(argv, capture_output=True, check=True).stdout


def onward(delivery: object) -> bool:
    return delivery.instruction.kind in (Kind.FORWARD, Kind.PROGRAM)  # type: ignore[attr-defined]


BROKEN = {
    "mailhost.qmail.dotqmail.safe": lambda ext: ext,
    "mailhost.qmail.delivery.check_home": lambda _home: None,
    "mailhost.qmail.route.split": lambda address: (address.rpartition(b"@")[0].lower() + b"x", b"d.com"),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_a_rule_that_is_broken_on_purpose_is_found(rule: str) -> None:
    def broken() -> int:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rule, BROKEN[rule])
            return len(compare(30, first=True)[1])

    assert privately(broken) > 0


def test_answers_in_bulk_are_what_qmail_does() -> None:
    count, differences = privately(lambda: compare_bulk(BULK_HOSTS))
    assert count >= 15 * BULK_HOSTS
    assert not differences, f"{len(differences)} of {count} differ:\n" + "\n".join(differences[:4])


@pytest.mark.slow
def test_routes_are_what_qmail_does() -> None:
    outcomes, differences = privately(compare)
    assert sum(outcomes.values()) >= 2000
    print(f"{sum(outcomes.values()):,} routes compared with real deliveries: {dict(sorted(outcomes.items()))}")
    assert not differences, f"{len(differences)} differ:\n" + "\n".join(differences[:4])
    assert min(outcomes[kind.value] for kind in Outcome if kind is not Outcome.REMOTE) > 20
