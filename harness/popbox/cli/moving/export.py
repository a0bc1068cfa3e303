"""``popbox migrate export``: exit code 0 all is over, 1 something is lost or not as it was, 2 bad input."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from popbox.cli.moving.audit import read
from popbox.cli.moving.import_report import report
from popbox.cli.output import FOLDER, NAME, OUTPUT, PathName
from popbox.migrate.export.run import KINDS, Wish, run


def _owner(_ctx: click.Context, _param: click.Parameter, text: str) -> tuple[int, int]:
    uid, colon, gid = text.partition(":")
    if not colon or not uid.isdecimal() or not gid.isdecimal():
        raise click.BadParameter(f"{text!r} is not UID:GID, two numbers")
    return int(uid), int(gid)


@click.command()
@click.option("--home", type=PathName(path_type=Path, file_okay=False, exists=True), required=True, metavar="DIR",
              help="The qmail home to leave, or a copy of it; it is only read.")  # fmt: skip
@click.option("--to", "kind", type=click.Choice(KINDS), required=True, help="For which server.")
@click.option("--out", type=FOLDER, required=True, metavar="DIR",
              help="Takes mail/, the files of the other server, and the state of the export.")  # fmt: skip
@click.option(
    "--as", "stands_for", type=NAME, metavar="PATH", help="What the copy is on its own host, such as /var/qmail."
)
@click.option("--profile", type=click.Choice(["rfc1939", "qmail"]), default="rfc1939", show_default=True,
              help="Of the POP3 server that clients know: how it orders and names messages.")  # fmt: skip
@click.option("--owner", metavar="UID:GID", default="888:888", show_default=True, callback=_owner,
              help="Whose the mail is over there.")  # fmt: skip
@click.option("--root", type=PathName(path_type=Path), metavar="PATH",
              help="Where mail/ will lie over there, if not in DIR.")  # fmt: skip
@click.option(
    "--status-fields",
    "fields",
    is_flag=True,
    help="mbox: add Status, X-Status and X-UIDL to messages, for servers that read them; this changes them.",
)
@click.option("--json", "json_file", type=OUTPUT, metavar="F",
              help="What this pass did and how long it took; - for standard output.")  # fmt: skip
def export(
    home: Path,
    kind: str,
    out: Path,
    stands_for: str | None,
    profile: str,
    owner: tuple[int, int],
    root: Path | None,
    fields: bool,
    json_file: str | None,
) -> int:
    """Move away: copy all mailboxes and logins of a qmail home for another server, with their UIDLs and order.

    Run it again and it follows what the home did since. The home is only read.

    \b
    Example:
      popbox migrate export --home /var/qmail --to dovecot --out away --root /srv/mail
    """
    wish = Wish(kind, home, stands_for, profile, owner, root, fields)  # type: ignore[arg-type]
    outcome = read(lambda: run(wish, out, sys.stderr))
    return report(outcome, out, None, True, json_file)
