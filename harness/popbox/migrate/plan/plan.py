"""The cut-over sheet: what is done on the day of the move, in which order, how long it took when it was tried.

Mail is never taken by two hosts at once: the old SMTP service ends before the last pass, the new one begins after the
proof. Between them senders keep their mail and try again (RFC 5321 §4.5.4.1).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from popbox.migrate.copy.report import ImportReport
from popbox.migrate.plan.preflight.judge import LOW_TTL_S, Preflight
from popbox.migrate.plan.sizing import Load
from popbox.migrate.units import duration, size
from popbox.migrate.verify.report import Report
from popbox.printable import counted

NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Facts:
    """What is known: names of both hosts, the TTL that was given, what DNS says, and reports of what was tried."""

    old: str
    new: str
    domains: tuple[str, ...] = ()
    ttl_s: int | None = None
    verifies: tuple[Report, ...] = ()
    imports: tuple[ImportReport, ...] = ()
    preflight: Preflight | None = None
    load: Load | None = None

    @property
    def verified(self) -> Report | None:
        """The last verification given; one with content where there is one."""
        return next((one for one in reversed(self.verifies) if one.content), None) or (
            self.verifies[-1] if self.verifies else None
        )

    def copied(self, final: bool) -> ImportReport | None:
        """The longest bulk pass, or the last final one: what to reckon with."""
        passes = [one for one in self.imports if one.final is final]
        return (passes[-1] if final else max(passes, key=lambda one: one.took_s)) if passes else None


@dataclass(frozen=True)
class Step:
    """Something to do, the command for it where there is one, and how to see that it is done."""

    text: str
    command: str = ""
    done_when: str = ""


@dataclass(frozen=True)
class Section:
    """A stage of the day. ``takes`` is a measured time or NOT_MEASURED; empty where there is nothing to measure."""

    title: str
    steps: tuple[Step, ...]
    takes: str = ""


def sections(facts: Facts) -> Iterator[Section]:
    """All stages in order."""
    names = ", ".join(facts.domains) or "each domain"
    source = f"ssh:{facts.old}:/"
    yield Section("1. Days before: lower the TTL", tuple(_ttl(facts, names)), _waiting(facts))
    yield Section(
        "2. Days before: presync, while the old host works",
        (
            Step("See what is wrong with the old host, and mend it there.", f"popbox migrate audit {source}"),
            Step(
                "Copy the accounts and the bulk of the mail; repeat it each night, so that the last pass is short.",
                f"popbox migrate import {source} --to move --home /var/qmail --json presync.json",
                "exit code 0",
            ),
            Step(
                "Write boxes.csv: a line login,password, and one for each box. "
                "Whose password is not known: `mailhost mailbox temporary` gives a second one."
            ),
            Step(
                "Try the proof on it: extra and missing ones are those of the meantime, all else must be equal.",
                _verify(facts, "trial.json"),
            ),
        ),
        _pass(facts.copied(final=False)),
    )
    yield Section(
        "3. Freeze",
        (
            Step("Stop SMTP on the old host, port 25 and submission. Senders keep mail and try again."),
            Step("Let its queue run empty: what is delivered after the last pass would stay behind.", "qmail-qstat",
                 "messages in queue: 0; what cannot leave is noted by hand"),
            Step("Stop POP3 on the old host, but for this machine, so that no client deletes mail in the final pass."),
            Step("SMTP on the new host does not listen yet.", done_when="a connection to port 25 is refused"),
        ),
    )  # fmt: skip
    yield Section(
        "4. Final pass",
        (
            Step("Take what has changed since the presync, moves and deletions too.",
                 f"popbox migrate import {source} --to move --home /var/qmail --final --json final.json",
                 "exit code 0"),
        ),
        _pass(facts.copied(final=True)),
    )  # fmt: skip
    yield Section(
        "5. Verify",
        (
            Step("Compare every box. Continue only at exit code 0.", _verify(facts, "verify.json"), "exit code 0"),
            Step(
                "On the new host, with a copy of the old one's files: compare what becomes of each address.",
                "popbox migrate routes --old /mnt/oldhost --new / --log /mnt/oldhost/var/log/qmail/current",
                "exit code 0",
            ),
            Step("Read each difference that remains, and write down why it is right."),
        ),
        _proof(facts),
    )
    yield Section(
        "6. Switch",
        (
            Step("Start SMTP and POP3 on the new host. The old SMTP service stays down, for good."),
            Step(f"Change MX, and the name that clients use, of {names} to {facts.new}."),
            Step(
                "Send a message from outside to one box of each domain, and fetch it.",
                f"popbox probe {facts.new} --to ADDRESS --login LOGIN --password-file FILE",
                "exit code 0",
            ),
            Step(
                "Until the old TTL is over, see from this machine that the old host gets no late mail.",
                f"{_verify(facts, 'late.json')} --state watch.state --watch 10",
            ),
            Step("Who still has the old address finds its ports closed until the TTL is over, and tries again."),
        ),
    )
    yield Section("7. Roll back", tuple(_back(facts)))


def _ttl(facts: Facts, names: str) -> Iterator[Step]:
    yield Step(
        f"Read the TTL of MX, A and AAAA of {names}, and of the name that clients use.", "dig +noall +answer MX DOMAIN"
    )
    yield Step(f"Set them to {LOW_TTL_S} s, and note the old values for the day after.")
    ttl_s = _ttl_s(facts)
    until = duration(ttl_s) if ttl_s else "the old TTL"
    yield Step(f"Wait {until} before the freeze: until then resolvers hold the old value.")


def _ttl_s(facts: Facts) -> int | None:
    """Seconds between lowering the TTL and the switch; what was given wins over DNS."""
    longest = facts.preflight.longest if facts.preflight else None
    return facts.ttl_s or (longest.ttl_s if longest else None)


def _waiting(facts: Facts) -> str:
    longest = facts.preflight.longest if facts.preflight else None
    if facts.ttl_s:
        differs = longest is not None and longest.ttl_s != facts.ttl_s
        note = f"; DNS says {longest.ttl_s} s for {longest.kind} of {longest.name}" if longest and differs else ""
        return f"{duration(facts.ttl_s)} (the TTL given{note})"
    if longest is None or facts.preflight is None:
        return NOT_MEASURED
    least = "" if facts.preflight.complete else " or more: not all is known"
    return f"{duration(longest.ttl_s)}{least} (TTL of {longest.kind} of {longest.name} in DNS)"


def heading(facts: Facts) -> str:
    """What was looked at before the move."""
    return "DNS and SMTP today" if facts.preflight and facts.preflight.servers else "DNS today"


def today(facts: Facts) -> Iterator[str]:
    """What to mend or to look at in DNS and SMTP, then what is there; nothing where it was not read."""
    if facts.preflight is not None:
        yield from map(str, facts.preflight.remarks)
        yield from facts.preflight.facts
        yield from facts.preflight.negative


def _back(facts: Facts) -> Iterator[Step]:
    yield Step("Before the switch: start SMTP and POP3 on the old host again. Nothing has been changed there.")
    yield Step("After it: stop SMTP on the new host and let its queue run empty, then change MX and names back.")
    yield Step(
        f"What {facts.new} took after it exists only there. Bring it back with an import in the other direction, "
        "before SMTP on the old host starts.",
        f"popbox migrate import ssh:{facts.new}:/ --to back --home /var/qmail",
    )
    yield Step("What clients have deleted on the new host is on the old one again.")


def _verify(facts: Facts, file: str) -> str:
    return f"popbox migrate verify --old {facts.old}:110 --new {facts.new}:110 --accounts boxes.csv --json {file}"


def _pass(done: ImportReport | None) -> str:
    if done is None:
        return NOT_MEASURED
    problems = f", {done.problems} PROBLEMS" if done.problems else ""
    return f"{duration(done.took_s)} measured: {counted(done.copied, 'message')}, {size(done.octets)}{problems}"


def _proof(facts: Facts) -> str:
    done = facts.verified
    if done is None:
        return NOT_MEASURED
    how = "" if done.content else ", without content"
    read = f"{counted(done.totals.boxes, 'box', 'boxes')}, {counted(done.totals.messages_old, 'message')}"
    return f"{duration(done.took_s)} measured: {read}{how}"


def silence(facts: Facts) -> str:
    """How long no mail is taken and no box can be read: final pass and proof. Only a whole sum is a number."""
    final, proof = facts.copied(final=True), facts.verified
    if final is None or proof is None or not proof.content:
        return f"{NOT_MEASURED}: needs reports of a final pass and of a verification with content"
    return f"{duration(final.took_s + proof.took_s)} of copying and comparing as measured, and the steps by hand"


def state(facts: Facts) -> str:
    """Whether the last proof would let us switch."""
    done = facts.verified
    if done is None:
        return f"{NOT_MEASURED}: no verification given. Do not switch."
    if not done.content:
        return "content was not compared. Do not switch."
    if done.equal:
        return f"all of {counted(done.totals.boxes, 'box', 'boxes')} equal in the verification of {done.began}."
    return (
        f"{counted(done.totals.different, 'box', 'boxes')} different, {done.totals.unavailable} not judged in the "
        f"verification of {done.began}. Do not switch."
    )


def clients(facts: Facts) -> Iterator[tuple[str, str]]:
    """Kind of client, and what its user will see."""
    done = facts.verified
    yield "deletes what it has fetched", "nothing: what was there is there, what was fetched is gone"
    if done is None:
        yield "keeps mail, goes by UIDL (Outlook, Thunderbird, getmail, fetchmail --uidl, mpop)", NOT_MEASURED
        yield "keeps mail, goes by the last number", NOT_MEASURED
        return
    found = done.totals
    yield (
        "keeps mail, goes by UIDL (Outlook, Thunderbird, getmail, fetchmail --uidl, mpop)",
        f"{counted(found.uidl_known, 'message')} a second time, {found.uidl - found.uidl_known} new ones, "
        "in all boxes together",
    )
    yield (
        "keeps mail, goes by the last number",
        f"{counted(found.number_again, 'message')} a second time and {found.number_missed} never; at worst "
        f"{found.worst_again} and {found.worst_missed}",
    )
    yield "is open during the freeze", "a refused connection; it tries again"
    yield (
        "keeps its memory by the host's name",
        "everything a second time, should it be told another name: keep the name",
    )
