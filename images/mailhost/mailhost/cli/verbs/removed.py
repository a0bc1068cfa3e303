"""`mailhost removed`: the mail of mailboxes that were taken away."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from mailhost.accounts import names
from mailhost.accounts.change.edit import editing
from mailhost.accounts.errors import InputError
from mailhost.accounts.files import removed as store
from mailhost.accounts.files.removed import Kept
from mailhost.accounts.layout import layout
from mailhost.accounts.operations import keepsake, mailboxes
from mailhost.cli.common import counted, dry_run_option, guarded, hands, json_option
from mailhost.cli.output import print_json, print_table
from mailhost.cli.terminal import say

DAY_S = 86400


@click.group()
def removed() -> None:
    """Mail of mailboxes that were taken away: popboxes/.removed."""


@removed.command("list")
@json_option
@click.pass_obj
@guarded
def show_all(home: Path, *, as_json: bool) -> None:
    """List the kept mailboxes, the newest first, with how much mail each holds.

    \b
    Example:
      mailhost removed list --json
    """
    place = layout(home)
    found = [(one, keepsake.mail(place, one)) for one in store.kept(place)]
    found = [(one, mail) for one, mail in found if one.owner.address or mail != keepsake.Mail()]
    if as_json:
        print_json([_facts(one, mail) for one, mail in found])
        return
    rows = [
        (one.name, one.owner.address or "-", " ".join(login for login, _ in one.owner.rows) or "-", str(mail.messages),
         str(mail.octets + mail.mbox))
        for one, mail in found
    ]  # fmt: skip
    print_table(("name", "address", "login", "messages", "octets"), rows)


def _facts(one: Kept, mail: keepsake.Mail) -> dict[str, object]:
    return {
        "name": one.name,
        "address": one.owner.address or None,
        "logins": [login for login, _ in one.owner.rows],
        "removed": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(one.at_s)),
        "messages": mail.messages,
        "octets": mail.octets,
        "mbox_octets": mail.mbox,
    }


@removed.command("restore")
@click.argument("which", metavar="NAME|ADDRESS")
@click.option("--to", "address", help="The mailbox that gets the mail. [default: the address that it had]")
@dry_run_option
@click.pass_obj
@guarded
def restore(home: Path, which: str, address: str | None, *, dry_run: bool) -> None:
    """Move kept mail into a mailbox that is declared: whoever opens that one reads it from then on.

    A mailbox that is declared again with the login and password that it had gets its mail back by itself.

    \b
    Example:
      mailhost removed restore joe@domain.com
      mailhost removed restore domain-com/joe.20261127T184500Z --to ann@domain.com
    """
    with editing(hands(home, None)) as edit:
        one = store.one(edit.layout, which)
        to = address or one.owner.address
        if not to:
            raise InputError("nothing says whose it was: give --to ADDRESS", field=which)
        local, domain = names.address(to)
        part = mailboxes.find(edit, local, domain)
        if dry_run:
            say(f"would move {counted(keepsake.mail(edit.layout, one).messages, 'message')} to {local}@{domain}")
            return
        moved, left = keepsake.restore(edit.layout, one, edit.layout.box(part.prefix, local))
    say(f"moved {counted(moved, 'message')} to {local}@{domain}")
    if left:
        say(f"{counted(left, 'message')} left in popboxes/.removed/{one.name}: others have their names there")


@removed.command("purge")
@click.argument("which", metavar="[NAME...]", nargs=-1)
@click.option("--older-than", "days", type=click.FloatRange(0), metavar="DAYS", help="All that were removed before.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@dry_run_option
@click.pass_obj
@guarded
def purge(home: Path, which: tuple[str, ...], days: float | None, *, yes: bool, dry_run: bool) -> None:
    """Remove kept mailboxes for good: those named, or all of a certain age.

    \b
    Example:
      mailhost removed purge --older-than 90
      mailhost removed purge domain-com/joe.20261127T184500Z
    """
    if bool(which) == (days is not None):
        raise click.UsageError("give NAMEs, or --older-than DAYS")
    with editing(hands(home, None)) as edit:
        place = edit.layout
        chosen = [store.one(place, name) for name in which]
        if days is not None:
            chosen = [one for one in store.kept(place) if one.at_s <= time.time() - days * DAY_S]
        if chosen and not yes and not dry_run:
            _ask(chosen)
        for one in chosen:
            if not dry_run:
                keepsake.purge(place, one)
            say(f"{'would remove' if dry_run else 'removed'} popboxes/.removed/{one.name}")
    if not chosen:
        say("nothing to remove")


def _ask(chosen: list[Kept]) -> None:
    """Have a person agree.

    Raises:
        InputError: no terminal to ask on.
    """
    if not os.isatty(0):
        raise InputError(f"would remove {counted(len(chosen), 'mailbox', 'mailboxes')} for good: give --yes")
    print_table(("name", "address"), [(one.name, one.owner.address or "-") for one in chosen])
    click.confirm("Remove these for good?", abort=True, err=True)
