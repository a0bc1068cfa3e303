"""``mailhost commands`` and ``mailhost find``: for programs that ask the mail host often, and that prove delivery.

A command as a program of its own costs 110 ms, nearly all of it imports; from ``commands`` 10 ms, with the same code
in a process of its own.
"""

from __future__ import annotations

import base64
import gc
import importlib
import json
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NoReturn

import click

from mailhost.cli import VERBS, main

_NOT_IMPORTED = "mailhost.cli.verbs.serve"  # a server is no command, and brings the most modules
_SHORT = ("--home", "explain", "--batch")
_MOST_AT_ONCE = 1_000  # our choice: addresses, a third of a second


@click.command()
def commands() -> None:
    """Run commands from stdin, each in a process of its own, but for `explain --batch` of a few addresses.

    A command is a line of JSON: {"argv": [WORD, ...], "stdin": BASE64}. Its answer is a line of JSON on stdout:
    [exit code, stdout, stderr], both in base64. The first line on stdout is "ready". Ends with stdin.
    """
    click.echo("ready")
    for line in iter(sys.stdin.buffer.readline, b""):
        try:
            asked = json.loads(line)
            argv, stdin = [str(word) for word in asked["argv"]], base64.b64decode(asked["stdin"])
        except (ValueError, KeyError, TypeError) as error:
            raise click.UsageError(f"not a command: {error!r}") from error
        _import(argv)
        click.echo(json.dumps(_told(argv, stdin) or _run(argv, stdin)))


def _import(argv: list[str]) -> None:
    """Import what the verb needs, when first asked for it: all verbs take 130 ms, and a POP3 side is asked for one."""
    name = next((VERBS[word] for word in argv if word in VERBS), _NOT_IMPORTED)
    if name != _NOT_IMPORTED and name not in sys.modules:
        with suppress(ImportError):  # the command itself will say so
            importlib.import_module(name)
        gc.freeze()  # or each child copies the pages of all that is imported, when its collector looks at them


def _told(argv: list[str], stdin: bytes) -> tuple[int, str, str] | None:
    """The answer to ``--home HOME explain --batch``, if it is short: a process costs five times what the rules do.

    None for all else, and where it is an error: the program itself says it.
    """
    if len(argv) != 4 or (argv[0], *argv[2:]) != _SHORT or ".." in argv[1] or stdin.count(b"\n") > _MOST_AT_ONCE:
        return None
    from mailhost.cli.explain_many import told

    with suppress(Exception):
        code, text = told(Path(argv[1]).absolute(), stdin)
        return code, base64.b64encode(text.encode()).decode(), ""
    return None


def _run(argv: list[str], stdin: bytes) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a child that runs it."""
    sys.stdout.flush()
    with _memory() as given, _memory() as out, _memory() as err:
        given.write(stdin)
        given.seek(0)
        child = os.fork()
        if child == 0:
            _become(argv, (given, out, err))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return status, _content(out), _content(err)


def _memory() -> BinaryIO:
    return os.fdopen(os.memfd_create("mailhost"), "w+b", buffering=0)


def _content(file: BinaryIO) -> str:
    file.seek(0)
    return base64.b64encode(file.read()).decode()


def _become(argv: list[str], files: tuple[BinaryIO, ...]) -> NoReturn:
    """The child: run the command with these files as stdin, stdout and stderr, and end as a program would."""
    for number, file in enumerate(files):
        os.dup2(file.fileno(), number)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", closefd=False, errors="backslashreplace")
    sys.argv = ["mailhost", *argv]
    status = 1
    try:
        main(prog_name="mailhost")
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        if isinstance(end.code, str):
            click.echo(end.code, err=True)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


@click.command()
@click.argument("folders", nargs=-1, required=True, metavar="FOLDER...")
@click.pass_obj
def find(home: Path, folders: tuple[str, ...]) -> None:
    """Print every file below FOLDER that holds one of the texts.

    FOLDER is a directory below the home, such as popboxes, or a file. The texts are lines on stdin, each searched for
    with its line end; with none every file is printed. A file is a line of JSON:
    [[path below the home, mode, uid, gid, octets, modified], content in base64, whether it could be read].
    A file that cannot be read is printed without its content.
    """
    texts = sys.stdin.buffer.read().splitlines(keepends=True)
    for path in sorted(path for folder in folders for path in _walk(home / folder)):
        for content, found, readable in _read(path):
            if not texts or not readable or any(text in content for text in texts):
                entry = [os.path.relpath(path, home), found.st_mode & 0o7777, *found[4:7], found.st_mtime]
                click.echo(json.dumps([entry, base64.b64encode(content).decode(), readable]))


def _walk(top: Path) -> Iterator[str]:
    with suppress(OSError):  # what cannot be looked at is not shown, here and below
        if top.is_file():
            yield str(top)
    for place, _, names in os.walk(top):
        for name in names:
            yield f"{place}/{name}"


def _read(path: str) -> Iterator[tuple[bytes, os.stat_result, bool]]:
    """Content, status and whether it could be read: of a regular file that is still there, else nothing."""
    try:
        found = os.lstat(path)
        if not stat.S_ISREG(found.st_mode):
            return
        yield Path(path).read_bytes(), found, True
    except FileNotFoundError:
        return  # a session has moved it away
    except PermissionError:
        yield b"", found, False
