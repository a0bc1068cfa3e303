"""`mailhost init`, `rebuild` and `domain`: the host's tree, and which domains it takes mail for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mailhost.accounts import governed, names
from mailhost.accounts import init as tree
from mailhost.accounts.change.edit import RCPTHOSTS, VIRTUALDOMAINS
from mailhost.accounts.errors import HostError
from mailhost.accounts.files.control_lists import Lines
from mailhost.accounts.files.login_numbers import POLICIES
from mailhost.accounts.layout import layout
from mailhost.accounts.model import Accounts
from mailhost.accounts.operations import domains
from mailhost.accounts.sources import read_back
from mailhost.accounts.sources.accounts_toml import domain_table
from mailhost.cli.common import change, counted, dry_run_option, guarded, hands, home_state, json_option, newu_option
from mailhost.cli.output import print_facts, print_json, print_table
from mailhost.cli.terminal import say


@click.command()
@click.option("--me", metavar="NAME", help="The host's own name, for control/me and control/locals.")
@click.option("--logins", type=click.Choice(list(POLICIES)), help="How new POP3 logins are numbered.")
@dry_run_option
@newu_option
@click.pass_obj
@guarded
def init(home: Path, me: str | None, logins: str | None, newu: str | None, *, dry_run: bool) -> None:
    """Make what is missing of the host's tree, and keep what is there.

    \b
    Example:
      mailhost --home /var/qmail init --me mail.example.net
    """
    if logins is not None:
        governed.refuse(layout(home), "[logins]: policy")
    made = tree.init(hands(home, newu), me, logins, dry_run=dry_run)
    for path in made:
        say(f"would make {path}" if dry_run else f"made {path}")
    if not made:
        say("nothing was missing")


@click.command()
@click.option("--force", is_flag=True, help="Take lines out of users/assign that are in no file of users/domains.")
@dry_run_option
@newu_option
@click.pass_obj
@guarded
def rebuild(home: Path, newu: str | None, *, force: bool, dry_run: bool) -> None:
    """Join users/domains/* into users/assign and make users/cdb: after editing a part by hand.

    \b
    Example:
      mailhost rebuild
      mailhost rebuild --newu /var/qmail/bin/qmail-newu
    """
    parts, entries, gone = tree.rebuild(hands(home, newu), force=force, dry_run=dry_run)
    joined = f"{counted(entries, 'entry', 'entries')} of {counted(parts, 'domain')}"
    say(f"users/assign: would join {joined}" if dry_run else f"users/assign: {joined}; users/cdb made")
    if gone:
        which = ", ".join([*map(str, gone[:10]), *(["..."] if len(gone) > 10 else [])])
        what = "would be taken out" if dry_run else "taken out; the file as it was is users/assign.old"
        say(f"users/assign: line {which}, in no file of users/domains: {what}")


@click.command("newu")
@newu_option
@click.pass_obj
@guarded
def newu(home: Path, newu: str | None) -> None:
    """Make users/cdb from users/assign as it stands, as qmail-newu does: after a line added there by hand.

    Such a line gets mail from now on. The next verb that changes an address refuses to lose it: put it into the file of
    its domain in users/domains for good, and run `mailhost rebuild`.

    \b
    Example:
      mailhost newu
    """
    say(f"users/cdb made from {counted(tree.newu(hands(home, newu)), 'line')} of users/assign")


@click.command()
@click.pass_obj
@guarded
def newmrh(home: Path) -> None:
    """Make control/morercpthosts.cdb from control/morercpthosts, as qmail-newmrh does.

    \b
    Example:
      mailhost newmrh
    """
    from mailhost.qmail.assign import NewuError
    from mailhost.qmail.assign import newmrh as make

    try:
        make(home)
    except NewuError as why:
        raise HostError(f"control/morercpthosts.cdb could not be made, the old one still counts: {why}") from why
    say("control/morercpthosts.cdb made; the next connection sees it")


@click.group()
def domain() -> None:
    """Which domains the host takes mail for."""


@domain.command("add")
@click.argument("name")
@click.option("--prefix", help="Instead of the HOWTO's (domain.com -> domain-com), where that would overlap another.")
@dry_run_option
@newu_option
@click.pass_obj
@guarded
def add(home: Path, name: str, prefix: str | None, newu: str | None, *, dry_run: bool) -> None:
    """Declare a domain: control/rcpthosts, control/virtualdomains and users/domains/NAME.

    \b
    Example:
      mailhost domain add domain.com
    """
    with change(hands(home, newu), table=domain_table(name), dry_run=dry_run) as edit:
        domains.add(edit, names.domain(name), prefix)


@domain.command("alias")
@click.argument("name")
@click.argument("target", metavar="DOMAIN")
@dry_run_option
@newu_option
@click.pass_obj
@guarded
def alias(home: Path, name: str, target: str, newu: str | None, *, dry_run: bool) -> None:
    """Declare NAME as another name for DOMAIN: every address of the one is an address of the other.

    \b
    Example:
      mailhost domain alias domain.net domain.com
    """
    with change(hands(home, newu), table=domain_table(name), dry_run=dry_run) as edit:
        domains.add_alias(edit, names.domain(name), names.domain(target))


@domain.command("del")
@click.argument("name")
@click.option("--purge", is_flag=True, help="Remove the mail too, instead of moving it to popboxes/.removed.")
@dry_run_option
@newu_option
@click.pass_obj
@guarded
def delete(home: Path, name: str, newu: str | None, *, purge: bool, dry_run: bool) -> None:
    """Take a domain away with all its mailboxes; their mail is moved to popboxes/.removed.

    \b
    Example:
      mailhost domain del domain.com --dry-run
    """
    with change(hands(home, newu), table=domain_table(name), dry_run=dry_run) as edit:
        domains.remove(edit, names.domain(name), purge=purge)


@domain.command("list")
@json_option
@click.pass_obj
@guarded
def show_all(home: Path, *, as_json: bool) -> None:
    """List the domains, with what each has.

    \b
    Example:
      mailhost domain list --json
    """
    found = domains_listed(home_state(home))
    if as_json:
        print_json(found)
        return
    head = ("domain", "prefix", "mailboxes", "forwards", "catchall", "alias of")
    keys = ("domain", "prefix", "mailboxes", "forwards", "catchall", "alias_of")
    print_table(head, [["-" if fact[key] is None else fact[key] for key in keys] for fact in found])


def domains_listed(accounts: Accounts) -> list[dict[str, Any]]:
    """Every domain for a list, in the order of the files."""
    return [_facts(accounts, name) for name in accounts.domains]


def _facts(accounts: Accounts, name: str) -> dict[str, Any]:
    """One domain for a list."""
    declared = accounts.domains[name]
    catchall = declared.catchall and f"{declared.catchall}@{name}"
    return {
        "domain": name,
        "prefix": declared.prefix,
        "mailboxes": len(declared.mailboxes),
        "forwards": len(declared.forwards),
        "catchall": catchall,
        "alias_of": declared.alias_of,
    }


@domain.command("show")
@click.argument("name")
@json_option
@click.pass_obj
@guarded
def show(home: Path, name: str, *, as_json: bool) -> None:
    """Show one domain: which lines make it, and what it has.

    \b
    Example:
      mailhost domain show domain.com
    """
    name = names.domain(name)
    accounts = home_state(home, only=name)
    files = layout(home)
    facts = _facts(accounts, name)
    facts["names"] = [other for other, declared in accounts.domains.items() if declared.alias_of == name]
    facts["rcpthosts_line"] = Lines.of(RCPTHOSTS, read_back.text_of(home / RCPTHOSTS)).number(name) or None
    facts["virtualdomains_line"] = read_back.virtual_domains(files).number(name)
    facts["part"] = files.shown(files.parts / (facts["alias_of"] or name))
    if as_json:
        print_json(facts)
        return
    print_facts(name, _sentences(facts, home))


def _sentences(facts: dict[str, Any], home: Path) -> list[tuple[str, str]]:
    """The facts of one domain for a person, with the reason where the HOWTO's own form was not written."""
    line = facts["rcpthosts_line"]
    told = [
        ("accepted", f"by {RCPTHOSTS} line {line}" if line else f"not by {RCPTHOSTS}; `mailhost lint` says more"),
        ("virtual", f"by {VIRTUALDOMAINS} line {facts['virtualdomains_line']}: joe@ becomes {facts['prefix']}-joe"),
        ("addresses", facts["part"]),
        ("boxes", str(home / "popboxes" / facts["prefix"])),
        ("mailboxes", str(facts["mailboxes"])),
        ("forwards", str(facts["forwards"])),
    ]
    if facts["alias_of"]:
        told.append(("alias of", f"{facts['alias_of']}, by the same prefix"))
    if facts["names"]:
        told.append(("other names", ", ".join(facts["names"])))
    if facts["catchall"]:
        why = "dash '-' and .qmail-default: with the HOWTO's empty dash the box's files would not count (H-17)"
        told.append(("catchall", f"{facts['catchall']}, by a + line with {why}"))
    return told
