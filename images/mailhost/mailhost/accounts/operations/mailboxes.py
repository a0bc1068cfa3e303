"""Operations on mailboxes: declare, take away, rename, lock, and what leads into them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mailhost.accounts.change.edit import Edit
from mailhost.accounts.errors import InputError
from mailhost.accounts.files.box_directories import DotQmail
from mailhost.accounts.files.domain_part import Kind, Part
from mailhost.accounts.model import Delivery
from mailhost.accounts.operations.logins import check_crypt, owner_of, rows_of, take_login
from mailhost.poppasswd import crypt as hashing
from mailhost.poppasswd.file import Row


@dataclass(frozen=True, slots=True)
class MailboxRequest:
    """A mailbox to declare; without a login the numbering policy gives one, with ``name`` for its letters.

    ``password`` is what ``crypt`` was made of, where that is at hand: earlier mail of the box comes back by it.
    ``known``: a file that says the whole host declares it, so without a login it has the one that it had; a single verb
    gives no number twice.
    """

    local: str
    domain: str
    crypt: str
    login: str | None = None
    extensions: bool = False
    delivery: Delivery = Delivery.MAILDIR
    name: str = ""
    password: bytes | None = None
    known: bool = False

    @property
    def address(self) -> str:
        """local@domain."""
        return f"{self.local}@{self.domain}"


def add(edit: Edit, wanted: MailboxRequest) -> str:
    """Declare a mailbox with its login; returns the login.

    Raises:
        InputError: unknown domain, the address or the login is taken, or the hash cannot stand in users/poppasswd.
    """
    part = edit.part(wanted.domain)
    check_crypt(wanted.crypt)
    forward = _room_for(edit, part, wanted)
    back, said = _back(edit, part, wanted) if forward is None else (None, "")
    login = take_login(edit, wanted.local, wanted.domain, wanted.login or back, wanted.name)
    box = wanted.local
    part.add(Kind.EXACT, box, box, edit.layout.identity)
    if wanted.extensions:
        part.add(Kind.EXTENSIONS, box, box, edit.layout.identity)
    edit.box(part.prefix, box).maildir = True
    edit.set_dot_qmail(part, box, DotQmail(wanted.delivery, forward.forwards if forward else ()), fresh=forward is None)
    home = edit.layout.home_of(part.prefix, box)
    edit.rows.set(Row(login.encode(), wanted.crypt.encode(), edit.layout.identity.user.encode(), home))
    edit.logins.seen(login)
    notes = ["joe-anything too".replace("joe", box)] if wanted.extensions else []
    notes += ["into ./Mailbox, which POP3 does not see"] if wanted.delivery is Delivery.MBOX else []
    notes += [said] if said else []
    edit.say("add", "mailbox", wanted.address, "; ".join([f"login {login}", *notes]))
    return login


def _back(edit: Edit, part: Part, wanted: MailboxRequest) -> tuple[str | None, str]:
    """Give a box its earlier mail where its login and password are those that opened it; that login, and what was done.

    Another owner's mail stays where it is: an address may have a new owner.
    """
    kept = edit.kept_of(f"{wanted.local}@{edit.owner(wanted.domain)}")
    if not kept:
        return None, ""
    place = edit.layout.box(part.prefix, wanted.local)
    for one in kept:
        unsaid = wanted.login is None and not wanted.known
        login = None if unsaid else one.owner.login_of(wanted.login, wanted.crypt, wanted.password)
        taken = login is None or edit.rows.get(login.encode()) is not None
        if not taken and not edit.there(part.prefix, wanted.local):
            edit.bring_back(one, place)
            return login, f"with the mail that was kept in popboxes/.removed/{one.name}"
    names = ", ".join(one.name for one in kept)
    return None, f"earlier mail of another login or password stays in popboxes/.removed/{names} (`mailhost removed`)"


def login_of(edit: Edit, wanted: MailboxRequest, password: bytes | None) -> str | None:
    """The login of a mailbox that is already all that is wanted, with this password or the wanted hash; else None."""
    part = edit.part(wanted.domain)
    taken = part.exact(wanted.local)
    extensions = (Kind.EXTENSIONS, wanted.local) in part.entries
    if taken is None or taken.box != wanted.local or extensions != wanted.extensions:
        return None
    if edit.dot_qmail(part.prefix, wanted.local).delivery is not wanted.delivery:
        return None
    for row in rows_of(edit, wanted.local, wanted.domain):
        login = row.login.decode("latin-1")
        same = row.crypt == wanted.crypt.encode() if password is None else hashing.verify(password, row.crypt)
        if same and wanted.login in (None, login):
            return login
    return None


def _room_for(edit: Edit, part: Part, wanted: MailboxRequest) -> DotQmail | None:
    """None where the address is free; the .qmail where it is a forward, which then keeps a copy here from now on."""
    taken = part.exact(wanted.local)
    if taken is None:
        foreign = part.foreign_for(wanted.local)
        if foreign:
            raise InputError(
                f"{foreign.line.decode('latin-1')!r} takes this address and is not of mailhost's making",
                file=part.file,
                field=wanted.address,
            )
        return None
    if taken.box != wanted.local:
        raise InputError(f"is an alias of {taken.box}@{wanted.domain}", file=part.file, field=wanted.address)
    dot = edit.dot_qmail(part.prefix, wanted.local)
    if dot.delivery is not None or not dot.forwards:
        raise InputError("is declared already", file=part.file, field=wanted.address)
    return dot


def find(edit: Edit, local: str, domain: str) -> Part:
    """The part of a declared mailbox.

    Raises:
        InputError: no such mailbox, or the address is an alias or a forward.
    """
    part = edit.part(domain)
    entry = part.exact(local)
    if entry is None:
        raise InputError("is not declared", file=part.file, field=f"{local}@{domain}")
    if entry.box != local:
        raise InputError(f"is an alias of {entry.box}@{domain}", file=part.file, field=f"{local}@{domain}")
    return part


def remove(edit: Edit, local: str, domain: str, *, purge: bool = False) -> None:
    """Take a mailbox away with its logins and aliases; the mail goes to popboxes/.removed, or for good.

    Raises:
        InputError: no such mailbox.
    """
    part = find(edit, local, domain)
    gone = part.of_box(local)
    for entry in gone:
        part.remove(entry.kind, entry.local)
    rows = rows_of(edit, local, domain)
    for row in rows:
        edit.rows.drop(row.login)
        edit.logins.seen(row.login.decode("latin-1"))
    edit.forget_box(part.prefix, local)
    owner = owner_of(edit, rows, f"{local}@{domain}")
    edit.set_aside(edit.layout.box(part.prefix, local), {"": owner} if rows else {}, purge=purge)
    aliases = [entry.local for entry in gone if entry.kind is Kind.EXACT and entry.local != local]
    notes = [f"aliases {', '.join(sorted(aliases))} too"] if aliases else []
    notes += ["the domain's catchall too"] if any(entry.kind is Kind.CATCHALL for entry in gone) else []
    notes.append("mail removed" if purge else "mail kept in popboxes/.removed")
    edit.say("remove", "mailbox", f"{local}@{domain}", "; ".join(notes))


def rename(edit: Edit, local: str, domain: str, new: str) -> None:
    """Give a mailbox of a domain another address; login, password, mail, aliases and extensions stay with it.

    Raises:
        InputError: no such mailbox, or the new address is taken.
    """
    part = find(edit, local, domain)
    if part.exact(new) or edit.there(part.prefix, new):
        raise InputError("is declared already, or its directory exists", file=part.file, field=f"{new}@{domain}")
    for entry in part.of_box(local):
        part.remove(entry.kind, entry.local)
        address = new if entry.local == local else entry.local
        part.add(entry.kind, address, new, edit.layout.identity)
    home = edit.layout.home_of(part.prefix, new)
    for row in rows_of(edit, local, domain):
        edit.rows.set(Row(row.login, row.crypt, row.realuser, home))
    edit.renamed.append((edit.layout.box(part.prefix, local), edit.layout.box(part.prefix, new)))
    edit.say("change", "mailbox", f"{local}@{domain}", f"now {new}@{domain}")


def set_extensions(edit: Edit, local: str, domain: str, *, on: bool) -> None:
    """Let a box take local-anything too, or no more.

    Raises:
        InputError: no such mailbox, or its .qmail is not of our making.
    """
    part = find(edit, local, domain)
    if ((Kind.EXTENSIONS, local) in part.entries) == on:
        return
    if on:
        part.add(Kind.EXTENSIONS, local, local, edit.layout.identity)
    else:
        part.remove(Kind.EXTENSIONS, local)
    edit.set_dot_qmail(part, local, edit.dot_qmail(part.prefix, local))
    edit.say("change", "mailbox", f"{local}@{domain}", f"extensions {'on' if on else 'off'}")


def set_delivery(edit: Edit, local: str, domain: str, delivery: Delivery) -> None:
    """Deliver into the Maildir or into ./Mailbox from now on; old mail stays where it is.

    Raises:
        InputError: no such mailbox, or its .qmail is not of our making.
    """
    part = find(edit, local, domain)
    dot = edit.dot_qmail(part.prefix, local)
    if dot.delivery is delivery:
        return
    edit.set_dot_qmail(part, local, replace(dot, delivery=delivery))
    edit.say("change", "mailbox", f"{local}@{domain}", f"delivery into {delivery.value}")


def add_alias(edit: Edit, local: str, domain: str, box: str) -> None:
    """Let another address of the domain lead into a mailbox.

    Raises:
        InputError: the address is taken, or there is no such mailbox.
    """
    part = find(edit, box, domain)
    if edit.dot_qmail(part.prefix, box).delivery is None:
        raise InputError("is a forward; add the alias as another forward", field=f"{box}@{domain}")
    taken = part.exact(local)
    if taken is not None and taken.box == box != local:
        return
    if taken is not None:
        raise InputError("is declared already", file=part.file, field=f"{local}@{domain}")
    part.add(Kind.EXACT, local, box, edit.layout.identity)
    edit.say("add", "alias", f"{local}@{domain}", f"of {box}@{domain}")


def remove_alias(edit: Edit, local: str, domain: str) -> None:
    """Take an alias away.

    Raises:
        InputError: the address is no alias.
    """
    part = edit.part(domain)
    entry = part.exact(local)
    if entry is None or entry.box == local:
        raise InputError("is not an alias", file=part.file, field=f"{local}@{domain}")
    part.remove(Kind.EXACT, local)
    edit.say("remove", "alias", f"{local}@{domain}", f"of {entry.box}@{domain}")
