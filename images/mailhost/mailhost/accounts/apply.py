"""`mailhost apply`: from the host as it is to the host as declared, by the same operations as the single verbs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mailhost.accounts.change.edit import Edit
from mailhost.accounts.change.prefixes import dash_cuts
from mailhost.accounts.errors import InputError
from mailhost.accounts.model import Accounts, Domain, Mailbox
from mailhost.accounts.operations import domains, forwards, logins, mailboxes
from mailhost.accounts.operations.mailboxes import MailboxRequest
from mailhost.accounts.sources.accounts_toml import domain_table
from mailhost.poppasswd import crypt as hashing

PASSWORD_OCTETS = 4_096
"""Of a password file no more is read; no POP3 command line holds as much."""
NewPassword = Callable[[str], str]
"""Gives the hash for a new mailbox (its address) of which the declaration says no password."""


def apply(edit: Edit, now: Accounts, wanted: Accounts, source: Path, new: NewPassword | None, *, delete: bool) -> None:
    """Put into the edit what makes ``now`` into ``wanted``; what is not declared goes, unless ``delete`` is False.

    ``source`` is the declaration's path: errors name it, password files are relative to it.

    Raises:
        InputError: something declared is not possible; the transaction then changes nothing.
    """
    _refuse_overlaps(now, wanted, source)
    _logins(edit, now, wanted)
    if delete:
        _remove(edit, now, wanted)
    for name, domain in wanted.domains.items():
        _make_domain(edit, now, name, domain, source)
    for name, domain in wanted.domains.items():
        if domain.alias_of is None:
            _Boxes(edit, name, now.domains.get(name, Domain(domain.prefix)), domain, source, new, delete).make()
    for name in forwards.TRIO:
        if name in wanted.system or (delete and name in now.system):
            forwards.set_system(edit, name, wanted.system.get(name, ()))


def _refuse_overlaps(now: Accounts, wanted: Accounts, source: Path) -> None:
    """Two declared domains, one of them new, of which one could take the other's mail: the file itself is at fault.

    Raises:
        InputError: it names the file and both tables.
    """
    owners: dict[str, str] = {}
    for name, domain in wanted.domains.items():
        first = owners.setdefault(domain.prefix, name) if domain.alias_of is None else name
        if first != name:
            _refuse_overlap(now, wanted, source, first, name)
    for prefix, name in owners.items():
        for cut in dash_cuts(prefix):
            if cut in owners:
                _refuse_overlap(now, wanted, source, owners[cut], name)


def _refuse_overlap(now: Accounts, wanted: Accounts, source: Path, one: str, other: str) -> None:
    if one in now.domains and other in now.domains:
        return
    theirs, prefix = wanted.domains[one].prefix, wanted.domains[other].prefix
    rule = (
        f"{prefix!r} and {theirs!r} of {domain_table(one)} overlap: {domains.OVERLAP}. "
        f'Give one of the two tables another prefix, as in prefix = "{domains.other_prefix(prefix)}"'
    )
    raise InputError(rule, file=str(source), field=f"{domain_table(other)}: prefix")


def _logins(edit: Edit, now: Accounts, wanted: Accounts) -> None:
    """The policy, and numbers given elsewhere: never fewer than here."""
    if wanted.policy is not None and wanted.policy != now.policy:
        edit.logins.choose(wanted.policy)
        edit.say("change", "login policy", wanted.policy)
    for stem, number in wanted.last.items():
        if number > edit.logins.last.get(stem, 0):
            edit.logins.last[stem], edit.logins.changed = number, True
            edit.say("change", "login numbers", stem, f"next is after {number}")


def _remove(edit: Edit, now: Accounts, wanted: Accounts) -> None:
    """Names for domains first: a domain that others lead to cannot go."""
    gone = [name for name in now.domains if name not in wanted.domains]
    for name in sorted(gone, key=lambda name: now.domains[name].alias_of is None):
        domains.remove(edit, name)


def _make_domain(edit: Edit, now: Accounts, name: str, domain: Domain, source: Path) -> None:
    """Declare the domain where it is new; what cannot be changed in place is refused."""
    there = now.domains.get(name)
    if there is None and domain.alias_of is None:
        try:
            domains.add(edit, name, domain.prefix, way=f'prefix = "{{}}" in {domain_table(name)} of {source}')
        except InputError as why:
            if why.file:
                raise
            raise InputError(why.rule, file=str(source), field=f"{domain_table(name)}: prefix") from why
    elif there is None and domain.alias_of is not None:
        domains.add_alias(edit, name, domain.alias_of)
    elif there is not None and (there.prefix != domain.prefix or there.alias_of != domain.alias_of):
        rule = f"is there with prefix {there.prefix!r}, alias of {there.alias_of}; delete it first to change that"
        raise InputError(rule, file=str(source), field=domain_table(name))


class _Boxes:
    """The addresses of one domain, from what is there to what is wanted."""

    def __init__(
        self, edit: Edit, name: str, there: Domain, wanted: Domain, source: Path, new: NewPassword | None, delete: bool
    ) -> None:
        self.edit, self.name, self.there, self.wanted = edit, name, there, wanted
        self.source, self.new, self.delete = source, new, delete

    def make(self) -> None:
        """Take away first, so that an address or a login can come back as something else."""
        if self.delete:
            self._take_away()
        for local, box in self.wanted.mailboxes.items():
            there = self.there.mailboxes.get(local)
            if there is None:
                self._add(local, box)
            elif not self._same(there, box):
                self._change(local, there, box)
        for local, targets in self.wanted.forwards.items():
            if local not in self.there.forwards:
                forwards.add(self.edit, local, self.name, list(targets))
            elif self.there.forwards[local] != targets:
                forwards.replace(self.edit, local, self.name, targets)
        for local, box in self.wanted.mailboxes.items():
            for alias in box.aliases:
                if alias not in self._aliases(local):
                    mailboxes.add_alias(self.edit, alias, self.name, local)
        if self.wanted.catchall is not None and self.wanted.catchall != self.there.catchall:
            forwards.set_catchall(self.edit, self.name, self.wanted.catchall)

    def _aliases(self, local: str) -> tuple[str, ...]:
        there = self.there.mailboxes.get(local)
        return there.aliases if there else ()

    def _take_away(self) -> None:
        if self.there.catchall is not None and self.wanted.catchall is None:
            forwards.set_catchall(self.edit, self.name, None)
        for local, box in self.there.mailboxes.items():
            wanted = self.wanted.mailboxes.get(local)
            for alias in box.aliases:
                if wanted is None or alias not in wanted.aliases:
                    mailboxes.remove_alias(self.edit, alias, self.name)
            if wanted is None:
                mailboxes.remove(self.edit, local, self.name)
        for local in self.there.forwards:
            gone = local in self.there.mailboxes and local not in self.wanted.mailboxes
            if local not in self.wanted.forwards and not gone:
                forwards.remove(self.edit, local, self.name, [])

    def _same(self, there: Mailbox, box: Mailbox) -> bool:
        """What is not said of an existing box stays as it is; aliases are seen to elsewhere."""
        said = replace(
            box,
            login=there.login if box.login is None else box.login,
            crypt=there.crypt if box.crypt is None else box.crypt,
            aliases=there.aliases,
            password_file=None,
        )
        return said == there and (box.password_file is None or self._verifies(there, box))

    def _verifies(self, there: Mailbox, box: Mailbox) -> bool:
        """True where the password in the file is the one the box has: its hash, with another salt, is no change."""
        stored = (there.crypt or "").encode("latin-1")
        return hashing.verify(self._password(box), stored)

    def _password(self, box: Mailbox) -> bytes:
        path = self.source.parent / str(box.password_file)
        try:
            with path.open("rb") as file:
                line = file.read(PASSWORD_OCTETS).split(b"\n")[0].removesuffix(b"\r")
        except OSError as why:
            raise InputError(f"cannot be read: {why.strerror}", file=str(path), field="password_file") from why
        if not line:
            raise InputError("its first line is empty", file=str(path), field="password_file")
        return line

    def _crypt(self, local: str, box: Mailbox) -> str:
        if box.crypt is not None:
            return box.crypt
        if box.password_file is not None:
            return hashing.make(self._password(box))
        if self.new is not None:
            return self.new(f"{local}@{self.name}")
        raise self._refuse(local, "is new: say crypt or password_file, or run with --generate")

    def _refuse(self, local: str, rule: str) -> InputError:
        table = f'[domains."{self.name}".mailboxes.{local}]'
        return InputError(rule, file=str(self.source), field=table)

    def _add(self, local: str, box: Mailbox) -> None:
        crypt = self._crypt(local, box)
        known = None if box.password_file is None else self._password(box)
        wanted = MailboxRequest(
            local, self.name, crypt, box.login, box.extensions, box.delivery, password=known, known=True
        )
        mailboxes.add(self.edit, wanted)

    def _change(self, local: str, there: Mailbox, box: Mailbox) -> None:
        mailboxes.set_extensions(self.edit, local, self.name, on=box.extensions)
        mailboxes.set_delivery(self.edit, local, self.name, box.delivery)
        if there.login is None:
            logins.give_login(self.edit, local, self.name, self._crypt(local, box), box.login)
            return
        if box.login is not None and box.login != there.login:
            logins.set_login(self.edit, local, self.name, there.login, box.login)
        crypt = box.crypt
        if box.password_file is not None and not self._verifies(there, box):
            crypt = hashing.make(self._password(box))
        if crypt is not None and crypt != there.crypt:
            logins.set_crypt(self.edit, local, self.name, crypt, box.login or there.login)
