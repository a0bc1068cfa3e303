"""One of the two hosts: a directory with its files, and `mailhost explain`, which answers from them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from popbox.environment import NOTHING, of_programs
from popbox.errors import HostError, UnusableError
from popbox.hosts.process import undisturbed
from popbox.migrate.oldhost.source import names_itself, open_source, qmail_of
from popbox.migrate.oldhost.tree import OldHostError, OldHostTree

ANSWERED, SOME_NOT_JUDGED, UNUSABLE, UNREADABLE = 0, 1, 2, 111
Owners = Literal["auto", "strict", "ignore"]


@dataclass(frozen=True, slots=True)
class Side:
    """``home``: the qmail home as the host names it. ``options``: of `mailhost explain`, where the files lie."""

    name: str
    tree: OldHostTree
    home: bytes
    options: tuple[str, ...]
    environ: Mapping[str, str]

    def known(self) -> Generator[tuple[str, bytes]]:
        """(kind, address) of what the files know; some addresses come more than once.

        mailhost begins at once, and does not wait for its lines to be taken: two hosts can be asked at the same time.

        Raises:
            UnusableError: mailhost cannot use the files.
            HostError: mailhost does not run.
        """
        lines = self._lines(["--known"], None, at_once=True)
        next(lines)
        return _parted(lines)

    def answers(self, addresses: Path, *, steps: bool = False) -> Generator[bytes]:
        """A line of JSON for the host, then one for each line of the file, in order.

        Raises:
            UnusableError: mailhost cannot use the files.
            HostError: mailhost does not run.
        """
        yield from self._lines(["--batch", *(["--steps"] if steps else [])], addresses)

    def ask(self, addresses: Iterable[bytes], *, steps: bool = False) -> list[dict[str, Any]]:
        """The answers for a few addresses.

        Raises:
            UnusableError: mailhost cannot use the files.
            HostError: mailhost does not run.
        """
        with tempfile.NamedTemporaryFile(prefix="popbox-routes-") as file:
            file.write(b"".join(address + b"\n" for address in addresses))
            file.flush()
            return [json.loads(line) for line in self.answers(Path(file.name), steps=steps)][1:]

    def _lines(self, verb: list[str], addresses: Path | None, *, at_once: bool = False) -> Generator[bytes]:
        """What mailhost says; with ``at_once`` an empty line when it has begun, and the others when it has ended."""
        home = self.home.decode("utf-8", "surrogateescape")
        argv = [sys.executable, "-P", "-m", "mailhost", "--home", home, "explain", *self.options, *verb]
        with (
            tempfile.TemporaryFile() as errors,
            tempfile.TemporaryFile() as spool,
            Path(addresses or os.devnull).open("rb") as given,
        ):
            with undisturbed():
                child = subprocess.Popen(
                    argv,
                    stdin=given,
                    stdout=spool if at_once else subprocess.PIPE,
                    stderr=errors,
                    env=of_programs(self.environ),
                    start_new_session=True,
                )
            try:
                if at_once:
                    yield b""
                    child.wait()
                    spool.seek(0)
                with closing(child.stdout or spool) as said:
                    yield from said
                child.wait()
            finally:
                if child.poll() is None:
                    child.kill()
                    child.wait()
            errors.seek(0)
            self._judge(child.returncode, errors.read(1 << 16).decode(errors="replace").strip())

    def _judge(self, code: int, said: str) -> None:
        if code in (UNUSABLE, UNREADABLE):
            raise UnusableError(f"{self.name}: {said}")
        if code not in (ANSWERED, SOME_NOT_JUDGED):
            raise HostError(f"`mailhost explain` for {self.name} ended with {code}", said)


def _parted(lines: Iterator[bytes]) -> Generator[tuple[str, bytes]]:
    """The lines ``kind TAB address`` of ``--known``."""
    for line in lines:
        kind, _, address = line.rstrip(b"\n").partition(b"\t")
        yield kind.decode("ascii"), address


def open_side(
    directory: Path,
    stands_for: str | None,
    qmail_home: str | None,
    environ: Mapping[str, str] = NOTHING,
    *,
    passwd: Path | None = None,
    owners: Owners = "auto",
    default: str | None = None,
) -> Side:
    """The host in a directory: a root, a copy of one, or a qmail home; the last also where it is in use.

    Raises:
        UnusableError: it is none.
    """
    try:
        tree = open_source(str(directory), stands_for, environ)
    except OldHostError as why:
        raise UnusableError(str(why)) from why
    own = directory.resolve()
    here = stands_for is None and Path(os.fsdecode(tree.base)) in (own, directory.absolute()) and names_itself(tree)
    home = tree.base if here else qmail_of(tree, qmail_home)
    where = [] if here else ["--root", str(own), "--as", os.fsdecode(tree.base)]
    more = ["--owners", owners, *(["--passwd", str(passwd)] if passwd else [])]
    more += [] if default is None else ["--default-delivery", default]
    return Side(str(directory), tree, home, (*where, *more), environ)
