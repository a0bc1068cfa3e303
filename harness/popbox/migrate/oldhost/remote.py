"""An old host reached by ``ssh HOST`` or ``docker exec NAME``: its own find lists, its tar sends. Nothing is written.

Two programs are run there, both GNU's: ``find -printf`` for names, sizes, dates and links, and ``tar --create`` for the
octets of files named on its input. Every answer is bounded, in octets and by the time in which nothing comes.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import IO, cast

from popbox.errors import HostError
from popbox.hosts.base import Command
from popbox.migrate.oldhost import command_output
from popbox.migrate.oldhost.command_output import Answer
from popbox.migrate.oldhost.tree import (
    CHUNK_OCTETS,
    CONFIG_OCTETS,
    DIRECTORY,
    FILE,
    LINK,
    OTHER,
    Body,
    DirEntry,
    FileRequest,
    OldHostError,
    Vanished,
    resolve,
    within,
)

MOST_ENTRIES = 20_000_000  # our choice: 10 GB of our memory; a host with more is imported from a copy
ARGUMENT_OCTETS = 64 << 10  # our choice: below every system's limit
AT_ONCE = 4_096  # files asked for in one tar
HELD_OCTETS = 256 << 20  # our choice: all configuration files together
SMALL_OCTETS = 1 << 20
SAID_OCTETS = 4_096
FIND = rb"%y\t%s\t%T@\t%m\t%U\t%n\t%D\t%i\t%p\0%l\0"
CLOSED, UNLISTED = b"x", b"r"  # in place of find's `d`: a directory that we may not enter, or not list
LISTING = [b"-type", b"d", b"!", b"-executable", b"-printf", FIND.replace(b"%y", CLOSED), b"-o", b"-type", b"d",
           b"!", b"-readable", b"-printf", FIND.replace(b"%y", UNLISTED), b"-o", b"-printf", FIND]  # fmt: skip
LAST = (
    b"/dev/null"  # asked for last: an answer without it is not whole, whatever ssh's exit code (0, when the program's
)
# own had come before the cut)
KINDS = {b"f": FILE, b"d": DIRECTORY, b"l": LINK, CLOSED: DIRECTORY, UNLISTED: DIRECTORY}


class Remote:
    """See tree.OldHostTree. ``way`` runs a command there; ``top`` is where ``base`` of the old host lies."""

    def __init__(self, name: str, way: Command, top: bytes, base: bytes, *, shell: bool) -> None:
        """``shell``: the way takes one string for a shell, as ssh does."""
        self.name, self.base, self.denied = name, base, dict[bytes, str]()
        self._way, self._top, self._shell = way, top.rstrip(b"/"), shell
        self._entries: dict[bytes, DirEntry | None] = {}
        self._names: dict[bytes, list[bytes]] = {}
        self._texts: dict[bytes, bytes] = {}
        self._covered: set[bytes] = set()  # listed with all below
        self._listed: set[bytes] = set()  # listed with what is directly in them
        self._unlisted: set[bytes] = set()  # directories that may not be listed, though what is in them has a name
        self.said = ""  # what the last program there said on stderr

    def prepare(self, paths: Iterable[bytes], *, deep: bool = True) -> None:
        """See OldHostTree: ask for the directories above first, so that no link among them is followed unseen."""
        normal = {os.path.normpath(path) for path in paths if b"\0" not in path and path.startswith(b"/")}
        asked = sorted(path for path in normal if within(path, self.base) and not self._is_covered(path, deep))
        if not asked:
            return
        above = {above for path in asked for above in _above(path, self.base)} - self._entries.keys()
        self._find(sorted(above), 0)
        real = {real for path in asked if (real := resolve(self, path)) is not None}
        plain = sorted(path for path in real if not self._is_covered(path, deep))
        self._find(plain, None if deep else 1)
        (self._covered if deep else self._listed).update(plain)
        self._fetch_small(plain)

    def _is_covered(self, path: bytes, deep: bool) -> bool:
        parts = path.split(b"/")
        if not deep and path in self._listed:
            return True
        for end in range(len(parts), 0, -1):
            above = b"/".join(parts[:end]) or b"/"
            if above in self._unlisted and above != path:
                return False  # nothing below was listed
            if above in self._covered:
                return True
        return False

    def _is_directory(self, path: bytes) -> bool:
        entry = self._entries.get(path)
        return path == self.base or (entry is not None and entry.kind == DIRECTORY)

    def _there(self, path: bytes) -> bytes:
        return (self._top + b"/" + path[len(self.base) :].lstrip(b"/")).rstrip(b"/") or b"/"

    def _back(self, there: bytes) -> bytes:
        below = there[len(self._top) :].lstrip(b"/")
        return (self.base.rstrip(b"/") + b"/" + below).rstrip(b"/") or b"/"

    def _find(self, paths: list[bytes], depth: int | None) -> None:
        """List these paths, so many levels below; what is not there becomes None."""
        options = [] if depth is None else [b"-maxdepth", b"%d" % depth]
        for path in paths:
            self._entries.setdefault(path, None)
        for some in _in_pieces(paths):
            argv = [b"find", *map(self._there, some), LAST, *options, *LISTING]
            whole = False
            with self._run(argv) as out:
                for head, target in _pairs(out):
                    whole = head.endswith(b"\t" + LAST)
                    if not whole:
                        self._note(head, target)
            if not whole:
                raise HostError(f"{self.name}: find's answer is cut off, or it is no GNU find", self.said)

    def _note(self, head: bytes, target: bytes) -> None:
        kind, size, when, mode, uid, links, device, number, there = head.split(b"\t", 8)
        seconds, _, fraction = when.partition(b".")
        mtime_ns = int(seconds) * 1_000_000_000 + int((fraction + b"0" * 9)[:9])
        path = self._back(there)
        if self._entries.get(path) is None and path != self.base:
            parent, _, name = path.rpartition(b"/")
            self._names.setdefault(parent or b"/", []).append(name)
        names = int(links), (int(device), int(number))
        if kind == CLOSED:
            self.denied[path] = "cannot be looked into: Permission denied"
        elif kind == UNLISTED:
            self._unlisted.add(path)
        self._entries[path] = DirEntry(
            KINDS.get(kind, OTHER), int(size), mtime_ns, int(mode, 8), int(uid), target, *names
        )
        if len(self._entries) > MOST_ENTRIES:
            raise HostError(f"{self.name}: more than {MOST_ENTRIES} files; import from a copy")

    def _fetch_small(self, tops: list[bytes]) -> None:
        """The configuration files below: everything small that is no message."""
        under = tuple(top + b"/" for top in tops)
        small = [
            FileRequest(path, entry)
            for path, entry in self._entries.items()
            if entry is not None and entry.kind == FILE and path not in self._texts and _is_config(path, entry)
            and (path in tops or path.startswith(under))
        ]  # fmt: skip
        if sum(one.entry.size for one in small) > HELD_OCTETS:
            raise HostError(f"{self.name}: configuration files of more than {HELD_OCTETS} octets")
        for one, body in self.bodies(small):
            if not isinstance(body, OldHostError):
                self._texts[one.path] = b"".join(body)

    def lstat(self, path: bytes) -> DirEntry | None:
        """See OldHostTree."""
        parent = path.rpartition(b"/")[0] or b"/"
        known = self._is_covered(path, True) or (parent in self._listed and parent not in self._unlisted)
        if path not in self._entries and not known:
            self._find([path], 0)
        return self._entries.get(path)

    def scan(self, path: bytes) -> list[tuple[bytes, DirEntry]]:
        """See OldHostTree."""
        self.prepare([path], deep=False)
        if not self._is_directory(path) or path in self._unlisted or path in self.denied:
            raise OldHostError("cannot be listed")
        names = sorted(self._names.get(path, []))
        found = ((name, self._entries.get(path.rstrip(b"/") + b"/" + name)) for name in names)
        return [(name, entry) for name, entry in found if entry is not None]

    def read(self, path: bytes, most: int = CONFIG_OCTETS) -> bytes:
        """See OldHostTree."""
        if path not in self._texts:
            entry = self.lstat(path)
            if entry is None or entry.kind != FILE:
                raise OldHostError("is no regular file")
            if entry.size > most:
                raise OldHostError(f"is larger than {most} octets")
            for _, body in self.bodies([FileRequest(path, entry)]):
                if isinstance(body, OldHostError):
                    raise body
                self._texts[path] = b"".join(body)
        return self._texts[path]

    def bodies(self, wanted: Iterable[FileRequest]) -> Iterator[tuple[FileRequest, Body | OldHostError]]:
        """See OldHostTree."""
        stream = iter(wanted)
        while some := list(islice(stream, AT_ONCE)):
            yield from self._tar(some)

    def _tar(self, some: list[FileRequest]) -> Iterator[tuple[FileRequest, Body | OldHostError]]:
        """One tar; files that are gone since the listing are missing in it, the order stays."""
        names = [b"./" + self._there(one.path)[len(self._top) :].lstrip(b"/") for one in some]
        argv = [b"tar", b"-C", self._top or b"/", b"--create", b"--file=-", b"--no-recursion", b"--hard-dereference"]
        argv += [b"--ignore-failed-read", b"--null", b"--files-from=-"]
        at = 0
        with self._run(argv, b"\0".join(names) + b"\0") as out:
            try:
                archive = tarfile.open(  # noqa: SIM115 - it has nothing to close but `out`
                    fileobj=cast("IO[bytes]", out), mode="r|", bufsize=CHUNK_OCTETS, errors="surrogateescape"
                )
            except tarfile.ReadError as why:
                archive = None
                if names:
                    raise HostError(f"{self.name}: tar sent no archive: {why}") from why
            for member in archive or ():  # a cut between two members looks like the end
                name = os.fsencode(member.name)
                while at < len(names) and names[at].removeprefix(b"./") != name.removeprefix(b"./"):
                    yield some[at], Vanished("has vanished")
                    at += 1
                if at == len(names):
                    raise HostError(f"{self.name}: tar sent what was not asked for")
                file = archive.extractfile(member) if archive and member.isreg() else None
                yield some[at], OldHostError("is no regular file any more") if file is None else self._body(file)
                at += 1
            while out.read(CHUNK_OCTETS):  # the padding behind it
                pass
            if names and out.tail.strip(b"\0"):
                raise HostError(f"{self.name}: tar's archive is cut off", self.said)
        for one in some[at:]:
            yield one, Vanished("has vanished")

    def _body(self, file: IO[bytes]) -> Body:
        try:
            while chunk := file.read(CHUNK_OCTETS):
                yield chunk
        except tarfile.ReadError as why:
            raise HostError(f"{self.name}: tar's archive is cut off in the midst of a file", self.said) from why

    @contextmanager
    def _run(self, argv: list[bytes], given: bytes = b"") -> Iterator[Answer]:
        """Run a program on the old host and return its output.

        Raises:
            HostError: the connection failed or timed out. It is raised at the end of the output, so that no caller
                takes a cut output for a whole one.
        """
        command = [b" ".join(_quoted(word) for word in argv)] if self._shell else argv
        with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stderr:
            stdin.write(given)
            stdin.seek(0)
            child = subprocess.Popen(
                [*map(os.fsencode, self._way.argv), *command],
                env=self._way.env,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
            )
            out = cast("IO[bytes]", child.stdout)

            def ended() -> None:
                code = child.wait(command_output.SILENCE_S)
                stderr.seek(0)
                self.said = stderr.read(SAID_OCTETS).decode(errors="replace")
                if code not in (0, 1, 2):  # find and tar: 1 or 2 where some of the files could not be read
                    raise HostError(f"{self.name}: {os.fsdecode(argv[0])} ended with {code}", self.said)

            bounded = Answer(out, self.name, ended)
            try:
                yield bounded
                while bounded.read(CHUNK_OCTETS):
                    pass
            except subprocess.TimeoutExpired as why:
                raise HostError(f"{self.name}: {os.fsdecode(argv[0])} does not end") from why
            finally:
                child.kill() if child.poll() is None else None
                out.close()
                child.wait()


def _quoted(word: bytes) -> bytes:
    return os.fsencode(shlex.quote(os.fsdecode(word)))


def _above(path: bytes, base: bytes) -> list[bytes]:
    """The path and every directory above it up to the base, outermost first."""
    parts = path[len(base) :].strip(b"/").split(b"/") if path != base else []
    top = base.rstrip(b"/")
    return [base, *(top + b"/" + b"/".join(parts[: end + 1]) for end in range(len(parts)))]


def _in_pieces(paths: list[bytes]) -> Iterator[list[bytes]]:
    """As many at once as a command line holds."""
    some: list[bytes] = []
    for path in paths:
        if some and sum(map(len, some)) + len(path) > ARGUMENT_OCTETS:
            yield some
            some = []
        some.append(path)
    if some:
        yield some


def _pairs(out: Answer) -> Iterator[tuple[bytes, bytes]]:
    """find's answer: head and link target, each ended by a NUL."""
    rest, head = b"", None
    while chunk := out.read(CHUNK_OCTETS):
        *words, rest = (rest + chunk).split(b"\0")
        for word in words:
            if head is None:
                head = word
            else:
                yield head, word
                head = None


def _is_config(path: bytes, entry: DirEntry) -> bool:
    """What the dialects read: it is fetched at once. Anything else small could be a person's own file."""
    *_, parent, name = path.split(b"/")
    if entry.size > SMALL_OCTETS and name not in (b"passwd", b"shadow", b"assign", b"poppasswd", b"vpasswd"):
        return False
    named = name in (b"passwd", b"shadow", b"poppasswd", b"vpasswd") or name.startswith(b".qmail")
    return named or parent == b"control" or (name != b"cdb" and parent == b"users") or b"/users/domains/" in path
