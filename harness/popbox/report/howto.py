"""The HOWTO's statements in one line each, in our words, and which results prove them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from popbox.result import Result, Verdict

STATEMENTS = {
    "H-1": "Many addresses and POP accounts share one system uid",
    "H-2": "Four files matter: rcpthosts, virtualdomains, users/assign, users/poppasswd",
    "H-3": "HUP qmail-send after a change (true of virtualdomains, not of rcpthosts)",
    "H-4": "recipientmap is a thing of the past",
    "H-5": "users/assign serves single addresses, extensions and whole domains",
    "H-6": "The ~alias user is avoided",
    "H-7": "A new domain goes into rcpthosts",
    "H-8": "Dots of a domain become dashes (they do not: the prefix is what the line says)",
    "H-9": "The dashed prefix is a convention, and prefixes may collide",
    "H-10": "A virtual domain must not be in control/locals",
    "H-11": "All mail of a domain goes to its prefix",
    "H-12": "joe@domain.com is looked up as domain-com-joe",
    "H-13": "A + line takes joe-anything (and joey too, which is a trap)",
    "H-14": "An assign line names account, uid, gid and directory",
    "H-15": "The box exists, 0700, owned by popuser",
    "H-16": "A .qmail or .qmail-default lies in the box (the second is not read there)",
    "H-17": "A whole domain can be one box",
    "H-18": "One file a domain, joined into users/assign",
    "H-19": "The last line of users/assign is a single dot",
    "H-20": "qmail-newu is run after each change",
    "H-21": "The script writes, renames, and runs qmail-newu",
    "H-22": "Pickup is a chain: popup, checkpassword, pop3d",
    "H-23": "popup hands over to checkpassword (and waits for it)",
    "H-24": "checkpassword sets USER, SHELL and HOME; pop3d serves the Maildir",
    "H-25": "Any checkpassword will do",
    "H-26": "A poppasswd line is login, hash, account, directory",
    "H-27": "The sample hash is the password testpw",
    "H-28": "A failed login is delayed by two seconds",
    "H-29": "Logins and failures are logged",
    "H-30": "The password file is users/poppasswd",
    "H-31": "Logins are unique and need not be the local part",
    "H-32": "Passwords are made with crypt(3)",
    "H-33": "A .qmail line is a Maildir, a Mailbox or a forward",
    "H-34": "Maildir is the format to take",
    "H-35": "The telnet test: USER, PASS, LIST, RETR, QUIT",
    "H-36": "No system account is needed for a mailbox",
}


WORST_FIRST = (Verdict.FAILED, Verdict.NOT_PROVED, Verdict.PASSED, Verdict.SKIPPED)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the checklist; no verdict where nothing in this run proves it.

    ``by`` are the results that have that verdict; one that was skipped proves nothing and stands in ``skipped``.
    """

    statement: str
    words: str
    verdict: Verdict | None
    by: tuple[Result, ...]
    skipped: tuple[Result, ...] = ()


def checklist(results: Iterable[Result]) -> list[Line]:
    """H-1 to H-36, then statements with names of your own; a statement is as good as the worst that speaks of it."""
    proofs: dict[str, list[Result]] = {statement: [] for statement in STATEMENTS}
    for result in results:
        for statement in result.proves:
            proofs.setdefault(statement, []).append(result)
    return [_line(statement, by) for statement, by in sorted(proofs.items(), key=lambda item: _order(item[0]))]


def _line(statement: str, of_it: list[Result]) -> Line:
    verdicts = {result.verdict for result in of_it}
    worst = next((one for one in WORST_FIRST if one in verdicts), None)
    skipped = tuple(result for result in of_it if result.verdict is Verdict.SKIPPED)
    by = tuple(result for result in of_it if result.verdict is worst and result not in skipped)
    return Line(statement, STATEMENTS.get(statement, ""), worst, by, skipped)


def _order(statement: str) -> tuple[bool, int, str]:
    number = statement.removeprefix("H-")
    return (statement not in STATEMENTS, int(number) if number.isdigit() else 0, statement)
