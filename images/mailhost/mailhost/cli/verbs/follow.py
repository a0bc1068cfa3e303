"""`mailhost follow` and `governed`: a host whose accounts are one file's, which is applied unattended."""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from click.core import ParameterSource

from mailhost.accounts import exposed, nodes
from mailhost.accounts import governed as record
from mailhost.accounts.errors import AccountsError, BusyError, InputError
from mailhost.accounts.layout import Layout, layout
from mailhost.accounts.nodes import Node
from mailhost.accounts.sources import accounts_toml
from mailhost.cli.common import guarded, json_option
from mailhost.cli.output import print_facts, print_json
from mailhost.cli.paths import PathName
from mailhost.cli.terminal import say
from mailhost.cli.verbs.declare import FILE
from mailhost.system.reading import open_given

LOOK_S = 3.0
"""Between two looks; a text counts when two of them saw the same (our choice: an editor saves in less)."""
WAIT_S, WAIT_AT_START_S = 60.0, 15.0
"""How long a node waits for the others that are up to hear of a new text (our choice: they look every few seconds)."""
AGAIN_S = 60.0
"""When a text that was refused is tried again, for what it needs beside itself (a password file, disk space)."""


@dataclass(frozen=True, slots=True)
class Look:
    """What tells one text of the file from another."""

    inode: int
    octets: int
    mtime_ns: int
    ctime_ns: int
    sha256: str


def look(file: Path) -> Look | None:
    """The file as it is now, None where there is none.

    Raises:
        InputError: it cannot be read, or is not a file whose text can stand still.
    """
    try:
        with os.fdopen(open_given(file, pipes=False), "rb") as opened:
            found = os.fstat(opened.fileno())
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as why:
        raise InputError(f"cannot be read: {why.strerror}", file=str(file)) from why
    return Look(found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, digest)


