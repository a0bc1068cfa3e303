"""One mailbox of the old host, read over as many sessions as it takes, and put into its Maildir on the new one."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace

from popbox.clients.bulk_pop3 import BulkPop3, Garbled
from popbox.clients.pop3 import Pop3Refused
from popbox.migrate.copy.batch import Batch
from popbox.migrate.copy.dates import Dates
from popbox.migrate.copy.journal import Record
from popbox.migrate.copy.maildir import Staged, Target, uid_of
from popbox.migrate.copy.work import NS, Tally
from popbox.migrate.oldhost.findings import shown
from popbox.migrate.oldhost.mboxes.header import date_of
from popbox.migrate.pop3.accounts import Account
from popbox.migrate.pop3.attempts import Attempts
from popbox.migrate.pop3.host import BROKEN, Host, Profile, for_now
from popbox.migrate.pop3.listing import Entry, Listing, bounded, read_listing
from popbox.migrate.pop3source.content import Content
from popbox.migrate.pop3source.listed import Listed, Listings
from popbox.migrate.pop3source.names import Wanted, by_content, hashed, wanted
from popbox.migrate.pop3source.pace import Pace
from popbox.migrate.verify.digest import Digest
from popbox.printable import counted

MESSAGE_TRIES = 3  # our choice: RETR of one message that ends the session each time
AT_ONCE = 24  # messages of a batch: boxes are copied side by side, and each holds two batches of open files


class BoxFetch:
    """The copying of one mailbox. What it did is in ``tally``."""

    def __init__(self, host: Host, account: Account, address: str, target: Target, pace: Pace, *, final: bool) -> None:
        self.host, self.account, self.address, self.target = host, account, address, target
        self.pace, self.final = pace, final
        self.tally = Tally()
        self.attempts = Attempts(host)
        self.broke_at: Counter[bytes | int] = Counter()
        self.fits: Counter[Profile] = Counter()
        self.known: set[bytes] = set()
        self.copied: set[bytes] = set()
        self.listings = Listings(target.journal.path)

    def run(self) -> Tally:
        """All of it.

        Raises:
            Unavailable: the box cannot be read to its end; what was read stays.
            PopboxError: octets read back are not those that were written.
            OSError: the new host's disk refuses a write.
        """
        with self.listings, Batch(AT_ONCE) as batch:
            while not self._session(batch):
                pass
            batch.commit()
            for _, record in batch.conflicts:
                self._problem(f"{shown(record.place)} is another message's; not copied")
            self.tally.problems += [f"{why}; not copied" for why in batch.refused]
        return self.tally

    def _problem(self, what: str) -> None:
        self.tally.problems.append(f"{self.address}: {what}")

    def _session(self, batch: Batch) -> bool:
        """One session, and whether it came to its end; the problems of one that did not are found again."""
        self.tally.problems.clear()
        try:
            with self.host.session() as stream:
                if self._enter(stream):
                    _Session(self, stream, batch).run(read_listing(stream))
        except (*BROKEN, Pop3Refused) as error:
            batch.commit()
            self.attempts.wait(error)
            return False
        return True

    def _enter(self, stream: BulkPop3) -> bool:
        try:
            stream.login(self.account.old_login, self.account.old_password)
        except Pop3Refused as refusal:
            if for_now(refusal):
                raise
            self._problem(f"the old host refuses the login {self.account.old_login}: {refusal.reply}")
            return False
        return True

    def profile(self, content: Content, size: int) -> Profile:
        """The habits that a message was sent by: as its size says, else those of most of the box, else of the host."""
        if self.host.profile != "auto":
            return self.host.profile
        fits = content.fits(size)
        if fits is not None:
            self.fits[fits] += 1
            return fits
        return self.fits.most_common(1)[0][0] if self.fits else self.host.hint

    def is_known(self, record: Record) -> None:
        """A message is there, by this pass or an earlier one, or was and has been fetched and deleted."""
        if record.key in self.copied or record.key in self.known:
            return
        self.known.add(record.key)
        self.tally.known += 1
        self.tally.deleted_there += self.target.place_of(record) is None
        self.pace.known(record.size)


class _Session:
    """One session of a box."""

    def __init__(self, box: BoxFetch, stream: BulkPop3, batch: Batch) -> None:
        self.box, self.stream, self.batch = box, stream, batch
        self.target, self.records = box.target, box.target.journal.records
        self.seen: set[bytes] = set()
        self.alike: Counter[str] = Counter()
        self.whole = True

    def run(self, listing: Listing) -> None:
        """Copy what is missing, in the order of the listing."""
        these = wanted(list({entry.number: entry for entry in listing.entries}.values()))
        self._judge(listing, these)
        known = [self.records.get(one.key) if one.key else None for one in these]
        dates = Dates([there and there.mtime_ns // NS for there in known], int(time.time()))
        for index, (one, there) in enumerate(zip(these, known, strict=True)):
            if there is None or self._changed(one):
                self._message(one, dates, index)
            else:
                dates.at(index, None)
                self.seen.add(there.key)
                self.box.is_known(there)
                self._judge_length(one, self.box.listings.get(one.key))
        if dates.displaced:
            moved = counted(dates.displaced, "message")
            self._problem(f"not in the old host's order: {moved}; it numbers them otherwise now")
        if self.box.final and self.whole:
            self._follow()

    def _problem(self, what: str) -> None:
        self.box._problem(what)

    def _judge(self, listing: Listing, these: list[Wanted]) -> None:
        """Say what the listing tells of things that will not be as they were."""
        for verb, lines in listing.malformed.items():
            self.whole = False
            self._problem(
                f"{verb} has {counted(len(lines), 'line')} outside of a listing, such as {shown(lines[0].encode())!r}"
            )
        for fault in listing.wrong:
            self.whole = False
            self._problem(f"the old host {shown(fault.encode())}")
        if listing.no_uidl:
            note = (
                f"{self.box.address}: the old host has no UIDLs ({shown(listing.no_uidl.encode())}); they get new ones"
            )
            self.box.tally.notes[:] = [note]
            return
        for one in these:
            if one.why:
                self._problem(f"{named(one)}: the UIDL cannot be kept: {one.why}")

    def _changed(self, one: Wanted) -> bool:
        """Whether its UIDL had another size in an earlier pass: then it is read, to see which message it is now."""
        noted = self.box.listings.get(one.key)
        return noted is not None and not one.entry.listed and one.entry.size != noted.size

    def _judge_length(self, one: Wanted, noted: Listed | None) -> None:
        if noted is not None and noted.short:
            self._problem(f"{named(one)}: {noted.short}: it may be cut off")

    def _message(self, one: Wanted, dates: Dates, index: int) -> None:
        """Copy one message; it is placed with its batch."""
        if self.box.broke_at[one.key or one.entry.number] >= MESSAGE_TRIES:
            self._lost(one, f"the session ended {MESSAGE_TRIES} times while it was read")
            return
        self.box.pace.begin()
        staged = self.batch.stage(self.target)
        try:
            content, found = self._read(one.entry, staged)
            self._add(self._named_now(one, found), staged, date_of(b"", content.head), dates, index, found)
        except Pop3Refused as refusal:
            staged.drop()
            self._lost(one, f"RETR: {refusal.reply}")
        except BROKEN:
            staged.drop()
            self.box.broke_at[one.key or one.entry.number] += 1
            if self.box.broke_at[one.key or one.entry.number] >= MESSAGE_TRIES:
                self.box.attempts.leave_out()
            raise
        except BaseException:
            staged.drop()
            raise
        else:
            self.box.attempts.progress()

    def _lost(self, one: Wanted, why: str) -> None:
        if one.key:
            self.seen.add(one.key)
        else:
            self.whole = False
        self._problem(f"{named(one)}: not copied: {why}")

    def _named_now(self, one: Wanted, found: Listed) -> Wanted:
        """The same, or under another name where the old host has given its UIDL to another message before."""
        noted = self.box.listings.get(one.key) if one.key in self.records else None
        if noted is None or noted.likeness == found.likeness:
            return one
        self._problem(f"{named(one)}: the UIDL cannot be kept: in an earlier pass it was that of another message")
        key = one.key + b"\n" + found.likeness.encode("ascii")  # no UIDL holds a newline
        return replace(one, key=key, name=hashed(key))

    def _read(self, entry: Entry, staged: Staged) -> tuple[Content, Listed]:
        """Write what the old host had into a staged file.

        Raises:
            Garbled: the message has no end, or ended before its end: more than one reply came.
        """
        taken = Digest()
        content, size = Content(), -1 if entry.listed else entry.size
        known = None if entry.listed else entry.size
        for piece in bounded(self.stream.retrieve(entry.number), known, self.box.host.address):
            self.box.pace.read(len(piece))
            staged.write(content.feed(piece))
            taken.feed(piece)
        staged.write(content.end(self.box.profile(content, size), size))
        text = taken.done()
        found = Listed(max(size, 0), content.octets, (text.bare + text.body).hex())
        self._see_end(found)
        return content, found

    def _see_end(self, found: Listed) -> None:
        """See that the dot was the reply's: a host that does not double those of a message sends its rest behind it.

        Raises:
            Garbled: it was not.
        """
        if found.short and not self.stream.left:
            with suppress(Pop3Refused):
                self.stream.command("STAT")
        if self.stream.left:
            raise Garbled(f"{self.box.host.address} sent {self.stream.left} octets behind the end of a message")

    def _add(self, one: Wanted, staged: Staged, own_s: int | None, dates: Dates, index: int, found: Listed) -> None:
        digest = staged.sha256
        key, name = one.key, one.name
        if not key:
            key, name = by_content(digest, self.alike[digest])
            self.alike[digest] += 1
        self.seen.add(key)
        self.box.listings.note(key, found)
        self._judge_length(one, found)
        there = self.records.get(key)
        if there is not None:  # one without a UIDL, or of another size now: known when it is read
            staged.drop()
            dates.note(there.mtime_ns // NS)
            self.box.is_known(there)
            return
        record = Record(key, staged.size, digest, dates.at(index, own_s) * NS, b"new/" + name)
        if self._is_there(record, one):
            staged.drop()
            return
        self.box.copied.add(key)
        self.box.tally.copied += 1
        self.box.tally.octets += staged.size
        self.box.pace.copied(staged.size)
        self.batch.add(staged, record)

    def _is_there(self, record: Record, one: Wanted) -> bool:
        """Whether the new host has a file of that name: ours from before a lost journal, or a stranger, who is kept."""
        places = self.target.places.get(uid_of(record.place), [])
        if not places:
            return False
        if self.target.same(places[0], record.size) != record.sha256:
            self._problem(f"{named(one)}: not copied: the new host has another message {shown(places[0])}")
            return True
        self.target.adopt(record._replace(place=places[0]))
        self.box.is_known(self.records[record.key])
        return True

    def _follow(self) -> None:
        """Take away what the old host no longer has of what was put here."""
        self.batch.commit()
        for record in [record for key, record in self.records.items() if key not in self.seen]:
            self.box.tally.removed += self.target.remove(record)
        self.target.sync_directories()


def named(one: Wanted) -> str:
    """A message of the old host, for a person."""
    told = f", UIDL {shown(one.entry.uidl.encode())}" if one.entry.uidl else ""
    return f"number {one.entry.number}{told}"
