"""qmail's queue, read only: what lies in todo, info, local, remote, bounce and mess (Q-QUEUE-5 to Q-QUEUE-9).

qmail-send goes on working at the same time. A message whose file goes while it is read has ended, and is not there.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

PARTS = ("mess", "info", "local", "remote", "bounce", "todo")


class DamagedError(Exception):
    """A file of the queue that has not the form that qmail gives it."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """``local`` is None before qmail-send has routed it. ``done``: delivered, or failed for good: one mark for both."""

    address: bytes
    local: bool | None
    done: bool


@dataclass(frozen=True, slots=True)
class Message:
    """One message. ``arrived`` in seconds since 1970; ``octets`` are of the file, with qmail-queue's own line.

    ``bounce``: reports of recipients that have failed so far, as the bounce will have them.
    """

    number: int
    arrived: float
    octets: int
    sender: bytes
    recipients: tuple[Recipient, ...]
    processed: bool = True
    bounce: bytes = b""


def is_queue(root: Path) -> bool:
    """Whether qmail's installer has made this directory, ``/var/qmail/queue`` as a rule."""
    return all((root / part).is_dir() for part in PARTS)


def load(root: Path) -> Iterator[tuple[int, Message | DamagedError]]:
    """Every message that is accepted and not ended, oldest first.

    Raises:
        OSError: the queue cannot be read: it belongs to qmails and qmailq.
    """
    # todo first: a message goes from there to info, and would be in neither the other way round.
    waiting = {path.name: path for path in _files(root / "todo")}
    places = {path.name: path for path in _files(root / "info")} | waiting
    found: list[tuple[float, int, Message | DamagedError]] = []
    for name, path in places.items():
        if not (name.isascii() and name.isdigit()):
            continue
        try:
            if (message := _read(root, path)) is not None:
                found.append((message.arrived, message.number, message))
        except DamagedError as why:
            found.append((0.0, int(name), why))
    for _, number, one in sorted(found, key=lambda each: each[:2]):
        yield number, one


def read(root: Path, number: int) -> Message | None:
    """One message; None where there is none of that number, or no more.

    Raises:
        DamagedError: a file of it has another form.
        OSError: a file cannot be read.
    """
    path = _place(root / "todo", number) or _place(root / "info", number)
    return _read(root, path) if path else None


def open_message(root: Path, number: int) -> int:
    """A descriptor of the message's text.

    Raises:
        FileNotFoundError: there is none of that number.
        OSError: it cannot be opened.
    """
    path = _place(root / "mess", number)
    return _open(path or root / "mess" / str(number))


def _read(root: Path, path: Path) -> Message | None:
    """The message of a file in todo or info."""
    number = int(path.name)
    if path.is_relative_to(root / "todo"):
        if (found := _octets(path)) is not None:
            sender, recipients = _envelope(path, found[0])
            message = Message(number, found[1], 0, sender, recipients, processed=False)
            return _with_size(_place(root / "mess", number), message)
        path = _place(root / "info", number) or path
    if (found := _octets(path)) is None:
        return None
    fields = _fields(path, found[0])
    if len(fields) != 1 or fields[0][:1] != b"F":
        raise DamagedError(f"{path}: the sender is not F, an address and a NUL")
    recipients = (*_recipients(root / "local", path, True), *_recipients(root / "remote", path, False))
    bounce = _octets(root / "bounce" / path.name)
    message = Message(number, found[1], 0, fields[0][1:], recipients, bounce=bounce[0] if bounce else b"")
    return _with_size(_beside(root / "mess", path), message) if path.exists() else None


def _with_size(mess: Path | None, message: Message) -> Message | None:
    """With the size of its text; None where qmail-clean has removed that."""
    try:
        return replace(message, octets=mess.stat().st_size) if mess else None
    except FileNotFoundError:
        return None


def _beside(part: Path, info: Path) -> Path:
    """The same message's file in another part that is split."""
    return part / info.parent.name / info.name


def _files(part: Path) -> Iterator[Path]:
    """The files of a part, split into numbered directories (conf-split, 23) or not: todo may be either."""
    for path in part.iterdir():
        yield from path.iterdir() if path.is_dir() else (path,)


def _place(part: Path, number: int) -> Path | None:
    """Where a message's file is in a part."""
    name = str(number)
    flat = part / name
    if flat.is_file():
        return flat
    return next((path / name for path in part.iterdir() if (path / name).is_file()), None)


def _envelope(path: Path, octets: bytes) -> tuple[bytes, tuple[Recipient, ...]]:
    """What qmail-queue has written: uid, pid, sender and recipients (Q-QUEUE-5)."""
    fields = _fields(path, octets)
    kinds = b"".join(field[:1] for field in fields)
    if not kinds.startswith(b"upF") or kinds[3:].strip(b"T"):
        raise DamagedError(f"{path}: not u, p, F and Ts, each with a NUL")
    return fields[2][1:], tuple(Recipient(field[1:], None, False) for field in fields[3:])


def _recipients(part: Path, info: Path, local: bool) -> tuple[Recipient, ...]:
    path = _beside(part, info)
    found = _octets(path)
    if found is None:
        return ()
    fields = _fields(path, found[0])
    if any(field[:1] not in (b"T", b"D") for field in fields):
        raise DamagedError(f"{path}: a recipient is neither T nor D")
    return tuple(Recipient(field[1:], local, field[:1] == b"D") for field in fields)


def _fields(path: Path, octets: bytes) -> list[bytes]:
    *fields, rest = octets.split(b"\0")
    if rest:
        raise DamagedError(f"{path}: does not end in a NUL")
    return fields


def _octets(path: Path) -> tuple[bytes, float] | None:
    """A file's octets and date; None where it is gone."""
    try:
        fd = _open(path)
    except FileNotFoundError:
        return None
    with os.fdopen(fd, "rb") as file:
        return file.read(), os.fstat(fd).st_mtime


def _open(path: Path) -> int:
    """Open a regular file and nothing else: root reads what qmail's users own.

    Raises:
        DamagedError: something else stands there.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise DamagedError(f"{path}: no regular file")
    return fd
