"""``mailhost queue``: what the stand-in or real qmail still has to deliver."""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import re
import signal
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import click

from mailhost.accounts.change import hup
from mailhost.cli import queued
from mailhost.cli.common import counted
from mailhost.cli.terminal import say, visible
from mailhost.qmail import queue as real
from mailhost.standin.queue.format import Damaged
from mailhost.standin.queue.store import DIRECTORIES, Queue, message_pieces

TEMPORARY = 111


@click.group()
def queue() -> None:
    """Look at the queue, the stand-in's or real qmail's, and act on it."""


def _standin(home: Path) -> Queue | None:
    """The stand-in's queue; None where it never had one."""
    root = home / "queue" / "standin"
    return Queue(root) if all((root / name).is_dir() for name in DIRECTORIES) else None


def _qmail(home: Path) -> Path | None:
    """Real qmail's queue; None where qmail's installer has made none."""
    root = home / "queue"
    return root if real.is_queue(root) else None


@contextlib.contextmanager
def _open(home: Path) -> Iterator[tuple[Queue | None, Path | None]]:
    """Both queues of a home, of which there is one as a rule; what cannot be read ends the program with 111."""
    try:
        found = _standin(home), _qmail(home)
        if found == (None, None):
            raise FileNotFoundError(2, "no queue of the stand-in there, and none of qmail", str(home / "queue"))
        yield found
    except BrokenPipeError:  # of our own output, not the queue's
        raise
    except OSError as error:
        hint = ": root reads the queue" if isinstance(error, PermissionError) else ""
        say(f"mailhost queue: {error.filename or home / 'queue'}: {error.strerror}{hint}", err=True)
        sys.exit(TEMPORARY)


def _messages(standin: Queue | None, qmail: Path | None) -> Iterator[queued.Described]:
    now = time.time()
    for number, stored in standin.load() if standin else ():
        if isinstance(stored, Exception):
            yield {"id": number, "queue": queued.STANDIN, "error": str(stored)}
        else:
            yield queued.of_standin(*stored, now)
    for number, found in real.load(qmail) if qmail else ():
        if isinstance(found, Exception):
            yield {"id": number, "queue": queued.QMAIL, "error": str(found)}
        else:
            yield queued.of_qmail(found, now)


@queue.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON list.")
@click.pass_obj
def list_(home: Path, as_json: bool) -> None:
    """Every message that is accepted and not finished, oldest first."""
    with _open(home) as found:
        messages = sorted(_messages(*found), key=lambda one: one.get("arrived", 0.0))
    if as_json:
        click.echo(json.dumps(messages, indent=2))
        return
    for message in messages:
        say(queued.lines(message))
    say(f"{counted(len(messages), 'message')} in the queue")


def _number(_ctx: click.Context, _param: click.Parameter, value: tuple[str, ...]) -> tuple[int, ...]:
    for one in value:
        if not re.fullmatch("[0-9]{1,20}", one):
            raise click.BadParameter(f"{one!r} is not a message number")
    return tuple(int(one) for one in value)


NUMBERS = click.argument("numbers", metavar="NUMBER...", nargs=-1, required=True, callback=_number)


@queue.command()
@NUMBERS
@click.pass_obj
def show(home: Path, numbers: tuple[int, ...]) -> None:
    """Envelope, state and text of messages."""
    with _open(home) as (standin, qmail):
        for number in numbers:
            try:
                lines, fd, offset = _shown(standin, qmail, number)
            except FileNotFoundError:
                _no_such(number)
            except (Damaged, real.DamagedError) as error:
                say(f"mailhost queue: msg {number} cannot be read: {error}", err=True)
                sys.exit(1)
            say(lines + "\n")
            sys.stdout.flush()
            with os.fdopen(fd, "rb"):
                _print(message_pieces(fd, offset))


def _shown(standin: Queue | None, qmail: Path | None, number: int) -> tuple[str, int, int]:
    """What is known of a message, a descriptor of its file, and where its text begins there.

    Raises:
        FileNotFoundError: there is none of that number.
        Damaged, real.DamagedError: it has another form.
    """
    if standin and number in standin.numbers():
        record, journal = standin.read(number), standin.journal(number)
        return queued.lines(queued.of_standin(record, journal, time.time())), standin.open(number), record.offset
    message = real.read(qmail, number) if qmail else None
    if qmail is None or message is None:
        raise FileNotFoundError(2, "no such message", str(number))
    reports = textwrap.indent(message.bounce.decode("utf-8", "backslashreplace").rstrip("\n"), "    | ")
    lines = queued.lines(queued.of_qmail(message, time.time()))
    return f"{lines}\n{reports}" if reports else lines, real.open_message(qmail, number), 0


def _print(pieces: Iterator[bytes]) -> None:
    """A message as it is, for a file or a program; for a person what moves the cursor is made visible."""
    if not sys.stdout.isatty():
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        return
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    for piece in (*pieces, b""):
        sys.stdout.write(visible(decoder.decode(piece, final=not piece)))


def _no_such(number: int) -> NoReturn:
    say(f"mailhost queue: there is no msg {number}", err=True)
    sys.exit(1)


@queue.command()
@click.pass_obj
def flush(home: Path) -> None:
    """Have everything that is deferred tried now."""
    pid = hup.find(home)
    if pid is None:
        say("mailhost queue: no sender runs on this queue; what is deferred is tried when one starts", err=True)
        sys.exit(1)
    try:
        os.kill(pid, signal.SIGALRM)
    except OSError as error:
        say(f"mailhost queue: cannot signal the sender, pid {pid}: {error.strerror}", err=True)
        sys.exit(TEMPORARY)
    say(f"told the sender, pid {pid}")


@queue.command()
@NUMBERS
@click.pass_obj
def delete(home: Path, numbers: tuple[int, ...]) -> None:
    """Remove messages of the stand-in for good, without a bounce. A delivery that runs at this moment still ends.

    Real qmail's queue is only read: its qmail-send keeps in memory what it has to deliver.
    """
    with _open(home) as (store, _):
        if store is None:
            say("mailhost queue: real qmail's queue is only read, so nothing is deleted", err=True)
            sys.exit(1)
        _delete(store, numbers)


def _delete(store: Queue, numbers: tuple[int, ...]) -> None:
    known = set(store.numbers())
    for number in numbers:
        if number not in known:
            _no_such(number)
    for number in numbers:
        store.remove(number)
    say(f"deleted {counted(len(numbers), 'message')}")
