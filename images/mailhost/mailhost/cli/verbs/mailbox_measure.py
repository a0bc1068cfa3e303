"""`mailhost mailbox measure`: sizes of large mailboxes, learned before a client asks for them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import click

from mailhost.accounts import names
from mailhost.accounts.errors import HostError, InputError
from mailhost.accounts.layout import layout
from mailhost.accounts.model import Accounts, Delivery
from mailhost.accounts.sources.read_back import addresses
from mailhost.cli.common import counted, guarded, home_state, note
from mailhost.pop3.protocol.profiles import PROFILES


@click.command("measure")
@click.argument("wanted", metavar="[ADDRESS]...", nargs=-1)
@click.option("--profile", type=click.Choice(sorted(PROFILES)), default="rfc1939", show_default=True)
@click.pass_obj
@guarded
def measure(home: Path, wanted: tuple[str, ...], profile: str) -> None:
    """Size the messages of large mailboxes now, so that no client's first LIST has to; of all, or of those named.

    For after a move, a restore, or anything else that brings many messages at once. It leaves a file `popbox-sizes`
    in Maildirs of 1,024 messages and more; the profile is the server's. Run it as root, or as popuser.

    \b
    Example:
      mailhost mailbox measure
      mailhost mailbox measure joe@domain.com --profile qmail
    """
    from mailhost.pop3.maildrop.errors import MaildropError
    from mailhost.pop3.maildrop.premeasure import premeasure
    from mailhost.system.privileges import become

    boxes = list(_maildirs(home, home_state(home), {names.address(address) for address in wanted}))
    identity = layout(home).identity
    if os.geteuid() == 0:
        become(identity.uid, identity.gid)
    found, failed = [], 0
    for maildir in boxes:
        try:
            found.append(premeasure(os.fsencode(maildir), qmail_quirks=PROFILES[profile].qmail_quirks))
        except MaildropError as why:
            note(f"cannot be measured: {why}")
            failed += 1
    large = [messages for messages in found if messages]
    inside, in_ = counted(sum(large), "message"), counted(len(large), "large mailbox", "large mailboxes")
    click.echo(f"measured {inside} in {in_}; {counted(len(found) - len(large), 'small one')} not in need of it")
    if failed:
        raise HostError(f"{counted(failed, 'mailbox', 'mailboxes')} could not be measured")


def _maildirs(home: Path, accounts: Accounts, wanted: set[tuple[str, str]]) -> Iterator[Path]:
    """Of the mailboxes that deliver into one.

    Raises:
        InputError: an address that is no mailbox.
    """
    left = set(wanted)
    for domain, local, box in addresses(accounts):
        if wanted and (local, domain) not in wanted:
            continue
        left.discard((local, domain))
        if box.delivery is Delivery.MAILDIR:
            yield layout(home).box(accounts.domains[domain].prefix, local) / "Maildir"
    if left:
        local, domain = min(left)
        raise InputError("is not a mailbox", field=f"{local}@{domain}")
