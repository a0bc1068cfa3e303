"""Operations on domains: declare one, or another name for one; take one away."""

from __future__ import annotations

import pwd
from pathlib import Path

from mailhost.accounts import names
from mailhost.accounts.change.edit import LOCALS, VIRTUALDOMAINS, Edit
from mailhost.accounts.change.prefixes import dash_cuts
from mailhost.accounts.errors import InputError
from mailhost.accounts.files.control_lists import Lines
from mailhost.accounts.operations.logins import owner_of

OVERLAP = "qmail would take one domain's mail for the other's (H-9)"


def add(edit: Edit, domain: str, prefix: str | None = None, *, way: str = "--prefix {}") -> None:
    """Declare a domain under the HOWTO's prefix, or another one; ``way`` is how the caller can be told another.

    Raises:
        InputError: declared already, local, or its prefix could take or lose another's mail (H-9, H-10).
    """
    prefix = names.prefix_of(domain) if prefix is None else names.prefix(prefix)
    _refuse_declared(edit, domain)
    _refuse_local(edit, domain)
    advice = f"Give this domain another prefix, as in {way.replace('{}', other_prefix(prefix), 1)}"
    _refuse_overlap(edit, domain, prefix, advice)
    _refuse_account(domain, prefix, advice)
    edit.prefixes.declare(domain, prefix)
    edit.load_part(domain, prefix)
    _list(edit, domain, prefix)
    edit.say("add", "domain", domain, f"prefix {prefix}")


def other_prefix(prefix: str) -> str:
    """A prefix that overlaps nothing which has the HOWTO's, and is another one."""
    return prefix.replace("-", "_") if "-" in prefix else f"{prefix}_mail"


def add_alias(edit: Edit, domain: str, target: str) -> None:
    """Declare another name for a domain: the same prefix, so the same boxes and no part file of its own.

    Raises:
        InputError: declared already, local, or the target is not declared.
    """
    _refuse_declared(edit, domain)
    _refuse_local(edit, domain)
    prefix = edit.domain_prefix(target)
    edit.prefixes.declare(domain, prefix)
    _list(edit, domain, prefix)
    edit.say("add", "domain alias", domain, f"of {edit.owner(target)}")


def remove(edit: Edit, domain: str, *, purge: bool = False) -> None:
    """Take a domain away with all its boxes; their mail goes to popboxes/.removed, or with ``purge`` for good.

    Raises:
        InputError: not declared, other names lead to it, or its part has a line that is not ours.
    """
    prefix = edit.domain_prefix(domain)
    if edit.owner(domain) != domain:
        _unlist(edit, domain)
        edit.say("remove", "domain alias", domain)
        return
    others = [name for name in edit.prefixes.domains_of(prefix) if name != domain]
    if others:
        raise InputError(f"{', '.join(others)} lead to it; delete those first", field=f"domain {domain}")
    part = edit.part(domain)
    foreign = part.foreign()
    if foreign:
        raise InputError(
            f"{foreign[0].line.decode('latin-1')!r} is not of mailhost's making; take it out first", file=part.file
        )
    boxes = {entry.box for entry in part.entries.values()}
    rows = {box: edit.rows.of_home(edit.layout.home_of(prefix, box)) for box in sorted(boxes)}
    owners = {box: owner_of(edit, of_box, f"{box}@{domain}") for box, of_box in rows.items() if of_box}
    logins = [row.login for of_box in rows.values() for row in of_box]
    for login in logins:
        edit.rows.drop(login)
        edit.logins.seen(login.decode("latin-1"))
    edit.forget_part(domain)
    edit.removed_domains.append(domain)
    _unlist(edit, domain)
    edit.set_aside(edit.layout.popboxes / prefix, owners, purge=purge)
    fate = "removed" if purge else "kept in popboxes/.removed"
    edit.say("remove", "domain", domain, f"boxes: {len(boxes)}, logins: {len(logins)}, mail {fate}")


def _list(edit: Edit, domain: str, prefix: str) -> None:
    edit.virtual.add(f"{domain}:{prefix}")
    if not edit.rcpthosts.number(domain):
        edit.rcpthosts.add(domain)


def _unlist(edit: Edit, domain: str) -> None:
    edit.prefixes.forget(domain)
    edit.virtual.remove(domain)
    edit.rcpthosts.remove(domain)


def _refuse_declared(edit: Edit, domain: str) -> None:
    if line := edit.virtual.number(domain):
        raise InputError("is there already", file=VIRTUALDOMAINS, line=line, field=f"domain {domain}")


def _refuse_local(edit: Edit, domain: str) -> None:
    """qmail never looks a local domain up in virtualdomains (H-10); without the file, `me` is the one local domain."""
    text = edit.transaction.read(edit.layout.home / LOCALS)
    file = LOCALS
    if text is None:
        file, text = "control/me", edit.transaction.read(edit.layout.control / "me")
    if line := Lines.of(file, text).number(domain):
        raise InputError(
            "the domain is local there, so its mail would go to system accounts (H-10); take it out first",
            file=file,
            line=line,
            field=f"domain {domain}",
        )


def _refuse_overlap(edit: Edit, domain: str, prefix: str, advice: str) -> None:
    """Two prefixes must differ, and neither may be the other and a ``-`` (H-9)."""
    if not edit.prefixes.overlaps(prefix):
        return
    other, theirs = next((name, p) for name, p in edit.prefixes.items() if names.overlap(p, prefix))
    raise InputError(
        f"{prefix!r} and {theirs!r} of {other} overlap: {OVERLAP}. {advice}",
        file=VIRTUALDOMAINS,
        line=edit.virtual.number(other),
        field=f"prefix of {domain}",
    )


def _refuse_account(domain: str, prefix: str, advice: str) -> None:
    """Mail that no line takes goes to a system account named like the prefix or its beginning (Q-GETPW-1, 5)."""
    for name in [prefix, *dash_cuts(prefix)]:
        if is_mail_account(name):
            raise InputError(
                f"mail for unknown addresses would go to the system account {name!r} (Q-GETPW-5). {advice}",
                field=f"prefix {prefix!r} of {domain}",
            )


def is_mail_account(name: str) -> bool:
    """What qmail-getpw takes: a user other than root whose home exists and is his own."""
    if name == "alias":
        return True
    try:
        entry = pwd.getpwnam(name)
        return entry.pw_uid != 0 and Path(entry.pw_dir).stat().st_uid == entry.pw_uid
    except (KeyError, OSError):
        return False
