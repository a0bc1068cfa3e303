"""The TRANSACTION state of the fake server, and what QUIT does."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from pathlib import Path

from tests.popbox.conformance.fake_parts import Fake, err, listed, ok, stuffed, with_ends


class Transaction:
    """One session's view of the box. ``marked`` are the numbers given to DELE."""

    server: Fake
    files: list[Path]
    sizes: list[int]
    marked: set[int]
    closing: bool
    logged_in: bool

    def _size(self, file: Path) -> int:
        octets = file.read_bytes()
        return len(octets) if self.server.has("file-sizes") else len(with_ends(octets))

    def _there(self, argument: str) -> int | None:
        """The number of a message that is there; None where it is not."""
        if self.server.has("lenient-numbers") and not (argument.isdigit() and int(argument) in range(1, 10**4)):
            return 1
        if self.server.has("lenient-numbers") and int(argument) > len(self.files):
            return 1
        if not re.fullmatch(r"[0-9]{1,9}", argument) or not 1 <= int(argument) <= len(self.files):
            return None
        number = int(argument)
        return None if number in self.marked and not self.server.has("deleted-answers") else number

    def _shown(self) -> list[int]:
        hidden = set() if self.server.has("lists-deleted") else self.marked
        return [n for n in range(1, len(self.files) + 1) if n not in hidden]

    def _stat(self, _: str) -> bytes:
        if self.server.has("arrivals-appear"):
            self.files = self.server.scan()
            self.sizes = [self._size(f) for f in self.files]
        shown = self._shown()
        return ok(f"{len(shown)} {sum(self.sizes[n - 1] for n in shown)}")

    def _list(self, argument: str) -> bytes:
        self._stat("")
        if argument:
            number = self._there(argument)
            return err("no such message") if number is None else ok(f"{number} {self.sizes[number - 1]}")
        return listed("", [f"{n} {self.sizes[n - 1]}" for n in self._shown()])

    def uid(self, number: int) -> str:
        """An id that comes of the name."""
        name = self.files[number - 1].name
        if not self.server.has("uid-by-path"):
            name = name.partition(":")[0]
            bases = [file.name.partition(":")[0] for file in self.files]
            if bases.count(name) > 1 and not self.server.has("twins-share-id"):
                name += hashlib.sha256(self._octets(number)).hexdigest()
        return hashlib.blake2b(name.encode(), digest_size=8).hexdigest()

    def _uidl(self, argument: str) -> bytes:
        if argument:
            number = self._there(argument)
            return err("no such message") if number is None else ok(f"{number} {self.uid(number)}")
        return listed("", [f"{n} {self.uid(n)}" for n in self._shown()])

    def _send(self, number: int, count: int | None) -> bytes:
        faults = self.server.faults
        try:
            body = with_ends(faults.spoil(self._octets(number)))
        except OSError:
            self.closing = self.server.has("dies-on-vanished")
            return b"" if self.closing else err("gone")
        if count is not None:
            head, empty, rest = (b"", b"\r\n", body[2:]) if body.startswith(b"\r\n") else body.partition(b"\r\n\r\n")
            body = (
                head
                + empty
                + b"".join(rest.splitlines(keepends=True)[:count] if b"\r" not in rest.replace(b"\r\n", b"") else [])
            )
        return ok(f"{len(body)} octets") + faults.wire(stuffed(body))

    def _octets(self, number: int) -> bytes:
        """The message, also where a reader has given it another name since. Raises FileNotFoundError."""
        file = self.files[number - 1]
        if not file.exists() and not self.server.has("names-listed"):
            base = file.name.partition(":")[0]
            file = next((one for one in self.server.scan() if one.name.partition(":")[0] == base), file)
        return file.read_bytes()

    def _retr(self, argument: str) -> bytes:
        number = self._there(argument)
        if number is None:
            return err("no such message")
        if self.server.has("retr-deletes"):
            self.marked.add(number)
        return self._send(number, None)

    def _top(self, argument: str) -> bytes:
        words = argument.split(" ")
        number = self._there(words[0])
        if self.server.has("lenient-numbers") and number is not None:
            return self._send(number, 0)
        if number is None or len(words) != 2 or not words[1].isdigit():
            return err("TOP number lines")
        return self._send(number, int(words[1]))

    def _dele(self, argument: str) -> bytes:
        number = self._there(argument)
        if number is None:
            return err("no such message")
        self.marked.add(number + 1 if self.server.has("marks-next") and number < len(self.files) else number)
        if self.server.has("dele-at-once"):
            self._remove({number})
        return ok("marked")

    def _rset(self, _: str) -> bytes:
        if not self.server.has("rset-keeps"):
            self.marked.clear()
        return ok("unmarked")

    def _noop(self, _: str) -> bytes:
        return ok("nothing done")

    def _quit(self, _: str) -> bytes:
        self.closing = not self.server.has("quit-stays")
        if self.logged_in:
            self._update()
        return ok("bye")

    def _update(self) -> None:
        marked = set() if self.server.has("quit-keeps") else self.marked
        if self.server.has("quit-takes-next"):
            marked = {n for n in self.marked | {n + 1 for n in self.marked} if n <= len(self.files)}
        if self.server.has("quit-takes-all"):
            marked = set(range(1, len(self.files) + 1))
        self._remove(marked)
        for number, file in enumerate(self.files, 1):
            if number not in marked and file.parent.name == "new":
                with suppress(OSError):
                    file.rename(self.server.maildir / "cur" / f"{file.name}:2,")
        if self.server.has("quit-swaps-messages") and len(left := self.server.scan()) > 1:
            one, two = (file.read_bytes() for file in left[:2])
            left[0].write_bytes(two)
            left[1].write_bytes(one)
        if self.server.has("quit-touches-files"):
            for file in self.server.scan():
                file.write_bytes(b"Status: R\n" + file.read_bytes())

    def _remove(self, numbers: set[int]) -> None:
        for number in sorted(numbers):
            try:
                self.files[number - 1].unlink()
            except OSError:
                if self.server.has("gives-up"):
                    return

    def _lost(self) -> None:
        """The connection is gone without QUIT."""
        if self.server.has("lost-removes"):
            self._remove(self.marked)
