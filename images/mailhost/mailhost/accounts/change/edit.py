"""A change of the host while it is put together: the files it reads, the edits they get, and how these become steps.

`domains`, `mailboxes` and `forwards` hold the operations; each edits this object and says what it does as `Change`s.
Only what an operation touches is read: one domain's part for a mailbox, all of users/poppasswd never.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mailhost.accounts.change import assign
from mailhost.accounts.change.journal import HostEffects
from mailhost.accounts.change.prefixes import Prefixes
from mailhost.accounts.change.transaction import Transaction
from mailhost.accounts.errors import HostError, InputError
from mailhost.accounts.files import box_directories, login_numbers, removed
from mailhost.accounts.files import domain_part as part
from mailhost.accounts.files.box_directories import DOT_DEFAULT, DOT_QMAIL, DotQmail
from mailhost.accounts.files.control_lists import Lines, VirtualDomains
from mailhost.accounts.files.domain_part import Kind, Part
from mailhost.accounts.files.durable import Mark, mark_to_read
from mailhost.accounts.files.poppasswd_edit import PoppasswdEdit
from mailhost.accounts.files.removed import REMOVED, Kept, Owner
from mailhost.accounts.layout import Layout
from mailhost.poppasswd.file import stamp_path
from mailhost.system.beneath import Beneath
from mailhost.system.reading import Refused

RCPTHOSTS, VIRTUALDOMAINS, LOCALS = "control/rcpthosts", "control/virtualdomains", "control/locals"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing a change does, for people: ``add``, ``remove`` or ``change``; of what; which one; and how."""

    action: str
    kind: str
    name: str
    detail: str = ""


@dataclass(slots=True)
class BoxEdit:
    """What a box directory gets: files (None removes one), and a Maildir where asked."""

    texts: dict[str, str | None] = field(default_factory=dict)
    maildir: bool = False
    seen: dict[str, Mark | None] = field(default_factory=dict)
    """The marks of the files as they were before any of them was read."""


