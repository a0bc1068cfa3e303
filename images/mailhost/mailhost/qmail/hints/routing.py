"""Hints on routing: control files, rewriting, users/assign and users/cdb."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from mailhost.qmail.control import Controls, accepts, host_of, suffixes
from mailhost.qmail.controlfile import ControlError, Home, Table, list_lines, read, set_table
from mailhost.qmail.hints.hint import Hint, shown
from mailhost.qmail.lookup import CDB_FILE, Assignment
from mailhost.qmail.route import Outcome, Route, Step

_NAME = re.compile(rb"([a-z0-9-]+\.)*[a-z0-9-]*[a-z-][a-z0-9-]*")
"""What `domain add` accepts: no IP address, no literal, no character that a shell interprets."""


def _listed(table: Table | None, host: bytes) -> bool:
    """Whether the table has a line for the host or for a suffix of it."""
    return table is not None and any(table.find(key) for key in suffixes(host))


def _step(route: Route, stage: str) -> Step | None:
    return next((step for step in route.steps if step.stage == stage), None)


def _refused(controls: Controls, route: Route) -> Iterator[Hint]:
    rcpthosts = controls.rcpthosts
    if route.outcome is not Outcome.REFUSED or rcpthosts is None:
        return
    host = (host_of(route.address) or b"").lower()
    name = shown(host)
    if host.endswith(b".") and accepts(controls, route.address[:-1]).accepted:
        yield Hint("E-4", "the domain is written with a dot at its end: for qmail that is another domain")
        return
    if rcpthosts.find(host + b"\r"):
        yield Hint("E-10", "control/rcpthosts has the domain followed by a carriage return: remove the CRs")
        return
    if rcpthosts.find(b"." + host):
        yield Hint("E-5", f"control/rcpthosts has .{name}, which covers its subdomains and not {name} itself")
    if _listed(set_table("", read(controls.home, "control/morercpthosts")), host):
        yield Hint(
            "Q-RCPT-10",
            "control/morercpthosts has it, morercpthosts.cdb does not: run `mailhost newmrh`",
        )
    here = [table for table in (controls.virtualdomains, controls.locals) if table is not None and _listed(table, host)]
    for table in here:
        yield Hint("H-2", f"{table.file} has the domain, control/rcpthosts does not")
    if here:
        yield Hint("H-7", f"to accept mail for {name}, add it to control/rcpthosts; the next connection sees it")
    elif _NAME.fullmatch(host):
        text = (
            f"`mailhost domain add {name}` makes it a domain of this host; a line in control/rcpthosts alone does not"
        )
        yield Hint("H-7", text)
    if _has_relay_clients(controls):
        yield Hint(
            "Q-RCPT-7", "the stand-in accepts it from clients in control/relayclients; qmail does not read that file"
        )


def _has_relay_clients(controls: Controls) -> bool:
    """Whether the stand-in's own file names a client; `mailhost lint` reports a file that cannot be read."""
    try:
        return bool(list_lines(read(controls.home, "control/relayclients")))
    except ControlError:
        return False


def _open_relay(controls: Controls, _route: Route) -> Iterator[Hint]:
    if controls.rcpthosts is None:
        yield Hint("E-12", "control/rcpthosts does not exist: this host accepts mail for every domain, an open relay")


def _remote(controls: Controls, route: Route) -> Iterator[Hint]:
    if route.outcome is not Outcome.REMOTE:
        return
    host = (host_of(route.rewritten or b"") or b"").lower()
    name = shown(host)
    exception = _step(route, "virtualdomains")
    if exception is not None:
        where = f"control/virtualdomains:{exception.line}"
        yield Hint("Q-VDOM-3", f"{where} has nothing after its colon: an exception, which makes the mail remote")
        return
    if _listed(controls.rcpthosts, host):
        yield Hint("H-2", f"{name} is in control/rcpthosts but not in virtualdomains or locals, so the mail leaves")
        yield Hint("H-3", "after a change of virtualdomains or locals qmail-send needs a HUP signal")
    if controls.virtualdomains.find(b"." + host):
        yield Hint("E-5", f"control/virtualdomains has .{name}, which covers its subdomains and not {name} itself")


