"""The token that a write needs, and the tokens of spaces, which are made from it and need no memory of their own."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from popbox.errors import UnusableError

TOKEN = re.compile(r"[!-~]{16,200}")  # our choice: of one word, as it stands in a header, and too long to be guessed
RULE = "16 to 200 printable ASCII characters without a space"


@dataclass(frozen=True, slots=True)
class Keys:
    """The token of a server: whoever has it may change the whole host. That of a space is good for the space alone."""

    token: str = field(repr=False)

    def fits(self, said: str) -> bool:
        """Whether it is the server's token; takes the same time whatever is said."""
        return hmac.compare_digest(self.token.encode(), said.encode("utf-8", "replace"))

    def of_space(self, name: str) -> str:
        """The token of a space: its name, a dot, and what only this server can make of that."""
        made = hmac.digest(self.token.encode(), f"space {name}".encode(), hashlib.sha256)
        return f"{name}.{base64.urlsafe_b64encode(made).decode().rstrip('=')}"

    def space(self, said: str) -> str | None:
        """The name of the space whose token this is; None where it is none of ours. The space may have ended."""
        name = said.partition(".")[0]
        right = hmac.compare_digest(self.of_space(name).encode("utf-8", "replace"), said.encode("utf-8", "replace"))
        return name if right else None


class Tries:
    """How often a token may be said wrongly: ``burst`` times, then once each ``every_s``. In the event loop alone."""

    def __init__(self, burst: int, every_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` is monotonic, in seconds."""
        self.every_s = every_s
        self._burst, self._clock, self._left, self._since = float(burst), clock, float(burst), clock()

    def any(self) -> bool:
        """Whether there is one left. Without, a right token is refused as well: else the answer would tell it."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._since) / self.every_s)
        self._since = now
        return self._left >= 1

    def wrong(self) -> None:
        """One was used."""
        self._left -= 1


def keys_in(path: Path) -> tuple[Keys, tuple[Path, ...]]:
    """The keys of a file; where there is none, it is made with a new token, for its owner alone.

    What was made is told, the file before its folders: see `take_away`.

    Raises:
        UnusableError: it holds no token, others can read it, or it cannot be made; then nothing is left.
    """
    made: list[Path] = []
    try:
        with suppress(FileExistsError):
            return _made(path, made), tuple(made)
        return _read(path), ()
    except OSError as error:
        take_away(made)
        raise UnusableError(f"--token-file {path}: {error.strerror}") from error


def take_away(made: Sequence[Path]) -> None:
    """Remove a file and folders that were made, where others have put nothing there."""
    for path in made:
        with suppress(OSError):
            path.rmdir() if path.is_dir() else path.unlink()


def given(token: str, where: str) -> Keys:
    """The keys of a token that someone chose.

    Raises:
        UnusableError: it is too short, or fits in no header; names ``where`` it stands, and not the token.
    """
    if not TOKEN.fullmatch(token):
        raise UnusableError(f"{where}: a token is {RULE}")
    return Keys(token)


def _made(path: Path, made: list[Path]) -> Keys:
    """A new token in a new file; ``made`` gets the file and the folders above it that were not there."""
    keys = Keys(secrets.token_urlsafe(32))
    made += [folder for folder in path.absolute().parents if not folder.exists()]
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    made.insert(0, path)
    try:
        os.fchmod(fd, 0o600)  # whatever the umask
        os.write(fd, f"{keys.token}\n".encode())
    finally:
        os.close(fd)
    return keys


def _read(path: Path) -> Keys:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_mode & 0o077:
            raise UnusableError(f"--token-file {path}: a file that its owner alone can read is wanted (chmod 600)")
        return given(file.read(1_000).decode("ascii", "replace").strip(), f"--token-file {path}")