class Follower:
    """Looks, and applies what stood still. ``say`` is told what a person should see, once."""

    def __init__(self, home: Path, file: Path, every_s: float, node: str | None = None) -> None:
        self.layout: Layout = layout(home)
        self.home, self.file, self.every_s = home, file, every_s
        self.node = None if node is None else Node(self.layout, node)
        self._seen: Look | None = None
        self._since = 0.0
        self._tried: Look | None = None
        self._try_at = 0.0
        self._said = ""
        self._announced: Look | None = None

    def round(self) -> None:
        """One look at the other nodes and at the file, and the apply where it is due."""
        seen = self._look(self._gone)
        if seen is None:
            return
        now = time.monotonic()
        if seen != self._seen:
            self._seen, self._since = seen, now
            record.note(self.layout, self.file)
        elif (seen != self._tried or now >= self._try_at) and self._heard(seen, now - self._since):
            self._apply(seen, now - self._since)

    def begin(self) -> None:
        """At the start of a host: what has stood still long enough by its dates is applied now, anything else soon."""
        seen = self._look(lambda: record.release(self.layout))
        if seen is None:
            return
        record.note(self.layout, self.file)
        still_s = max(0.0, time.time() - max(seen.mtime_ns, seen.ctime_ns) / 1e9)
        if still_s < self.every_s:
            time.sleep(self.every_s - still_s)
            still_s = self.every_s
        if look(self.file) != seen:
            return
        until = time.monotonic() + WAIT_AT_START_S
        while not self._heard(seen, time.monotonic() - until + WAIT_S) and time.monotonic() < until:
            time.sleep(self.every_s / 4)
            self._neighbours()
        while not self._apply(seen, still_s) and time.monotonic() < until + WAIT_S:
            time.sleep(self.every_s / 4)
            self._neighbours()

    def _look(self, gone: Callable[[], None]) -> Look | None:
        """The other nodes, then the file; None: nothing is to be applied, ``gone`` is called or it is said why."""
        self._neighbours()
        try:
            seen = look(self.file)
        except InputError as why:
            self._refused(str(why))
            return None
        if seen is None:
            gone()
        return seen

    def _gone(self) -> None:
        if record.read(self.layout) is not None:
            self._say(f"{self.file} is gone; the accounts stay as they are, and governed by it")
        self._seen = None

    def _neighbours(self) -> None:
        """Have wait here what other nodes know and this one does not."""
        if self.node is not None:
            self.node.look()

    def _heard(self, seen: Look, waited_s: float) -> bool:
        """Announce this text, and see whether every node that is up knows of it, or was waited for long enough."""
        if self.node is None:
            return True
        if seen != self._announced:
            self._announced = seen
            text = accounts_toml.octets_of(self.file)
            if hashlib.sha256(text).hexdigest() == seen.sha256:
                with contextlib.suppress(InputError):  # the apply will say it
                    self.node.announce(nodes.addresses(accounts_toml.decode(text, self.file)))
            self.node.look()
        unheard = self.node.unheard()
        if unheard and waited_s < WAIT_S:
            self._say(f"waits for {', '.join(unheard)} to hear of it")
        elif unheard:
            self._say(f"{', '.join(unheard)} did not hear of it in {WAIT_S:.0f} s: senders may be refused there")
        return not unheard or waited_s >= WAIT_S

    def _apply(self, seen: Look, still_s: float) -> bool:
        """Apply it where no other node does so now, which would meet it in the same boxes; whether it was tried."""
        with contextlib.nullcontext(True) if self.node is None else self.node.alone() as alone:
            if alone:
                self._applied(seen, still_s)
            return alone

    def _applied(self, seen: Look, still_s: float) -> None:
        """In a process of its own: the accounts of a large host are not kept in memory from one change to the next."""
        verb = ["apply", "--unattended", f"{still_s:.3f}", "--sha256", seen.sha256, "--", str(self.file)]
        argv = [sys.executable, "-P", "-m", "mailhost", "--home", str(self.home), *verb]
        began = time.monotonic()
        done = subprocess.run(argv, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        text = done.stdout.decode("utf-8", "replace").strip()
        now = time.monotonic()
        self._tried, self._try_at = seen, now + AGAIN_S
        if done.returncode == 0:
            if self.node is not None:
                self.node.serve()
                self.node.look()
            self._try_at, self._said = float("inf"), ""
            self._say(text)
            self._said = ""
        elif done.returncode == BusyError.exit_code:
            self._try_at = now + 2 * (now - began)  # a large file's try takes a while; most of the time is not ours
            self._refused(text, "not applied yet")
        else:
            self._refused(text)

    def _refused(self, why: str, end: str = "not applied") -> None:
        why = why.removeprefix("mailhost: ")
        record.note(self.layout, self.file, waits=why)
        self._say(f"{why}\n{end}")

    def _say(self, text: str) -> None:
        """Each thing once, until something else happens."""
        if text != self._said:
            self._said = text
            for line in text.splitlines():
                say(f"accounts: {line}")
            sys.stdout.flush()


@click.command()
@FILE
@click.option("--once", is_flag=True, help="Apply it where it has stood still, and end: before the host takes mail.")
@click.option("--every", "every_s", type=click.FloatRange(0.1), default=LOOK_S, show_default=True, metavar="SECONDS")
@click.option("--node", metavar="NAME", help="This node's name, where several share popboxes; each has its own.")
@click.option("--gauges", type=PathName(path_type=Path), metavar="FILE", help="Keep what Prometheus may read there.")
@click.pass_obj
@guarded
def follow(home: Path, file: Path, every_s: float, node: str | None, gauges: Path | None, *, once: bool) -> None:
    """Keep the host as FILE says, unattended; single verbs then refuse to change what FILE would take back.

    A text is applied when two looks saw the same and it ends whole; what takes something away, when it has stood still
    for a minute or ends in the line `# end of accounts`. More than three addresses, or a domain with mail in it, go
    only when a person agrees (`mailhost apply`, or [removals] in FILE). What is not applied is logged, and `governed`
    says it. Where there is no FILE at the start, none governs the host; with --once, a FILE that was named and cannot
    be read is an error.

    With --gauges, FILE has after each look, in Prometheus' text form: when that was, what is applied and whether
    something waits, the room of the volumes, and the certificate's end.

    With --node, what another node of the same popboxes knows and this one does not is answered with 451 here, and a new
    text is applied when all nodes that are up have heard of it.

    \b
    Example:
      mailhost follow --once && mailhost follow &
    """
    follower = Follower(home, file, every_s, node)
    if once and named() and look(file) is None:
        raise InputError("there is no such file", file=str(file))
    if once:
        _safely(follower.begin)
        return
    told = _told_to_end()
    while True:  # a change that has begun is finished first
        _safely(follower.round)
        if gauges is not None:
            _show(follower.layout, gauges)
        if told.poll(every_s * 1000):
            return


def _told_to_end() -> select.poll:
    """What has something to read once SIGTERM or SIGINT came, from now on for as long as the process lives.

    A handler that sets a `threading.Event` waits for ever where it comes while the same thread waits for that Event.
    """
    signals, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    told = select.poll()
    told.register(signals, select.POLLIN)
    return told


def named() -> bool:
    """Whether the command line names FILE. The one that the images mount may be missing, and the host starts."""
    return click.get_current_context().get_parameter_source("file") is ParameterSource.COMMANDLINE


def _show(place: Layout, file: Path) -> None:
    """Write the gauges. A file that cannot be written is not said each time: its age tells."""
    with contextlib.suppress(AccountsError, OSError):
        exposed.put(file, exposed.text(place.home, record.read(place), time.time()))


def _safely(step: Callable[[], None]) -> None:
    """A record that cannot be kept (a full disk, a server away) ends neither the start of a host nor the looking."""
    try:
        step()
    except (AccountsError, OSError) as why:
        say(f"accounts: {why}")


@click.command()
@json_option
@click.pass_obj
@guarded
def governed(home: Path, *, as_json: bool) -> None:
    """Say which file governs the accounts of this host, when it was applied, and what of it waits.

    \b
    Example:
      mailhost governed --json
    """
    found = record.read(layout(home))
    if as_json:
        print_json(None if found is None else asdict(found))
    elif found is None:
        say("no file governs the accounts of this host: `mailhost` verbs change them")
    else:
        facts = [("applied", f"{found.at}, SHA-256 {found.applied}" if found.at else "never yet")]
        facts += [("waits", found.waits)] if found.waits else []
        print_facts(f"{found.file} governs the accounts of this host", facts)