def _locals(controls: Controls, route: Route) -> Iterator[Hint]:
    step = _step(route, "locals")
    if step is not None and step.line and _listed(controls.virtualdomains, step.key.lower()):
        file = step.file if step.file == "control/locals" else "control/me (in place of the missing control/locals)"
        yield Hint("H-10", f"{file} has the domain, so its line in control/virtualdomains is never used")


def _prefix(controls: Controls, route: Route) -> Iterator[Hint]:
    step = _step(route, "virtualdomains")
    line = step and controls.virtualdomains.find(step.key)
    if line and line.value.startswith(b" "):
        yield Hint("E-9", f"control/virtualdomains:{line.number}: the space after the colon is part of the prefix")
    if line and line.value.endswith(b"\r"):
        yield Hint("E-10", f"control/virtualdomains:{line.number} ends in a carriage return, now part of the prefix")


def _stale(controls: Controls, route: Route) -> Iterator[Hint]:
    cdb = route.stale_cdb
    if cdb.missing:
        cure = "; `mailhost rebuild` makes it of users/domains" if (controls.home / "users/domains").is_dir() else ""
        yield Hint("H-20", f"users/assign is missing: users/cdb decides as it stands{cure}")
    elif cdb.error is not None:
        yield Hint("H-21", f"users/assign:{cdb.error.line}: qmail-newu would refuse the file: {cdb.error.rule}")
    elif cdb.fresh == _of_cdb(route):
        return
    elif cdb.stale and cdb.fresh is None:
        yield Hint(
            "H-20",
            "users/assign has no line for it any more; users/cdb decides until `mailhost newu` runs",
        )
    elif cdb.stale:
        line = f"users/assign:{cdb.fresh_line}"
        yield Hint("H-20", f"{line} would take it, but delivery reads users/cdb: run `mailhost newu`")


def _stale_elsewhere(_controls: Controls, route: Route) -> Iterator[Hint]:
    cdb = route.stale_cdb
    if cdb.stale and not cdb.missing and cdb.error is None and cdb.fresh == _of_cdb(route):
        yield Hint("H-20", "users/cdb was made from another users/assign; for this address it makes no difference")


def _of_cdb(route: Route) -> Assignment | None:
    who = route.assignment
    return who if who is not None and who.source == CDB_FILE else None


def _unassigned(controls: Controls, route: Route) -> Iterator[Hint]:
    """Why users/cdb has no assignment, and who gets the mail instead."""
    who = route.assignment
    if who is None or who.source == CDB_FILE or route.rewritten is None:
        return
    if route.stale_cdb.fresh is None:
        yield from _near_misses(controls.home, route.rewritten.rpartition(b"@")[0])
    if who.source == "passwd":
        name = shown(who.user)
        yield Hint("Q-GETPW-4", f"no entry in users/cdb; the system account {name} gets the mail because of its name")
    elif route.outcome is Outcome.BOUNCED:
        yield Hint("H-6", "no such mailbox: no entry in users/cdb, and ~alias has no .qmail file for it")
    else:
        yield Hint("H-6", "no entry in users/cdb: a .qmail file of ~alias takes it, as it takes misspelt addresses")


def _near_misses(home: Home, local: bytes) -> Iterator[Hint]:
    """Lines of users/assign that look as if they should have matched."""
    text = read(home, "users/assign") or b""
    glued = re.search(rb"(?im)^[^\n]*:[=+]%s:" % re.escape(local), text)
    if glued:
        line = text.count(b"\n", 0, glued.start()) + 1
        yield Hint("H-18", f"users/assign:{line}: its entry follows another one on the same line and is ignored")
    for dash in re.finditer(b"-", local):
        base = local[: dash.start()]
        if re.search(rb"(?im)^=%s:" % re.escape(base), text):
            name = shown(base)
            yield Hint("H-13", f"={name} has no extensions; for them add +{name}- with dash - and a .qmail-default")
    for capital in re.finditer(rb"(?m)^\+([^:\n]*[A-Z]):", text):
        if local.lower().startswith(capital.group(1).lower()):
            yield Hint("E-24", f"+{shown(capital.group(1))} ends in a capital letter; such a line matches nothing")


Rule = Callable[[Controls, Route], Iterator[Hint]]
RULES: tuple[Rule, ...] = (_refused, _remote, _locals, _prefix, _stale, _unassigned)
LAST: tuple[Rule, ...] = (_open_relay, _stale_elsewhere)  # about the host, whatever happens to the address
