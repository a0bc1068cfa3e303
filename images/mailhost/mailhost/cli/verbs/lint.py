"""`mailhost lint`."""

from __future__ import annotations

from pathlib import Path

import click

from mailhost.accounts import lint as rules
from mailhost.accounts.layout import layout
from mailhost.accounts.lint.facts import Finding
from mailhost.cli.common import counted, guarded, hands, json_option, newu_option
from mailhost.cli.output import print_json
from mailhost.cli.terminal import say


@click.command()
@click.option("--fix", "mend", is_flag=True, help="Mend what has one right answer, after showing it.")
@click.option("--strict", is_flag=True, help="Take warnings for errors.")
@click.option("--machine", is_flag=True, help="Only disks, sender and certificate: quick, however many accounts.")
@json_option
@click.option("--dry-run", is_flag=True, help="With --fix: show what it would mend, and mend nothing.")
@newu_option
@click.pass_obj
@guarded
def lint(
    home: Path, newu: str | None, *, mend: bool, strict: bool, machine: bool, as_json: bool, dry_run: bool
) -> None:
    """Check all files as one set: what would lose mail, refuse it, or let the wrong people in.

    Exit 0: nothing wrong (perhaps warnings). Exit 1: something is wrong, or with --strict doubtful.

    \b
    Example:
      mailhost lint
      mailhost lint --fix
    """
    if machine and mend:
        raise click.UsageError("--fix mends files; --machine looks at none")
    place = layout(home)
    found = rules.lint(place, machine=machine)
    mended: list[Finding] = []
    if mend:
        for finding in (f for f in found if f.fixable and not as_json):
            say(f"{'would mend' if dry_run else 'mending'} {finding.file}: {finding.cure}: {finding.text}")
    if mend and not dry_run:
        mended = rules.fix(found, hands(home, newu))
        found = rules.lint(place)
    if as_json:
        print_json({"findings": [_facts(f) for f in found], "mended": [_facts(f) for f in mended]})
    else:
        for finding in found:
            say(str(finding))
        say(_summary(found, mended))
    if any(finding.level == "error" or strict for finding in found):
        raise SystemExit(1)


def _facts(finding: Finding) -> dict[str, object]:
    return {
        "level": finding.level,
        "rule": finding.rule,
        "file": finding.file,
        "line": finding.line or None,
        "text": finding.text,
        "fix": finding.cure if finding.fixable else None,
    }


def _summary(found: list[Finding], mended: list[Finding]) -> str:
    errors = sum(finding.level == "error" for finding in found)
    done = f"{len(mended)} mended, " if mended else ""
    if not found:
        return f"{done}nothing wrong"
    return f"{done}{counted(errors, 'error')}, {counted(len(found) - errors, 'warning')}"
