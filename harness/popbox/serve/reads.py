"""What can be asked without a message: is the host ready, where would an address end, what waits, what is declared."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from popbox.errors import NotPossibleError
from popbox.hosts.base import SERVICES, Host, Ran
from popbox.hosts.readiness import greets, machine
from popbox.printable import plain
from popbox.serve.errors import ApiError
from popbox.serve.live import Live
from popbox.serve.space import Space, Within

Address = Annotated[
    str, Query(max_length=1_000, pattern=r"^[^\x00-\x1f\x7f]+$", description="an address, joe@domain.com")
]

LISTS = {"domain": "domains", "mailbox": "mailboxes", "forward": "forwards"}  # verb of mailhost -> what it lists


class Answer(BaseModel):
    """Every answer names the world that it comes from."""

    model_config = ConfigDict(extra="forbid")

    host: str = Field(description="where the mail host runs: local, docker, remote, mounted")
    mta: str = Field(description="what takes the mail: qmail, stand-in, unknown")


class Recording(BaseModel):
    """How journeys are recorded. Times are wall clock, in seconds since 1970."""

    model_config = ConfigDict(extra="forbid")

    cursor: int = Field(description="behind the last event that is stored")
    whole_since: float | None = Field(description="all that the host showed by then is stored; null before that")
    error: str = Field(description="why the last pass over logs and Maildirs failed; empty where it did not")
    failed: int = Field(description="passes in a row that failed")
    retry_at: float | None = Field(description="when the next pass is tried, after one that failed")


class Ready(Answer):
    """Both services have just spoken their protocol, and no disk of mail is full."""

    ready: Literal[True] = True
    smtp: str = Field(description="where SMTP is spoken, HOST:PORT")
    pop3: str = Field(description="where POP3 is spoken, HOST:PORT")
    recorder: Recording = Field(description="whether what happens on the host is being recorded")
    late: list[str] = Field(description="a certificate near its end, a full disk of accounts or logs: a line each")


class Explained(Answer):
    """How the host's own rules treat an address."""

    explained: dict[str, Any] = Field(description="what `mailhost explain --json` prints: outcome, steps, hints")


class Accounts(Answer):
    """What is declared on the host; no password and no hash."""

    domains: list[dict[str, Any]] = Field(description="what `mailhost domain list --json` prints")
    mailboxes: list[dict[str, Any]] = Field(description="what `mailhost mailbox list --json` prints")
    forwards: list[dict[str, Any]] = Field(description="what `mailhost forward list --json` prints")


class Linted(Answer):
    """What is wrong with the host's files."""

    findings: list[dict[str, Any]] = Field(description="those of `mailhost lint --json`")


class Queue(Answer):
    """The messages that wait."""

    messages: list[dict[str, Any]] = Field(description="what `mailhost queue list --json` prints")


