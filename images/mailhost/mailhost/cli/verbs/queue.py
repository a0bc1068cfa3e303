"""``mailhost queue``: what the stand-in still has to deliver."""

from __future__ import annotations

import codecs
import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import click

from mailhost.accounts.change import hup
from mailhost.cli.terminal import say, visible
from mailhost.standin.queue.format import Damaged, Journal, QueueRecord
from mailhost.standin.queue.store import DIRECTORIES, Queue, message_pieces

TEMPORARY = 111


@click.group()
def queue() -> None:
    """Look at the stand-in's queue and act on it."""


def _open(home: Path) -> Queue:
    root = home / "queue" / "standin"
    try:
        if not all((root / name).is_dir() for name in DIRECTORIES):
            raise FileNotFoundError(2, "no queue of the stand-in there", str(root))
        return Queue(root)
    except OSError as error:
        say(f"mailhost queue: {root}: {error.strerror}", err=True)
        sys.exit(TEMPORARY)


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "backslashreplace")


def _state(record: QueueRecord, journal: Journal, index: int) -> str:
    if index in journal.failed:
        return "failed"
    if index in journal.done:
        return "delivered"
    letter = b"L" if record.recipients[index].local else b"R"
    return "deferred" if letter in journal.due else "waiting"


def _described(record: QueueRecord, journal: Journal) -> dict[str, object]:
    due = {letter: journal.due.get(letter) for letter in (b"L", b"R")}
    recipients = [
        {
            "address": _text(one.address),
            "channel": "local" if one.local else "remote",
            "state": _state(record, journal, index),
            "next_try": due[b"L" if one.local else b"R"],
        }
        for index, one in enumerate(record.recipients)
    ]
    return {
        "id": record.number,
        "arrived": record.birth,
        "octets": record.size,
        "sender": _text(record.sender),
        "recipients": recipients,
    }


def _messages(store: Queue) -> Iterator[dict[str, object]]:
    for number, found in store.load():
        if isinstance(found, Exception):
            yield {"id": number, "error": str(found)}
        else:
            yield _described(*found)


@queue.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON list.")
@click.pass_obj
def list_(home: Path, as_json: bool) -> None:
    """Every message that is accepted and not finished, oldest first."""
    messages = list(_messages(_open(home)))
    if as_json:
        click.echo(json.dumps(messages, indent=2))
        return
    for message in messages:
        say(_lines(message))
    say(f"{len(messages)} messages in the queue")


def _lines(message: dict[str, object]) -> str:
    if "error" in message:
        return f"{message['id']}  cannot be read: {message['error']}"
    arrived = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(float(str(message["arrived"]))))
    lines = [f"{message['id']}  {arrived}Z  {message['octets']} octets  from <{message['sender']}>"]
    recipients = message["recipients"]
    for one in recipients if isinstance(recipients, list) else []:
        due = one["next_try"]
        later = time.strftime("  next try %H:%M:%SZ", time.gmtime(due)) if one["state"] == "deferred" else ""
        lines.append(f"    {one['channel']:6} {one['state']:9} {one['address']}{later}")
    return "\n".join(lines)


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
    store = _open(home)
    for number in numbers:
        try:
            record, journal = store.read(number), store.journal(number)
            fd = store.open(number)
        except FileNotFoundError:
            _no_such(number)
        except (OSError, Damaged) as error:
            say(f"mailhost queue: msg {number} cannot be read: {error}", err=True)
            sys.exit(1)
        say(_lines(_described(record, journal)) + "\n")
        sys.stdout.flush()
        with os.fdopen(fd, "rb"):
            _print(message_pieces(fd, record.offset))


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
    """Remove messages for good, without a bounce. A delivery that runs at this moment still ends."""
    store = _open(home)
    known = set(store.numbers())
    for number in numbers:
        if number not in known:
            _no_such(number)
    try:
        for number in numbers:
            store.remove(number)
    except OSError as error:
        say(f"mailhost queue: {error.filename}: {error.strerror}", err=True)
        sys.exit(TEMPORARY)
    say(f"deleted {len(numbers)} messages")
