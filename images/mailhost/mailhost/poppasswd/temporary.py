"""users/poppasswd.temporary: a second password of a login, for a chosen time, beside the customer's own.

One line each: ``login:crypt:made:until:boot:boot_s``. ``made`` and ``until`` are seconds since 1970; ``boot`` is the
kernel's boot id and ``boot_s`` its clock that no one can set, when the line was made. A line counts from ``made`` until
``until``, at most a day; while the same kernel runs also not longer by that clock, wherever the other one is set. So it
ends by itself, whether a program removes it or not. users/poppasswd is not touched: others read that file.
"""

from __future__ import annotations

import os
import time

from mailhost.poppasswd.crypt import scheme_of

SUFFIX = ".temporary"
LONGEST_S = 86_400
"""Our choice: a proof takes hours; who needs more takes another one."""
FILE_OCTETS = 64 << 20
_NO_BOOT = b"-"
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


class Temporary:
    """One line. A plain class, as checkpoppasswd pays for each import; the hash stays out of ``repr``."""

    __slots__ = ("boot", "boot_s", "crypt", "login", "made", "until")

    def __init__(self, login: bytes, crypt: bytes, made: int, until: int, boot: bytes, boot_s: int) -> None:
        """The six fields."""
        self.login, self.crypt, self.made, self.until, self.boot, self.boot_s = login, crypt, made, until, boot, boot_s

    def line(self) -> bytes:
        """As it stands in the file."""
        return b"%b:%b:%d:%d:%b:%d\n" % (self.login, self.crypt, self.made, self.until, self.boot, self.boot_s)

    def counts(self, now: float, boot: bytes, boot_s: float) -> bool:
        """Whether it counts at this moment of both clocks."""
        lasts = self.until - self.made
        if not (0 < lasts <= LONGEST_S and self.made <= now < self.until):
            return False
        return self.boot != boot or boot == _NO_BOOT or 0 <= boot_s - self.boot_s < lasts


def clocks() -> tuple[float, bytes, float]:
    """Seconds since 1970, the kernel's boot id, and seconds since its boot."""
    try:
        with open(_BOOT_ID, "rb") as file:
            boot = file.read(64).strip()
    except OSError:
        boot = _NO_BOOT
    return time.time(), boot, time.clock_gettime(time.CLOCK_BOOTTIME)


def make(login: bytes, crypt: bytes, lasts_s: int) -> Temporary:
    """One that begins now."""
    now, boot, boot_s = clocks()
    made = int(now)
    return Temporary(login, crypt, made, made + lasts_s, boot, int(boot_s))


def parse(text: bytes) -> tuple[list[Temporary], list[int]]:
    """The lines, and the numbers (from 1) of those that are none and never count."""
    found, wrong = [], []
    for number, line in enumerate(text.split(b"\n"), 1):
        if not line:
            continue
        fields = line.split(b":")
        numbers = (fields[2:4] + fields[5:6]) if len(fields) == 6 else []
        if len(numbers) == 3 and all(f.isdigit() and len(f) < 16 for f in numbers) and scheme_of(fields[1]):
            made, until, boot_s = map(int, numbers)
            found.append(Temporary(fields[0], fields[1], made, until, fields[4], boot_s))
        else:
            wrong.append(number)
    return found, wrong


def read(poppasswd: str | os.PathLike[str]) -> bytes:
    """The text of the file beside ``poppasswd``; empty where there is none.

    Raises:
        OSError: it is there and cannot be read.
    """
    try:
        descriptor = os.open(os.fspath(poppasswd) + SUFFIX, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return b""
    with os.fdopen(descriptor, "rb") as file:
        return file.read(FILE_OCTETS)


class TemporaryFile:
    """The file for a program that lives long: one stat for each look-up, read again when it has changed."""

    def __init__(self, poppasswd: str | os.PathLike[str]) -> None:
        """It need not exist."""
        self._poppasswd = os.fspath(poppasswd)
        self._key: tuple[int, int, int] | None = None
        self._entries: dict[bytes, Temporary] = {}

    def crypt(self, login: bytes) -> bytes | None:
        """The hash of a login's temporary password, where it counts now.

        Raises:
            OSError: the file is there and cannot be read.
        """
        try:
            found = os.lstat(self._poppasswd + SUFFIX)
        except FileNotFoundError:
            self._key, self._entries = None, {}
            return None
        key = (found.st_ino, found.st_mtime_ns, found.st_size)
        if key != self._key:
            self._entries = {entry.login: entry for entry in parse(read(self._poppasswd))[0]}
            self._key = key
        entry = self._entries.get(login)
        return entry.crypt if entry is not None and entry.counts(*clocks()) else None
