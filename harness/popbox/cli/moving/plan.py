"""``popbox migrate plan``: the click command. It gives the exit code back."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import click
import idna
from pydantic import BaseModel, ValidationError

from popbox.cli.options import address
from popbox.cli.output import NAME, OUTPUT, PathName, write
from popbox.clients.wire import Address
from popbox.migrate.copy.report import ImportReport
from popbox.migrate.plan.machine import as_json
from popbox.migrate.plan.plan import Facts
from popbox.migrate.plan.preflight.dns_reader import DnsReader
from popbox.migrate.plan.preflight.judge import look
from popbox.migrate.plan.preflight.starttls import SMTP_PORT, add_starttls
from popbox.migrate.plan.sizing import AuditReport, Load
from popbox.migrate.plan.text import markdown, text
from popbox.migrate.pop3.accounts import Unusable
from popbox.migrate.verify.report import SCHEMA, Report
from popbox.reading import octets_of

WRITTEN, TO_MEND, UNANSWERED = 0, 1, 3
M = TypeVar("M", bound=BaseModel)
FILE = PathName(path_type=Path, dir_okay=False)
COUNT = click.IntRange(0)


class _Name(click.ParamType[str]):
    """A name as DNS has it; of a host its address too."""

    def __init__(self, name: str, *, addresses: bool) -> None:
        """``name`` is what is wanted, in words."""
        self.name, self._addresses = name, addresses

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name as it was given: it is pasted into commands, so that nothing else may stand in it."""
        try:
            if self._addresses and "%" not in value and ipaddress.ip_address(value):  # a zone may be any text
                return value
        except ValueError:
            pass
        try:
            labels = idna.encode(value.removesuffix("."), uts46=True, std3_rules=True).split(b".")
        except (idna.IDNAError, UnicodeError):
            labels = [b"0"]
        if labels[-1].isdigit():
            self.fail(f"{value!r} is no {self.name}", param, ctx)
        return value


HOST = _Name("name or address of a host", addresses=True)
DOMAIN = _Name("domain", addresses=False)


