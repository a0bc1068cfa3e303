"""`mailhost apply`: from the host as it is to the host as declared, by the same operations as the single verbs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mailhost.accounts.change.edit import Edit
from mailhost.accounts.errors import InputError
from mailhost.accounts.model import Accounts, Domain, Mailbox
from mailhost.accounts.operations import domains, forwards, logins, mailboxes
from mailhost.accounts.operations.mailboxes import MailboxRequest
from mailhost.accounts.possible import Passwords, check, unchanged
from mailhost.accounts.sources.accounts_toml import domain_table, mailbox_table
from mailhost.accounts.sources.declaration import Declaration
from mailhost.accounts.sources.tables import Mistakes, bare
from mailhost.poppasswd import crypt as hashing

NewPassword = Callable[[str], str]
"""Gives the hash for a new mailbox (its address) of which the declaration says no password."""


def apply(
    edit: Edit, now: Accounts, wanted: Accounts, source: Declaration, new: NewPassword | None, *, delete: bool
) -> None:
    """Put into the edit what makes ``now`` into ``wanted``; what is not declared goes, unless ``delete`` is False.

    ``source`` is what declares ``wanted``.

    Raises:
        InputError: something declared is not possible; the transaction then changes nothing. Names every table that is
            in the way, each with its line.
    """
    passwords = check(now, wanted, source, generates=new is not None)
    refused = Mistakes(str(source.file))
    _logins(edit, now, wanted)
    if delete:
        _remove(edit, now, wanted)
    made: set[str] = set()
    for name, domain in sorted(wanted.domains.items(), key=lambda one: one[1].alias_of is not None):
        if domain.alias_of is None or domain.alias_of in made:  # a name for a domain may stand above it in the file
            with refused.noting(("domains", name, "prefix"), domain_table(name)):
                _make_domain(edit, now, name, domain, source)
                made.add(name)
    for name, domain in wanted.domains.items():
        if domain.alias_of is None and name in made:
            there = now.domains.get(name, Domain(domain.prefix))
            _Boxes(edit, name, there, domain, passwords, new, delete, refused).make()
    for name in forwards.TRIO:
        if name in wanted.system or (delete and name in now.system):
            with refused.noting(("system", name), f"[system]: {name}"):
                forwards.set_system(edit, name, wanted.system.get(name, ()))
    source.refuse(refused)


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


def _make_domain(edit: Edit, now: Accounts, name: str, domain: Domain, source: Declaration) -> None:
    """Declare the domain where it is new."""
    there = now.domains.get(name)
    if there is None and domain.alias_of is None:
        domains.add(edit, name, domain.prefix, way=f'prefix = "{{}}" in {domain_table(name)} of {source.file}')
    elif there is None and domain.alias_of is not None:
        domains.add_alias(edit, name, domain.alias_of)


@dataclass
class _Boxes:
    """The addresses of one domain, from what is there to what is wanted."""

    edit: Edit
    name: str
    there: Domain
    wanted: Domain
    passwords: Passwords
    new: NewPassword | None
    delete: bool
    refused: Mistakes

    def make(self) -> None:
        """Take away first, so that an address or a login can come back as something else."""
        if self.delete:
            self._take_away()
        before = len(self.refused.found)
        for local, box in self.wanted.mailboxes.items():
            try:
                self._declare(local, box)
            except InputError as why:
                table = mailbox_table(self.name, local)
                self.refused.note(("domains", self.name, "mailboxes", local), table, str(why))
        for local, targets in self.wanted.forwards.items():
            try:
                self._forward(local, targets)
            except InputError as why:
                table = f"[domains.{bare(self.name)}.forwards]: {bare(local)}"
                self.refused.note(("domains", self.name, "forwards", local), table, str(why))
        if len(self.refused.found) == before:  # what leads to an address that is refused tells nothing more
            self._lead()

    def _declare(self, local: str, box: Mailbox) -> None:
        there = self.there.mailboxes.get(local)
        if there is None:
            self._add(local, box)
        elif not self._same(there, box):
            self._change(local, there, box)

    def _forward(self, local: str, targets: tuple[str, ...]) -> None:
        if local not in self.there.forwards:
            forwards.add(self.edit, local, self.name, list(targets))
        elif self.there.forwards[local] != targets:
            forwards.replace(self.edit, local, self.name, targets)

    def _lead(self) -> None:
        """Aliases and the catchall, to what is there now."""
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
        return unchanged(there, box) and (box.password_file is None or self._verifies(there, box))

    def _verifies(self, there: Mailbox, box: Mailbox) -> bool:
        """True where the password in the file is the one the box has: its hash, with another salt, is no change."""
        stored = (there.crypt or "").encode("latin-1")
        return hashing.verify(self._password(box), stored)

    def _password(self, box: Mailbox) -> bytes:
        return self.passwords[str(box.password_file)]

    def _crypt(self, local: str, box: Mailbox) -> str:
        if box.crypt is not None:
            return box.crypt
        if box.password_file is not None:
            return hashing.make(self._password(box))
        assert self.new is not None, "`possible.check` has refused it"
        return self.new(f"{local}@{self.name}")

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
