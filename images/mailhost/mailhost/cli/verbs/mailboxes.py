"""`mailhost mailbox`: an address, a directory and a POP3 login; and `accounts`. `forward` and others are beside."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from mailhost.accounts import governed, names
from mailhost.accounts.errors import InputError
from mailhost.accounts.layout import Layout, layout
from mailhost.accounts.model import Accounts, Delivery, Mailbox
from mailhost.accounts.operations import logins, mailboxes
from mailhost.accounts.sources.accounts_toml import mailbox_table
from mailhost.accounts.sources.read_back import addresses
from mailhost.cli.common import change, dry_run_option, guarded, hands, home_state, json_option, newu_option
from mailhost.cli.output import print_facts, print_json, print_table
from mailhost.cli.temporary_passwords import temporary_
from mailhost.cli.verbs.domains import domains_listed
from mailhost.cli.verbs.forwards import alias, catchall, forward, forwards_listed
from mailhost.cli.verbs.mailbox_import import import_
from mailhost.cli.verbs.mailbox_measure import measure
from mailhost.cli.verbs.mailbox_rehash import rehash
from mailhost.cli.verbs.passwords import Secret, password_options
from mailhost.poppasswd import crypt as hashing

__all__ = ["alias", "catchall", "forward", "mailbox"]


@click.group()
def mailbox() -> None:
    """Mailboxes: an address, a directory, and a POP3 login."""


mailbox.add_command(import_)
mailbox.add_command(measure)
mailbox.add_command(rehash)
mailbox.add_command(temporary_)


@mailbox.command("add")
@click.argument("address")
@click.option("--login", help="The POP3 login; without it the next number of the host's policy.")
@click.option("--name", default="", help="Whose it is: its initials begin a numbered login.")
@click.option("--extensions", is_flag=True, help="Take local-anything@domain too.")
@click.option("--mbox", is_flag=True, help="Deliver into ./Mailbox, which POP3 does not see, instead of ./Maildir/.")
@password_options
@json_option
@dry_run_option
@newu_option
@click.pass_obj
@guarded
def add(
    home: Path,
    address: str,
    login: str | None,
    name: str,
    secret: Callable[[], Secret],
    newu: str | None,
    *,
    extensions: bool,
    mbox: bool,
    as_json: bool,
    dry_run: bool,
) -> None:
    """Declare a mailbox: its directory, Maildir, .qmail, address and login.

    \b
    Example:
      mailhost mailbox add joe@domain.com --login testid --generate
      mailhost mailbox add ann@domain.com --name 'Ann Other' --password-file /root/ann --extensions
    """
    local, domain = names.address(address)
    given = secret()
    delivery = Delivery.MBOX if mbox else Delivery.MAILDIR
    with change(hands(home, newu), table=mailbox_table(domain, local), dry_run=dry_run, quiet=as_json) as edit:
        wanted = mailboxes.MailboxRequest(local, domain, given.crypt, login, extensions, delivery, name)
        login = mailboxes.add(edit, wanted)
    if as_json:
        print_json({"address": wanted.address, "login": login, "password": given.shown})
    elif given.shown is not None:
        click.echo(f"password: {given.shown}")


@mailbox.command("del")
@click.argument("address")
@click.option("--purge", is_flag=True, help="Remove the mail too, instead of moving it to popboxes/.removed.")
@dry_run_option
@newu_option
@click.pass_obj
@guarded
def delete(home: Path, address: str, newu: str | None, *, purge: bool, dry_run: bool) -> None:
    """Take a mailbox away, with its login and aliases; its mail is moved to popboxes/.removed.

    \b
    Example:
      mailhost mailbox del joe@domain.com
    """
    local, domain = names.address(address)
    with change(hands(home, newu), table=mailbox_table(domain, local), dry_run=dry_run) as edit:
        mailboxes.remove(edit, local, domain, purge=purge)


@mailbox.command("passwd")
@click.argument("address")
@click.option("--login", help="Which login, where the box has several.")
@password_options
@dry_run_option
@click.pass_obj
@guarded
def passwd(home: Path, address: str, login: str | None, secret: Callable[[], Secret], *, dry_run: bool) -> None:
    """Give a mailbox a new password.

    \b
    Example:
      mailhost mailbox passwd joe@domain.com
      printf %s "$NEW" | mailhost mailbox passwd joe@domain.com --password-stdin
    """
    local, domain = names.address(address)
    governed.refuse_password(layout(home), local, domain)
    given = secret()
    with change(hands(home, None), table=None, dry_run=dry_run) as edit:
        logins.set_crypt(edit, local, domain, given.crypt, login)
    if given.shown is not None:
        click.echo(f"password: {given.shown}")


@mailbox.command("rename")
@click.argument("address")
@click.argument("new", metavar="NEW-LOCAL-PART")
@dry_run_option
@newu_option
@click.pass_obj
@guarded
def rename(home: Path, address: str, new: str, newu: str | None, *, dry_run: bool) -> None:
    """Give a mailbox another address in its domain; mail, login and password stay.

    \b
    Example:
      mailhost mailbox rename joe@domain.com joseph
    """
    local, domain = names.address(address)
    new_local, new_domain = names.address(new) if "@" in new else (names.local_part(new), domain)
    if new_domain != domain:
        raise InputError("a mailbox stays in its domain; add one there and move the mail", field=new)
    with change(hands(home, newu), table=mailbox_table(domain, local), dry_run=dry_run) as edit:
        mailboxes.rename(edit, local, domain, new_local)


def _switch(name: str, text: str, *, enabled: bool) -> None:
    """Declare `disable` or `enable`, which differ in one word."""

    @mailbox.command(name, help=f"{text}\n\n\b\nExample:\n  mailhost mailbox {name} joe@domain.com")
    @click.argument("address")
    @dry_run_option
    @click.pass_obj
    @guarded
    def switch(home: Path, address: str, *, dry_run: bool) -> None:
        local, domain = names.address(address)
        governed.refuse_password(layout(home), local, domain)
        with change(hands(home, None), table=None, dry_run=dry_run) as edit:
            logins.set_enabled(edit, local, domain, enabled=enabled)


_switch("disable", "Lock a mailbox's login; mail still arrives, `enable` brings the same password back.", enabled=False)
_switch("enable", "Unlock a mailbox's login.", enabled=True)


@mailbox.command("set")
@click.argument("address")
@click.option("--extensions/--no-extensions", default=None, help="Take local-anything@domain too, or no more.")
@click.option("--mbox/--maildir", default=None, help="Deliver into ./Mailbox (POP3 does not see it) or ./Maildir/.")
@dry_run_option
@newu_option
@click.pass_obj
@guarded
def set_(
    home: Path, address: str, newu: str | None, *, extensions: bool | None, mbox: bool | None, dry_run: bool
) -> None:
    """Change how a mailbox takes mail.

    \b
    Example:
      mailhost mailbox set joe@domain.com --extensions
    """
    local, domain = names.address(address)
    with change(hands(home, newu), table=mailbox_table(domain, local), dry_run=dry_run) as edit:
        if extensions is not None:
            mailboxes.set_extensions(edit, local, domain, on=extensions)
        if mbox is not None:
            mailboxes.set_delivery(edit, local, domain, Delivery.MBOX if mbox else Delivery.MAILDIR)


@mailbox.command("list")
@click.argument("domain", required=False)
@json_option
@click.pass_obj
@guarded
def show_all(home: Path, domain: str | None, *, as_json: bool) -> None:
    """List the mailboxes of a domain, or of all.

    \b
    Example:
      mailhost mailbox list domain.com --json
    """
    accounts = home_state(home, only=names.domain(domain) if domain else None)
    found = mailboxes_listed(layout(home), accounts)
    if as_json:
        print_json(found)
        return
    rows = [
        (
            fact["address"],
            fact["login"] or "-",
            fact["state"],
            fact["scheme"] or "-",
            "yes" if fact["extensions"] else "",
            " ".join(fact["aliases"]),
        )
        for fact in found
    ]
    print_table(("address", "login", "state", "hash", "extensions", "aliases"), rows)


def mailboxes_listed(files: Layout, accounts: Accounts) -> list[dict[str, Any]]:
    """Every mailbox for a list, in the order of the files."""
    return [_facts(files, accounts, name, local, box) for name, local, box in addresses(accounts)]


def _facts(files: Layout, accounts: Accounts, domain: str, local: str, box: Mailbox) -> dict[str, Any]:
    """One mailbox for a list; the hash itself is not shown."""
    crypt = (box.crypt or "").encode("latin-1")
    scheme = hashing.scheme_of(crypt.removeprefix(logins.LOCK))
    usable = scheme is not None and not crypt.startswith(logins.LOCK)
    declared = accounts.domains[domain]
    return {
        "address": f"{local}@{domain}",
        "login": box.login,
        "state": "no login" if box.login is None else "enabled" if usable else "disabled",
        "scheme": scheme,
        "directory": os.fsdecode(files.home_of(declared.prefix, local)),
        "delivery": box.delivery.value,
        "extensions": box.extensions,
        "aliases": [f"{name}@{domain}" for name in box.aliases],
        "forwards": list(declared.forwards.get(local, ())),
        "catchall": declared.catchall == local,
    }


@mailbox.command("show")
@click.argument("address")
@json_option
@click.pass_obj
@guarded
def show(home: Path, address: str, *, as_json: bool) -> None:
    """Show one mailbox: its login, directory, and the lines that lead into it.

    \b
    Example:
      mailhost mailbox show joe@domain.com
    """
    local, domain = names.address(address)
    accounts = home_state(home, only=domain)
    domain = accounts.domains[domain].alias_of or domain
    box = accounts.domains[domain].mailboxes.get(local)
    if box is None:
        raise InputError("is not a mailbox; `mailhost explain` says what happens to its mail", field=address)
    facts = _facts(layout(home), accounts, domain, local, box)
    if as_json:
        print_json(facts)
        return
    print_facts(facts["address"], _sentences(facts, accounts.domains[domain].prefix, local))


def _sentences(facts: dict[str, Any], prefix: str, local: str) -> list[tuple[str, str]]:
    """The facts of one mailbox for a person, with the reason where the HOWTO's own form was not written."""
    told = [
        ("login", f"{facts['login']}, {facts['state']}, hash {facts['scheme']}" if facts["login"] else "none"),
        ("directory", facts["directory"]),
        (
            "delivery",
            facts["delivery"] + ("" if facts["delivery"].endswith("/") else ", which POP3 does not see (H-33)"),
        ),
    ]
    if facts["extensions"]:
        why = "the HOWTO's single + line would take other names too and bypass .qmail (H-13)"
        told.append(("extensions", f"{local}-anything, by a second line +{prefix}-{local}- with .qmail-default; {why}"))
    told += [("alias", name) for name in facts["aliases"]]
    told += [("forwards to", target) for target in facts["forwards"]]
    told += [("catchall", "for the whole domain")] if facts["catchall"] else []
    return told


@click.command()
@click.pass_obj
@guarded
def accounts(home: Path) -> None:
    """Print all domains, mailboxes and forwards as JSON on one line, from one reading.

    {"domains": [...], "mailboxes": [...], "forwards": [...]}, each as its `list --json` has it.

    \b
    Example:
      mailhost accounts
    """
    place, declared = layout(home), home_state(home)
    said = {
        "domains": domains_listed(declared),
        "mailboxes": mailboxes_listed(place, declared),
        "forwards": forwards_listed(declared),
    }
    print_json(said, indent=None)
