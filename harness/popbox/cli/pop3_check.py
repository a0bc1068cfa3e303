"""``popbox pop3-check``: the click command. It gives the exit code back: 0, 1 failed, 2 unusable, 3 unreachable."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import click

from popbox.cli.options import address, password_in
from popbox.cli.output import NAME, OUTPUT, PathName, write
from popbox.conformance.box import Options
from popbox.conformance.catalogue import CHECKS
from popbox.conformance.profiles import PROFILES
from popbox.conformance.report import as_json, listing, summary, table
from popbox.conformance.session import Target
from popbox.conformance.suite import chosen, run, unusable
from popbox.conformance.tlscontext import trusting
from popbox.conformance.verdict import Status
from popbox.errors import ConnectionFailed, StepTimeout

PASSED, FAILED, UNUSABLE, UNREACHABLE = 0, 1, 2, 3


def maildir_at(path: Path | None) -> Path | None:
    """The path itself where it is a Maildir.

    Raises:
        click.BadParameter: it lacks new/, cur/ or tmp/.
    """
    if path is not None and not all((path / part).is_dir() for part in ("new", "cur", "tmp")):
        raise click.BadParameter(f"--maildir {path}: it lacks new/, cur/ or tmp/")
    return path


def known(names: tuple[str, ...], option: str) -> tuple[str, ...]:
    """The names given, where each is a check, an area or a deviation.

    Raises:
        click.BadParameter: one is none of them.
    """
    there = {name for row in CHECKS for name in (row.name, row.area, row.deviation)}
    for name in names:
        if name not in there:
            raise click.BadParameter(f"{option} {name}: no check, area or deviation has that name; see --list")
    return names


@click.command()
@click.argument("server", type=NAME, metavar="HOST:PORT", required=False)
@click.option("--login", type=NAME, help="A login of the server.")
@click.option("--password-file", type=NAME, metavar="F", help="Its first line is the password; - for standard input.")
@click.option("--profile", type=click.Choice(sorted(PROFILES)), default="rfc1939", show_default=True)
@click.option(
    "--maildir", type=PathName(path_type=Path), help="The box's Maildir: hard messages are put in for the run."
)
@click.option("--allow-changes", is_flag=True, help="DELE and QUIT too: for a test box.")
@click.option(
    "--only", multiple=True, type=NAME, metavar="NAME", help="Only this check, area or deviation; more than once."
)
@click.option(
    "--skip", multiple=True, type=NAME, metavar="NAME", help="Not this check, area or deviation; more than once."
)
@click.option("--exact", is_flag=True, help="A deviation that the profile expects must show.")
@click.option("--tls", is_flag=True, help="Connections begin with a handshake (POP3S).")
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(0.1, 600), default=10.0, show_default=True, help="Seconds."
)
@click.option("--json", "json_file", type=OUTPUT, metavar="F", help="Write the findings here; - for standard output.")
@click.option("--list", "list_only", is_flag=True, help="Show the checks and make none.")
@click.option("-v", "--verbose", is_flag=True, help="Show the checks that passed as well.")
def pop3_check(
    server: str | None,
    login: str | None,
    password_file: str | None,
    profile: str,
    maildir: Path | None,
    allow_changes: bool,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    exact: bool,
    tls: bool,
    timeout_s: float,
    json_file: str | None,
    list_only: bool,
    verbose: bool,
) -> int:
    """Check any POP3 server against RFC 1939 and its extensions, from outside, without changing the box.

    Exit codes: 0 passed (deviations that the profile expects included), 1 a failure, 2 unusable input (a refused
    login too), 3 server unreachable.
    """
    chosen_profile = PROFILES[profile]
    rows = chosen(CHECKS, chosen_profile, known(only, "--only"), known(skip, "--skip"))
    if list_only:
        click.echo("\n".join(listing(rows)))
        return PASSED
    if server is None or login is None or password_file is None:
        raise click.UsageError("give HOST:PORT, --login and --password-file")
    target = Target(address(server), timeout_s, trusting() if tls else None)
    options = Options(target, login, password_in(password_file), maildir_at(maildir), allow_changes)
    try:
        refused = unusable(options)
    except (ConnectionFailed, StepTimeout) as error:
        click.echo(f"popbox pop3-check: {error}", err=True)
        return UNREACHABLE
    if refused is not None:
        click.echo(f"popbox pop3-check: {refused.said}", err=True)
        return UNUSABLE
    began = datetime.now(UTC).isoformat(timespec="seconds")
    findings = run(options, chosen_profile, rows, exact=exact)
    if json_file is not None:
        text = json.dumps(as_json(server, tls, chosen_profile, began, findings), indent=1) + "\n"
        write(json_file, text)
    if json_file != "-":
        click.echo("\n".join(table(findings, chosen_profile, verbose)))
        click.echo(summary(findings, chosen_profile))
    return FAILED if any(finding.status is Status.FAILED for finding in findings) else PASSED