def reads(live: Live) -> APIRouter:
    """The endpoints, over one host. They run in threads, as a host's programs take their time."""
    router, host = APIRouter(), live.host
    world: dict[str, Any] = {"host": host.name, "mta": host.mta}

    @router.get("/readyz", operation_id="readyz")
    def readyz() -> Ready:
        """200 only when ``220`` and ``+OK`` were spoken just now, and no disk is full: 503 says what is not so.

        ``recorder`` tells more, and ``late`` what is not right and stops no mail yet.
        """
        if silent := [f"{service}: {why}" for service in SERVICES if (why := greets(host, service))]:
            raise ApiError(503, "the mail host is not ready", "popbox status", (*silent, *host.ailments()))
        wrong, late = machine(host)
        if wrong:
            raise ApiError(503, "the mail host takes no mail", "popbox status", tuple(wrong))
        state = live.state
        recorder = Recording(
            cursor=state.cursor,
            whole_since=state.whole_since,
            error=plain(state.error),
            failed=state.failed,
            retry_at=state.retry_at,
        )
        smtp, pop3 = (str(host.address(service)) for service in ("smtp", "pop3"))
        return Ready(**world, smtp=smtp, pop3=pop3, recorder=recorder, late=late)

    @router.get("/v1/explain", operation_id="explain")
    def explain(address: Address, space: Within) -> Explained:
        """Where mail for an address would end and why, by the host's own rules; nothing is sent."""
        if space is not None and not space.holds(address):
            raise ApiError(403, "that address is not of this space", f"the space has {space.domain}")
        return Explained(**world, explained=asked(host, "explain", "--json", "--", address, codes=(0, 1)))

    @router.get("/v1/accounts", operation_id="accounts")
    def accounts(space: Within) -> Accounts:
        """Domains, mailboxes and forwards, as they are declared."""
        said = declared(host)
        domains, mailboxes, forwards = ([one for one in said[name] if _is_of(space, one)] for name in LISTS.values())
        return Accounts(**world, domains=domains, mailboxes=mailboxes, forwards=forwards)

    @router.get("/v1/lint", operation_id="lint")
    def lint(space: Within) -> Linted:
        """What is wrong with the host's files, by file and line; nothing is changed."""
        if space is not None:
            raise ApiError(403, "this looks at the whole host", "ask without popbox-space")
        return Linted(**world, findings=asked(host, "lint", "--json", codes=(0, 1))["findings"])

    @router.get("/v1/queue", operation_id="queue")
    def queue(space: Within) -> Queue:
        """The messages that wait, with the reason; 409 where the MTA's queue cannot be read so."""
        ran = host.run("queue", "list", "--json")
        if ran.code:
            hint = "root reads it on the mail host: mailhost queue list"
            raise ApiError(409, f"the queue of MTA {host.mta} is not shown here", hint, (ran.stderr.strip(),))
        messages = json.loads(ran.stdout)
        return Queue(**world, messages=[one for one in messages if _has_recipients(space, one)])

    return router


def _is_of(space: Space | None, listed: dict[str, Any]) -> bool:
    """Whether a domain, mailbox or forward may be shown."""
    return space is None or space.holds(listed.get("address") or f"@{listed['domain']}")


def _has_recipients(space: Space | None, message: dict[str, Any]) -> bool:
    """Whether a message may be shown; takes recipients out of it that are not of the space."""
    if space is not None:
        known = message.get("recipients", ())  # none of one that cannot be read
        message["recipients"] = [one for one in known if space.holds(one["address"])]
    return space is None or bool(message["recipients"])


def declared(host: Host, *, lint: bool = False) -> dict[str, Any]:
    """What ``mailhost accounts`` says, of an older mailhost its verbs one by one; what it says of them with ``lint``.

    With ``lint`` also ``findings``, as ``mailhost lint --json`` has them, and ``unlinted``: why there are none, or "".

    Raises:
        ApiError: the lists cannot be read.
        HostError: the host does not answer.
    """
    if not lint:
        return _listed(host)
    with ThreadPoolExecutor(1) as beside:  # both read every mailbox, each on a processor of its own
        judged = beside.submit(_judged, host)
        return {**_listed(host), **judged.result()}


def _listed(host: Host) -> dict[str, Any]:
    ran = host.run("accounts")
    if ran.code != 2 or "No such command" not in ran.stderr:
        known: dict[str, Any] = _json(ran, "accounts")
        return known
    return {name: asked(host, kind, "list", "--json") for kind, name in LISTS.items()}


def _judged(host: Host) -> dict[str, Any]:
    try:
        return {"findings": asked(host, "lint", "--json", codes=(0, 1))["findings"], "unlinted": ""}
    except ApiError as error:
        return {"findings": [], "unlinted": "; ".join((error.error, *error.evidence))}
    except NotPossibleError as error:
        return {"findings": [], "unlinted": error.what}


def asked(host: Host, *argv: str, codes: tuple[int, ...] = (0,)) -> Any:
    """What ``mailhost ARGV`` prints as JSON.

    Raises:
        ApiError: it did not end with one of ``codes``.
        HostError: the host does not answer.
    """
    return _json(host.run(*argv), argv[0], codes)


def _json(ran: Ran, verb: str, codes: tuple[int, ...] = (0,)) -> Any:
    if ran.code not in codes:
        said = (ran.stderr or ran.stdout).strip().splitlines()[-5:]
        status = 422 if ran.code == 2 else 503
        raise ApiError(status, f"mailhost {verb} ended with {ran.code}", "", tuple(said))
    return json.loads(ran.stdout)