@click.command()
@click.option("--old", required=True, metavar="HOST", type=HOST, help="Name of the old host.")
@click.option("--new", required=True, metavar="HOST", type=HOST, help="Name of the new host.")
@click.option("--domain", "domains", multiple=True, metavar="D", type=DOMAIN, help="A domain that moves; repeat.")
@click.option("--ttl", "ttl_s", type=click.IntRange(1), metavar="S", help="The TTL of its records today, in seconds.")
@click.option("--resolver", type=NAME, metavar="ADDR:PORT", help="Ask this DNS resolver; without it this machine's.")
@click.option("--no-dns", is_flag=True, help="Ask no DNS. Else it is read for each --domain, and both hosts.")
@click.option("--starttls", is_flag=True, help="Look at STARTTLS of the new host and each MX: EHLO, TLS, QUIT.")
@click.option("--new-smtp-port", type=click.IntRange(1, 65_535), metavar="P", help="Of the new host; without it 25.")
@click.option("--boxes", type=COUNT, metavar="N", help="How many mailboxes the new host has: how large must it be?")
@click.option("--polls-per-minute", type=click.FloatRange(0), metavar="N", help="POP3 sessions of all clients.")
@click.option("--messages-per-day", type=COUNT, metavar="N", help="Messages that come in.")
@click.option("--stored-messages", type=COUNT, metavar="N", help="Messages that lie in the mailboxes.")
@click.option("--average-size", type=COUNT, metavar="OCTETS", help="Of a message.")
@click.option("--audit-report", type=FILE, metavar="F", help="Of audit --json: boxes and mail where not given.")
@click.option("--verify-report", "verifies", multiple=True, type=FILE, metavar="F", help="Of verify --json.")
@click.option("--import-report", "imports", multiple=True, type=FILE, metavar="F", help="Of import --json.")
@click.option("--markdown", "markdown_file", type=OUTPUT, metavar="F", help="Write the sheet as Markdown.")
@click.option("--text", "text_file", type=OUTPUT, metavar="F", help="As plain text; without either: to stdout.")
@click.option("--json", "json_file", type=OUTPUT, metavar="F", help="What DNS and STARTTLS show; - for stdout.")
def plan(
    old: str,
    new: str,
    domains: tuple[str, ...],
    ttl_s: int | None,
    resolver: str | None,
    no_dns: bool,
    starttls: bool,
    new_smtp_port: int | None,
    boxes: int | None,
    polls_per_minute: float | None,
    messages_per_day: int | None,
    stored_messages: int | None,
    average_size: int | None,
    audit_report: Path | None,
    verifies: tuple[Path, ...],
    imports: tuple[Path, ...],
    markdown_file: str | None,
    text_file: str | None,
    json_file: str | None,
) -> int:
    """Write the cut-over sheet: TTL, presync, freeze, final pass, verify, switch, roll back.

    With --domain it reads DNS, and says what to mend there and how long before the switch the TTL must be lowered;
    nothing but DNS is contacted, with --starttls the SMTP servers too. Times are those measured in the reports
    given, the last report of a kind counting; otherwise "not measured".
    The exit code is 1 where DNS or STARTTLS has an error, 3 where a question had no answer; the sheet is written.

    \b
    Example:
      popbox migrate plan --old old.example.net --new new.example.net --ttl 86400 \\
          --import-report presync.json --import-report final.json --verify-report verify.json --markdown sheet.md
    """
    if old.rstrip(".").lower() == new.rstrip(".").lower():
        raise click.UsageError(f"--old and --new are one host, {old}: a move has two")
    ask = bool(domains) and not no_dns
    _fitting(ask, starttls, new_smtp_port, json_form=json_file is not None)
    reports = tuple(_read(file, Report) for file in verifies)
    for file, report in zip(verifies, reports, strict=True):
        if report.schema_ != SCHEMA:
            raise Unusable(file, f"schema: {report.schema_!r} is not {SCHEMA!r}")
    passes = tuple(_read(file, ImportReport) for file in imports)
    found = look(DnsReader(_server(resolver)), old, new, domains) if ask else None
    if found is not None and starttls:
        add_starttls(found, datetime.now(UTC), new_smtp_port or SMTP_PORT)
    load = Load(boxes, polls_per_minute, messages_per_day, stored_messages, average_size)
    load = load if audit_report is None else load.completed(_read(audit_report, AuditReport))
    facts = Facts(old, new, domains, ttl_s, reports, passes, found, load if load.given else None)
    for file_, form in ((markdown_file, markdown), (text_file, text)):
        if file_ is not None:
            write(file_, form(facts))
    if json_file is not None:
        write(json_file, as_json(facts))
    if markdown_file is None and text_file is None and json_file != "-":
        click.echo(text(facts), nl=False)
    if found is None or not (found.unanswered or found.errors):
        return WRITTEN
    return UNANSWERED if found.unanswered else TO_MEND


def _fitting(ask: bool, starttls: bool, port: int | None, *, json_form: bool) -> None:
    """Whether the options can do what they say.

    Raises:
        click.UsageError: they ask for the outcome of a look that does not happen.
    """
    if port is not None and not starttls:
        raise click.UsageError("--new-smtp-port is where --starttls looks: give both")
    for option, given in (("--starttls", starttls), ("--json", json_form)):
        if given and not ask:
            raise click.UsageError(f"{option} needs --domain, and DNS: without --no-dns")


def _server(resolver: str | None) -> Address | None:
    """The resolver's address; dnspython asks addresses only.

    Raises:
        click.BadParameter: it is no ADDR:PORT.
    """
    if resolver is None:
        return None
    found = address(resolver)
    try:
        ipaddress.ip_address(found.host)
    except ValueError as error:
        raise click.BadParameter(
            f"{resolver!r}: a resolver is given by its address", param_hint="--resolver"
        ) from error
    return found


def _read(file: Path, model: type[M]) -> M:
    """A report.

    Raises:
        Unusable: the file cannot be read, or a field does not fit; names the field and the rule.
    """
    try:
        return model.model_validate_json(octets_of(file))
    except OSError as error:
        raise Unusable(file, f"cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise Unusable(file, f"{where}: {first['msg']}") from error