class Edit:
    """See the module. Use inside the transaction, with `rows` open."""

    def __init__(self, transaction: Transaction, rows: PoppasswdEdit, popboxes: Beneath) -> None:
        """Reads the two control lists and the login numbers."""
        self.transaction, self.rows, self.popboxes = transaction, rows, popboxes
        self.layout: Layout = transaction.layout
        home = self.layout.home
        rcpthosts = transaction.read(home / RCPTHOSTS)
        if rcpthosts is None:
            raise HostError(
                f"{RCPTHOSTS}: missing; qmail then accepts mail for every domain of the world (Q-RCPT-1). "
                "`mailhost init` makes an empty one"
            )
        self.rcpthosts = Lines.of(RCPTHOSTS, rcpthosts)
        self.virtual = VirtualDomains.of(VIRTUALDOMAINS, transaction.read(home / VIRTUALDOMAINS))
        self._as_read = rcpthosts, self.virtual.render()
        self.prefixes = Prefixes(self.virtual.prefixes())
        self.logins = login_numbers.parse(transaction.read(self.layout.users / login_numbers.FILE), "users/logins")
        self.changes: list[Change] = []
        self.boxes: dict[tuple[str, str], BoxEdit] = {}
        self.system: dict[str, bytes | None] = {}
        self.taken_away: list[tuple[str, Path, Path]] = []
        self.renamed: list[tuple[Path, Path]] = []
        self.brought: list[tuple[Kept, Path]] = []
        self.removed_domains: list[str] = []
        self._owners: dict[Path, dict[str, Owner]] = {}
        self._kept: dict[str, list[Kept]] | None = None
        self._seen: dict[str, Mark | None] = {}
        self._parts: dict[str, Part] = {}
        self._parts_read: dict[str, bytes] = {}

    def say(self, action: str, kind: str, name: str, detail: str = "") -> None:
        """Note one change."""
        self.changes.append(Change(action, kind, name, detail))

    def domain_prefix(self, domain: str) -> str:
        """The prefix of a declared domain.

        Raises:
            InputError: it is not declared.
        """
        if domain not in self.prefixes:
            raise InputError(f"is not declared; `mailhost domain add {domain}` does", field=f"domain {domain}")
        return self.prefixes[domain]

    def owner(self, domain: str) -> str:
        """The domain whose part file has this domain's lines: itself, or the one it is an alias of."""
        prefix = self.domain_prefix(domain)
        if domain in self._parts or (self.layout.parts / domain).exists():
            return domain
        same = self.prefixes.domains_of(prefix)
        return next((name for name in same if name in self._parts or (self.layout.parts / name).exists()), same[0])

    def part(self, domain: str) -> Part:
        """The part file of a domain or of what it is an alias of, read once.

        Raises:
            InputError: the domain is not declared, or a line of its part is not one.
        """
        name = self.owner(domain)
        if name not in self._parts:
            self.load_part(name, self.prefixes[name])
        return self._parts[name]

    def load_part(self, name: str, prefix: str) -> Part:
        """Read (or, where there is none, begin) the part file of a domain."""
        path = self.layout.parts / name
        text = self.transaction.read(path)
        shown = self.layout.shown(path)
        self._parts[name] = part.parse(text or b"", prefix, str(self.layout.popboxes / prefix), shown)
        if text is not None:
            self._parts_read[name] = text
        return self._parts[name]

    def forget_part(self, name: str) -> None:
        """The part goes with its domain."""
        self._parts.pop(name, None)
        self._parts_read.pop(name, None)

    def box(self, prefix: str, name: str) -> BoxEdit:
        """The edits of one box directory."""
        return self.boxes.setdefault((prefix, name), BoxEdit())

    def forget_box(self, prefix: str, name: str) -> None:
        """The box goes: what it would have got is not made."""
        self.boxes.pop((prefix, name), None)

    def dot_qmail(self, prefix: str, box: str) -> DotQmail:
        """What the box's .qmail says, with the edits so far.

        Raises:
            InputError: a line in it is none of ours, so it is not ours to rewrite.
        """
        shown = f"popboxes/{prefix}/{box}/{DOT_QMAIL}"
        pending = self.boxes.get((prefix, box), BoxEdit()).texts.get(DOT_QMAIL)
        try:
            return self._ours(prefix, box, DOT_QMAIL) if pending is None else _parsed(pending.encode(), shown)
        except Refused as why:
            raise InputError(f"{why.strerror}; change that file by hand", file=shown) from why

    def _ours(self, prefix: str, box: str, name: str) -> DotQmail:
        """What a file of a box says now.

        Raises:
            Refused, and InputError: a line in it is none of ours.
        """
        path = f"{prefix}/{box}/{name}"
        self._see(path)
        text = box_directories.read(self.popboxes, path, self.layout.identity.uid)
        return DotQmail(None) if text is None else _parsed(text, f"popboxes/{path}")

    def _see(self, path: str) -> Mark | None:
        """Remember what stands at a path below popboxes/, before it is read or replaced; returns its mark."""
        if path not in self._seen:
            found = self.popboxes.lstat(path)
            known = None if found is None else mark_to_read(lambda: self.popboxes.lstat(path) or found)
            self._seen[path] = known
        return self._seen[path]

    def there(self, *parts: str) -> bool:
        """Whether something stands at a path below popboxes/, if only a link."""
        return self.popboxes.lstat("/".join(parts)) is not None

    def set_dot_qmail(self, part: Part, box: str, dot: DotQmail, *, fresh: bool = False) -> None:
        """Write a box's .qmail, and the same as .qmail-default where extensions or the catchall lead there (H-16).

        Raises:
            InputError: a line in the .qmail-default that stands there is none of ours, so it is not ours to replace.
        """
        text = dot.render().decode()
        catchall = part.entries.get((Kind.CATCHALL, ""))
        wild = (Kind.EXTENSIONS, box) in part.entries or (catchall is not None and catchall.box == box)
        edits = self.box(part.prefix, box)
        edits.texts[DOT_QMAIL] = text
        if wild or (not fresh and self.there(part.prefix, box, DOT_DEFAULT)):
            with contextlib.suppress(Refused):  # a link is replaced, and what it leads to is not touched
                self._ours(part.prefix, box, DOT_DEFAULT)
            edits.texts[DOT_DEFAULT] = text if wild else None
        if not fresh or self.there(part.prefix, box):
            edits.seen = {name: self._see(f"{part.prefix}/{box}/{name}") for name in edits.texts}

    def set_aside(self, path: Path, owners: dict[str, Owner], *, purge: bool) -> None:
        """Take a directory away when all else is done: into popboxes/.removed, or for good.

        ``owners`` says whose the boxes in it are, by name; the empty one is the directory itself.
        """
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        base = self.layout.popboxes / REMOVED / path.relative_to(self.layout.popboxes)
        target = base.with_name(f"{base.name}.{stamp}")
        again = 2
        while self._is_taken(target):
            target, again = base.with_name(f"{base.name}.{stamp}.{again}"), again + 1
        if self.there(str(path.relative_to(self.layout.popboxes))):
            self.taken_away.append(("purge" if purge else "move", path, target))
            if not purge and owners:
                self._owners[target] = owners

    def kept_of(self, address: str) -> list[Kept]:
        """The boxes of this address in popboxes/.removed, the newest first; read once."""
        if self._kept is None:
            self._kept = {}
            for one in removed.kept(self.layout):
                self._kept.setdefault(one.owner.address, []).append(one)
        return self._kept.get(address, [])

    def bring_back(self, one: Kept, box: Path) -> None:
        """Have a kept box, mail and all, in its place before it is made; none other of this change gets it."""
        self.brought.append((one, box))
        self.kept_of(one.owner.address).remove(one)

    def _is_taken(self, target: Path) -> bool:
        there = self.there(str(target.relative_to(self.layout.popboxes)))
        return there or any(target == other for _, _, other in self.taken_away)

    def stage(self) -> None:
        """Turn all edits into the transaction's steps, in the order of `journal`."""
        transaction, layout = self.transaction, self.layout
        for one, path in self.brought:
            transaction.bring(one.path(layout), path)
        for path, target in self.renamed:
            transaction.move(path, target)
        for (prefix, name), box in self.boxes.items():
            texts = {file: text for file, text in box.texts.items() if text is not None}
            seen = {file: mark for file, mark in box.seen.items() if file in texts}
            transaction.box(f"popboxes/{prefix}/{name}", texts, seen, maildir=box.maildir)
        if self.logins.changed:
            transaction.put(layout.users / login_numbers.FILE, self.logins.render(), 0o600)
        self._stage_owners()
        self._stage_system()
        self._stage_fewer_rcpthosts()
        self._stage_assign()
        self._stage_rows()
        if self.virtual.render() != self._as_read[1]:
            transaction.put(layout.home / VIRTUALDOMAINS, self.virtual.render())
            transaction.hup()
        if self.rcpthosts.render() != self._fewer().render():
            transaction.put(layout.home / RCPTHOSTS, self.rcpthosts.render())
        for domain in self.removed_domains:
            transaction.drop(layout.parts / domain)
        for (prefix, name), box in self.boxes.items():  # only when users/cdb leads no mail to that file any more
            for file in (file for file, text in box.texts.items() if text is None):
                transaction.drop(layout.box(prefix, name) / file, box.seen.get(file))
        made = {*self.boxes, *((prefix,) for prefix, _ in self.boxes)}
        for kind, path, target in self.taken_away:
            again = path.relative_to(layout.popboxes).parts in made  # the box or its prefix is wanted again
            (transaction.clear if again else transaction.move)(path, target)
            if kind == "purge":  # from there, where no program makes new files by its old name
                transaction.purge(target)

    def _stage_owners(self) -> None:
        """Whose the boxes are that go aside, and no record of one that came back from there alone."""
        for target, owners in self._owners.items():
            self.transaction.record(removed.record_path(self.layout, target), removed.record(owners))
        for one, _ in self.brought:
            path = removed.record_path(self.layout, one.path(self.layout))
            if path.exists():
                self.transaction.drop(path)

    def _stage_system(self) -> None:
        for name, text in self.system.items():
            path = self.layout.alias / name
            if text is not None:
                self.transaction.put(path, text, follow=False)
            elif os.path.lexists(path):
                self.transaction.drop(path)

    def _fewer(self) -> Lines:
        """rcpthosts as read, without the domains that go."""
        fewer = Lines.of(RCPTHOSTS, self._as_read[0])
        for domain in self.removed_domains_of_all_kinds():
            fewer.remove(domain)
        return fewer

    def removed_domains_of_all_kinds(self) -> Iterable[str]:
        """Domains and alias domains that were declared when we read and are not any more."""
        before = VirtualDomains.of(VIRTUALDOMAINS, self._as_read[1]).prefixes()
        return [name for name in before if name not in self.prefixes]

    def _stage_fewer_rcpthosts(self) -> None:
        fewer = self._fewer().render()
        if fewer != Lines.of(RCPTHOSTS, self._as_read[0]).render():
            self.transaction.put(self.layout.home / RCPTHOSTS, fewer)

    def _stage_assign(self) -> None:
        """Changed parts, and users/assign joined from all parts."""
        changed: dict[str, bytes] = {}
        for name, edited in self._parts.items():
            text = edited.render()
            if self._parts_read.get(name) != text:
                changed[name] = text
        if changed or self.removed_domains:
            assign.stage(self.transaction, changed, set(self.removed_domains))

    def _stage_rows(self) -> None:
        """users/poppasswd, and the stamp that tells readers it is in order."""
        if not self.rows.edits:
            return
        path = self.layout.poppasswd
        self.transaction.expect(path, self.rows.mark)
        new = self.transaction.put(path, self.rows.fill, 0o600)
        if self.rows.ordered:
            stamp = b"%d %d %d\n" % new
            self.transaction.put(Path(stamp_path(os.fspath(path))), stamp, 0o644)


@contextmanager
def editing(hands: HostEffects) -> Iterator[Edit]:
    """An edit of the host, under the writers' lock; it has no effect unless it is staged and its transaction is made.

    Raises:
        BusyError: another writer has the lock, or the host has no users/.
        HostError, InputError: a file it begins with cannot be used.
    """
    layout = hands.layout
    with (
        Transaction(hands) as transaction,
        PoppasswdEdit(layout.poppasswd, "users/poppasswd") as rows,
        layout.beneath(layout.popboxes) as popboxes,
    ):
        yield Edit(transaction, rows, popboxes)


def _parsed(text: bytes, shown: str) -> DotQmail:
    said = box_directories.parse(text)
    if isinstance(said, int):
        raise InputError("this line is not of mailhost's making; change that file by hand", file=shown, line=said)
    return said
