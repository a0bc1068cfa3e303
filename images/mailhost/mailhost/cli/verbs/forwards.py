"""`mailhost forward`, `catchall` and `alias`: addresses that are no mailbox of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mailhost.accounts import names
from mailhost.accounts.errors import InputError
from mailhost.accounts.model import Accounts
from mailhost.accounts.operations import forwards, mailboxes
from mailhost.accounts.sources.accounts_toml import domain_table
from mailhost.cli.common import change, dry_run_option, guarded, hands, home_state, json_option, newu_option
from mailhost.cli.output import print_json, print_table


@click.group()
def forward() -> None:
    """Addresses whose mail goes to other addresses."""


@forward.command("add")
@click.argument("address")
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True)
@dry_run_option
@newu_option
@click.pass_obj
@guarded
def forward_add(home: Path, address: str, targets: tuple[str, ...], newu: str | None, *, dry_run: bool) -> None:
    """Forward an address; one that is a mailbox keeps a copy too.

    \b
    Example:
      mailhost forward add sales@domain.com joe@domain.com someone@elsewhere.example
    """
    local, domain = names.address(address)
    with change(hands(home, newu), table=domain_table(domain), dry_run=dry_run) as edit:
        forwards.add(edit, local, domain, [names.target(target) for target in targets])


@forward.command("del")
@click.argument("address")
@click.argument("targets", metavar="[TARGET...]", nargs=-1)
@dry_run_option
@newu_option
@click.pass_obj
@guarded
def forward_del(home: Path, address: str, targets: tuple[str, ...], newu: str | None, *, dry_run: bool) -> None:
    """Take targets of a forward away; without any named, the whole forward.

    \b
    Example:
      mailhost forward del sales@domain.com someone@elsewhere.example
    """
    local, domain = names.address(address)
    with change(hands(home, newu), table=domain_table(domain), dry_run=dry_run) as edit:
        forwards.remove(edit, local, domain, [names.target(target) for target in targets])


@forward.command("list")
@click.argument("domain", required=False)
@json_option
@click.pass_obj
@guarded
def forward_list(home: Path, domain: str | None, *, as_json: bool) -> None:
    """List the forwards of a domain, or of all.

    \b
    Example:
      mailhost forward list domain.com
    """
    found = forwards_listed(home_state(home, only=names.domain(domain) if domain else None))
    if as_json:
        print_json(found)
        return
    rows = [(f["address"], " ".join(f["targets"]), "yes" if f["keeps_copy"] else "") for f in found]
    print_table(("address", "to", "keeps a copy"), rows)


def forwards_listed(accounts: Accounts) -> list[dict[str, Any]]:
    """Every forward for a list, in the order of the files."""
    return [
        {"address": f"{local}@{name}", "targets": list(targets), "keeps_copy": local in declared.mailboxes}
        for name, declared in accounts.domains.items()
        for local, targets in declared.forwards.items()
    ]


@click.group()
def catchall() -> None:
    """Where a domain's mail goes that no other line takes."""


@catchall.command("set")
@click.argument("domain")
@click.argument("address")
@dry_run_option
@newu_option
@click.pass_obj
@guarded
def catchall_set(home: Path, domain: str, address: str, newu: str | None, *, dry_run: bool) -> None:
    """Lead the rest of a domain into one of its mailboxes or forwards.

    \b
    Example:
      mailhost catchall set domain.com joe@domain.com
    """
    domain = names.domain(domain)
    local, host = names.address(address) if "@" in address else (names.local_part(address), domain)
    with change(hands(home, newu), table=domain_table(domain), dry_run=dry_run) as edit:
        edit.domain_prefix(domain)
        if host != domain:
            rule = f"must be in {domain}; forward an address of {domain} there, and name that one"
            raise InputError(rule, field=f"catchall {address}")
        forwards.set_catchall(edit, domain, local)


