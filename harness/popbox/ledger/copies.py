"""The files that hold a message: told apart by kind, and compared with the octets that were sent. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from popbox.hosts.base import DirEntry, Found
from popbox.ledger import TOKEN_FIELD
from popbox.ledger.proof import Copy, Disposition

IN_MAILDIR = re.compile(r"(.+)/(new|cur|tmp)/[^/]+")
FROM_LINE = re.compile(rb"^From [^\n]*\n", re.MULTILINE)
QUOTED_FROM = re.compile(rb"^>(>*From )", re.MULTILINE)  # mbox(5): what qmail-local adds to such lines
HEADER_LINE = re.compile(rb"[!-9;-~]+:|[ \t]")
# Fields that a message has once and its author writes (RFC 5322 §3.6, RFC 2045): a delivery puts none before it.
AUTHORS = re.compile(
    rb"(?i:from|sender|reply-to|to|cc|bcc|in-reply-to|references|subject|mime-version|content-[a-z-]+)[ \t]*:"
)
ADDED = re.compile(rb"(?i:(date|message-id)[ \t]*:)")  # RFC 5321 §6.4: may be added where it is missing, and only there
UNFIT = re.compile(rb"[\r\0]")  # RFC 5322 §2.2: neither stands in a header field


@dataclass(frozen=True, slots=True)
class Stored:
    """One copy: ``place`` is its Maildir or mbox file below the qmail home; ``octets`` are the message's alone."""

    place: str
    entry: DirEntry
    octets: bytes
    kind: Literal["maildir", "mbox", "bounce"]

    def shown(self) -> Copy:
        """For the report."""
        entry = self.entry
        digest = hashlib.sha256(self.octets).hexdigest()
        mode = f"{entry.mode:04o}"
        return Copy(
            kind=self.kind, path=entry.path, uid=entry.uid, gid=entry.gid, mode=mode, size=entry.size, sha256=digest
        )


def copies(found: Iterable[Found], token: str) -> Iterator[Stored]:
    """The copies of one message among files. An unfinished delivery (tmp/) is none."""
    for one in found:
        at = IN_MAILDIR.fullmatch(one.entry.path)
        if at is None:
            for part in FROM_LINE.split(one.octets)[1:]:
                if kind := _kind(part, token, "mbox"):
                    yield Stored(one.entry.path, one.entry, QUOTED_FROM.sub(rb"\1", part[:-1]), kind)
        elif at.group(2) != "tmp" and (kind := _kind(one.octets, token, "maildir")):
            yield Stored(at.group(1), one.entry, one.octets, kind)


def _kind(
    octets: bytes, token: str, kept_in: Literal["maildir", "mbox"]
) -> Literal["maildir", "mbox", "bounce"] | None:
    line = f"\n{TOKEN_FIELD}: {token}\n".encode()
    header, _, body = (b"\n" + octets).partition(b"\n\n")
    if line in header + b"\n":
        return kept_in
    return "bounce" if line in b"\n" + body else None


def whole(octets: bytes, sent: bytes) -> bool:
    """Whether a copy is what was sent, with nothing but header lines (those of the delivery) before it."""
    added = octets.removesuffix(sent)
    lines = added.removesuffix(b"\n").split(b"\n") if added else []
    clean = all(HEADER_LINE.match(line) and not UNFIT.search(line) and not AUTHORS.match(line) for line in lines)
    header = sent.partition(b"\n\n")[0].split(b"\n")
    has = {found[1].lower() for line in header if (found := ADDED.match(line))}
    clean = clean and not any(found[1].lower() in has for line in lines if (found := ADDED.match(line)))
    return octets.endswith(sent) and clean and (not added or added.endswith(b"\n"))


def fault(stored: Stored, sent: bytes, uid: int) -> tuple[Disposition, str] | None:
    """What is wrong with a copy itself, if anything."""
    path, entry = stored.entry.path, stored.entry
    if not whole(stored.octets, sent):
        return Disposition.CORRUPTED, f"{path} does not end with the octets that were sent"
    if entry.uid != uid:
        return Disposition.WRONG_OWNER, f"{path} belongs to uid {entry.uid}, not {uid}"
    if entry.mode & 0o077:
        return Disposition.WRONG_MODE, f"{path} has mode {entry.mode:04o}: others may read or write it"
    return None
