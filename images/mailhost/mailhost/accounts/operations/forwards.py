"""Operations on what leads elsewhere: forwards, a domain's catchall, and the ~alias trio."""

from __future__ import annotations

import os

from mailhost.accounts import names
from mailhost.accounts.change.edit import Edit
from mailhost.accounts.errors import InputError
from mailhost.accounts.files import box_directories
from mailhost.accounts.files.box_directories import DOT_QMAIL, DotQmail
from mailhost.accounts.files.domain_part import Kind
from mailhost.accounts.layout import Layout
from mailhost.system.beneath import Beneath
from mailhost.system.reading import Refused

TRIO = ("postmaster", "mailer-daemon", "root")
"""The addresses of the host itself that the HOWTO keeps in ~alias, and the only ones (H-6)."""


def add(edit: Edit, local: str, domain: str, targets: list[str]) -> None:
    """Forward an address; one that is a mailbox keeps its copy as well.

    Raises:
        InputError: unknown domain, the address is an alias, a target is there already or is the address itself.
    """
    part = edit.part(domain)
    address = f"{local}@{domain}"
    entry = part.exact(local)
    if entry is not None and entry.box != local:
        raise InputError(f"is an alias of {entry.box}@{domain}; forward that", file=part.file, field=address)
    if entry is None and part.foreign_for(local):
        raise InputError("a line not of mailhost's making takes this address", file=part.file, field=address)
    dot = edit.dot_qmail(part.prefix, local) if entry else DotQmail(None)
    for target in targets:
        if target in dot.forwards:
            raise InputError(f"goes to {target} already", field=address)
        if target.lower() == address:
            raise InputError("would go to itself; `mailbox add` keeps a copy here", field=address)
        dot = DotQmail(dot.delivery, (*dot.forwards, target))
    if entry is None:
        part.add(Kind.EXACT, local, local, edit.layout.identity)
    edit.set_dot_qmail(part, local, dot)
    kept = ", and a copy is kept" if dot.delivery else ""
    edit.say("add", "forward", address, f"to {', '.join(targets)}{kept}")


def remove(edit: Edit, local: str, domain: str, targets: list[str]) -> None:
    """Take some targets of a forward away, or all; without any left the address is gone, unless it is a mailbox.

    Raises:
        InputError: no such forward, no such target.
    """
    part = edit.part(domain)
    address = f"{local}@{domain}"
    entry = part.exact(local)
    dot = edit.dot_qmail(part.prefix, local) if entry and entry.box == local else DotQmail(None)
    if not dot.forwards:
        raise InputError("is not a forward", file=part.file, field=address)
    for target in targets:
        if target not in dot.forwards:
            raise InputError(f"does not go to {target}", field=address)
    left = tuple(target for target in dot.forwards if targets and target not in targets)
    if left or dot.delivery:
        edit.set_dot_qmail(part, local, DotQmail(dot.delivery, left))
    else:
        for gone in part.of_box(local):
            part.remove(gone.kind, gone.local)
        edit.forget_box(part.prefix, local)
        mail = any(edit.there(part.prefix, local, name) for name in ("Maildir", "Mailbox"))
        edit.set_aside(edit.layout.box(part.prefix, local), {}, purge=not mail)
    edit.say("remove", "forward", address, f"to {', '.join(targets or dot.forwards)}")


def replace(edit: Edit, local: str, domain: str, targets: tuple[str, ...]) -> None:
    """Give an existing forward exactly these targets, in this order.

    Raises:
        InputError: no such forward, or its .qmail is not of our making.
    """
    part = edit.part(domain)
    dot = edit.dot_qmail(part.prefix, local)
    if dot.forwards != targets:
        edit.set_dot_qmail(part, local, DotQmail(dot.delivery, targets))
        edit.say("change", "forward", f"{local}@{domain}", f"to {', '.join(targets)}")


def set_catchall(edit: Edit, domain: str, local: str | None) -> None:
    """Lead what no line takes into a mailbox or forward of the domain; None lets it bounce again.

    Raises:
        InputError: no such address, or there is none to unset.
    """
    part = edit.part(domain)
    before = part.entries.get((Kind.CATCHALL, ""))
    if local is None and before is None:
        raise InputError("has no catchall", file=part.file, field=f"domain {domain}")
    if local is not None:
        entry = part.exact(local)
        if entry is None:
            raise InputError("is not declared", file=part.file, field=f"{local}@{domain}")
        local = entry.box
    if before is not None and before.box == local:
        return
    part.remove(Kind.CATCHALL, "")
    if local is not None:
        part.add(Kind.CATCHALL, "", local, edit.layout.identity)
        edit.set_dot_qmail(part, local, edit.dot_qmail(part.prefix, local))
    if before is not None:
        edit.set_dot_qmail(part, before.box, edit.dot_qmail(part.prefix, before.box))
    if local is None:
        edit.say("remove", "catchall", domain)
    else:
        edit.say("change" if before else "add", "catchall", domain, f"into {local}@{domain}")


def set_system(edit: Edit, name: str, targets: tuple[str, ...]) -> None:
    """Send what comes for one of the trio at the host's own name to these addresses; none removes the file.

    Raises:
        InputError: not one of the trio, or the file there is not of our making.
    """
    if name not in TRIO:
        raise InputError(
            f"is none of {', '.join(TRIO)}: ~alias has no others here (H-6)", field=f"system alias {name!r}"
        )
    edit.transaction.read_mark(edit.layout.alias / f"{DOT_QMAIL}-{name}", follow=False)
    try:
        before = system(edit.layout, name)
    except Refused:
        before = ()  # a link is replaced
    if before == targets:
        return
    made = DotQmail(None, tuple(names.target(target) for target in targets)).render()
    edit.system[f"{DOT_QMAIL}-{name}"] = made if targets else None
    action = "remove" if not targets else "change" if before else "add"
    edit.say(action, "system alias", name, f"to {', '.join(targets)}" if targets else "")


def system(layout: Layout, name: str) -> tuple[str, ...]:
    """The targets that a file of ~alias names; none for no file.

    Raises:
        InputError: a line is not a forward.
        Refused: the file may not be read, see `boxes.read`.
    """
    file = f"{DOT_QMAIL}-{name}"
    try:
        with Beneath(layout.alias) as alias:
            text = box_directories.read(alias, file, os.fstat(alias.fileno()).st_uid)
    except FileNotFoundError:
        return ()
    said = box_directories.parse(text or b"")
    if isinstance(said, int) or said.delivery is not None:
        line = said if isinstance(said, int) else 1
        rule = "this line is not of mailhost's making; change that file by hand"
        raise InputError(rule, file=f"alias/{file}", line=line)
    return said.forwards