@catchall.command("unset")
@click.argument("domain")
@dry_run_option
@newu_option
@click.pass_obj
@guarded
def catchall_unset(home: Path, domain: str, newu: str | None, *, dry_run: bool) -> None:
    """Let mail for unknown addresses of a domain bounce again.

    \b
    Example:
      mailhost catchall unset domain.com
    """
    domain = names.domain(domain)
    with change(hands(home, newu), table=domain_table(domain), dry_run=dry_run) as edit:
        forwards.set_catchall(edit, domain, None)


@catchall.command("list")
@json_option
@click.pass_obj
@guarded
def catchall_list(home: Path, *, as_json: bool) -> None:
    """List the domains that have a catchall.

    \b
    Example:
      mailhost catchall list
    """
    accounts = home_state(home, private=False)
    found = {name: f"{d.catchall}@{name}" for name, d in accounts.domains.items() if d.catchall}
    if as_json:
        print_json([{"domain": name, "catchall": address} for name, address in found.items()])
        return
    print_table(("domain", "catchall"), list(found.items()))


@click.group()
def alias() -> None:
    """More addresses for a mailbox, and the host's own three (postmaster, mailer-daemon, root)."""


@alias.command("add")
@click.argument("address")
@click.argument("mailbox")
@dry_run_option
@newu_option
@click.pass_obj
@guarded
def alias_add(home: Path, address: str, mailbox: str, newu: str | None, *, dry_run: bool) -> None:
    """Let ADDRESS lead into MAILBOX, both of one domain.

    \b
    Example:
      mailhost alias add info@domain.com joe@domain.com
    """
    local, domain = names.address(address)
    box, host = names.address(mailbox) if "@" in mailbox else (names.local_part(mailbox), domain)
    with change(hands(home, newu), table=domain_table(domain), dry_run=dry_run) as edit:
        edit.domain_prefix(domain)
        if host != domain:
            rule = "must be in the same domain; `mailhost forward add` goes anywhere"
            raise InputError(rule, field=f"mailbox {mailbox}")
        mailboxes.add_alias(edit, local, domain, box)


@alias.command("del")
@click.argument("address")
@dry_run_option
@newu_option
@click.pass_obj
@guarded
def alias_del(home: Path, address: str, newu: str | None, *, dry_run: bool) -> None:
    """Take an alias away; the mailbox stays.

    \b
    Example:
      mailhost alias del info@domain.com
    """
    local, domain = names.address(address)
    with change(hands(home, newu), table=domain_table(domain), dry_run=dry_run) as edit:
        mailboxes.remove_alias(edit, local, domain)


@alias.command("system")
@click.argument("name", type=click.Choice([*forwards.TRIO, "all"]))
@click.argument("targets", metavar="[TARGET...]", nargs=-1)
@dry_run_option
@newu_option
@click.pass_obj
@guarded
def alias_system(home: Path, name: str, targets: tuple[str, ...], newu: str | None, *, dry_run: bool) -> None:
    """Say who reads the host's own postmaster, mailer-daemon or root (or `all`); without a TARGET, no one.

    \b
    Example:
      mailhost alias system all joe@domain.com
    """
    with change(hands(home, newu), table="[system]", dry_run=dry_run) as edit:
        for each in forwards.TRIO if name == "all" else (name,):
            forwards.set_system(edit, each, tuple(names.target(target) for target in targets))


@alias.command("list")
@click.argument("domain", required=False)
@json_option
@click.pass_obj
@guarded
def alias_list(home: Path, domain: str | None, *, as_json: bool) -> None:
    """List the aliases of a domain; or of all, with the host's own three.

    \b
    Example:
      mailhost alias list --json
    """
    accounts = home_state(home, only=names.domain(domain) if domain else None)
    found = [(name, " ".join(targets)) for name, targets in accounts.system.items()]
    for name, declared in accounts.domains.items():
        for local, box in declared.mailboxes.items():
            found += [(f"{other}@{name}", f"{local}@{name}") for other in box.aliases]
    if as_json:
        print_json([{"alias": name, "target": target} for name, target in found])
        return
    print_table(("alias", "leads to"), found)
