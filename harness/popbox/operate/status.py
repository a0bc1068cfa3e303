"""The state of a host that is up: whether each service speaks its protocol, and what is in the queue and the boxes."""

from __future__ import annotations

import json
from dataclasses import dataclass

from popbox.errors import PopboxError
from popbox.hosts.base import SERVICES, Host
from popbox.hosts.readiness import greets, machine
from popbox.hosts.state import Record
from popbox.operate.serving import not_ready
from popbox.printable import counted


@dataclass(frozen=True, slots=True)
class Status:
    """One host. ``services`` maps a service to where it listens; ``wrong`` says what does not answer, and how.

    ``waits``: what of the host's accounts.toml is not applied, and why; empty where nothing waits.
    ``late``: what of the machine will go wrong soon, such as a certificate that was not renewed.
    ``left_behind``: its popbox was killed, and `popbox down` takes it away. ``http``: where `popbox serve` answers.
    """

    name: str
    host: str
    mta: str
    place: str
    services: dict[str, str]
    wrong: dict[str, str]
    domains: int | None
    mailboxes: int | None
    waits: str = ""
    left_behind: bool = False
    late: str = ""
    http: str = ""

    @property
    def well(self) -> bool:
        """Whether everything answers."""
        return not self.wrong


def look(name: str, record: Record, host: Host, http: str = "") -> Status:
    """Ask each service for its greeting, and the host for its accounts. What fails is in the status."""
    services: dict[str, str] = {}
    wrong: dict[str, str] = {}
    for service in SERVICES:
        try:
            services[service] = str(host.address(service))
            why = host.alive(service) or greets(host, service)
        except PopboxError as error:
            why = str(error).splitlines()[0]
        if why:
            wrong[service] = why
    counts: list[int | None] = []
    for what in ("domain", "mailbox"):
        try:
            counts.append(_count(host, what))
        except (PopboxError, ValueError) as error:
            wrong.setdefault("accounts", str(error).splitlines()[0])
            counts.append(None)
    broken, late = map("; ".join, machine(host))
    if http and (why := not_ready(http)):
        wrong["http"] = why
    if broken:
        wrong["machine"] = broken
    orphan = not record.kept and not record.owner.lives()
    domains, mailboxes = counts
    where = (name, record.host, record.mta, record.place)
    return Status(*where, services, wrong, domains, mailboxes, _waits(host), orphan, late, http)


def _waits(host: Host) -> str:
    """What `mailhost governed` says waits for a person; no answer, or an older mailhost's, says nothing."""
    try:
        ran = host.run("governed", "--json")
        said = json.loads(ran.stdout) if ran.code == 0 else None
    except (PopboxError, ValueError):
        return ""
    return str(said.get("waits", "")) if isinstance(said, dict) else ""


def _count(host: Host, what: str) -> int:
    ran = host.run(what, "list", "--json")
    if ran.code:
        raise ValueError(f"mailhost {what} list ended with {ran.code}: {ran.stderr.strip()}")
    return len(json.loads(ran.stdout))


def lines(one: Status) -> list[str]:
    """For a person."""
    left = " (left behind by a popbox that was killed; `popbox down` removes it)" if one.left_behind else ""
    head = f"{one.name}: host {one.host}, MTA {one.mta}, {one.place}{left}"
    said = [
        f"  {'ok  ' if service not in one.wrong else 'FAIL'} {service} {one.services.get(service, '')}"
        f"{': ' + one.wrong[service] if service in one.wrong else ''}"
        for service in SERVICES
    ]
    accounts = f"{counted(one.domains or 0, 'domain')}, {counted(one.mailboxes or 0, 'mailbox', 'mailboxes')}"
    wrong = one.wrong.get("accounts")
    ill = [f"  FAIL machine: {one.wrong['machine']}"] if "machine" in one.wrong else []
    ill += [f"  late machine: {one.late}"] if one.late else []
    waits = [f"  wait accounts: {one.waits}"] if one.waits else []
    silent = f": {one.wrong['http']}" if "http" in one.wrong else ""
    said += [f"  {'FAIL' if silent else 'ok  '} http {one.http}{silent}"] if one.http else []
    return [head, *said, f"  {'FAIL' if wrong else 'ok  '} accounts: {wrong or accounts}", *ill, *waits]
