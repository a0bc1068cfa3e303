#!/usr/bin/python3 -I
"""maillog [OPTION...] [PROGRAM ARG...] - the log of qmail-send, with time and with counters.

Reads the lines of qmail-send (or of the stand-in, which writes the same) on standard input, or those that PROGRAM
writes to its standard error. Writes them to standard output with the UTC time (--as-is: without it), keeps the last
10 MiB in a folder for a reader in another container (--keep DIR), and serves its counters as Prometheus text
(--metrics ADDR:PORT, with the gauges of --queue DIR and those that `mailhost follow` keeps in --gauges FILE).
``README.md`` in this folder is the man page.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO

DELIVERY = re.compile(rb"delivery \d+: (success|failure|deferral): ")
ENDED = re.compile(rb"delivery (\d+): ")
STARTED = re.compile(rb"starting delivery (\d+): msg \d+ to (local|remote) ")
OTHERS = {b"new msg ": "messages", b"bounce msg ": "bounces", b"triple bounce: ": "triple", b"alert: ": "alerts"}
SIMPLE = {
    "messages": ("popbox_queue_messages_total", "Messages that entered the queue, bounces included."),
    "bounces": ("popbox_queue_bounces_total", "Bounce messages made."),
    "triple": ("popbox_queue_triple_bounces_total", "Bounces of bounces of bounces, thrown away."),
    "alerts": ("popbox_queue_alerts_total", "Lines that begin with alert: something needs a person."),
}
KEPT_OCTETS = 1 << 20  # our choice: of one kept file
KEPT_FILES = 9  # our choice: full ones, beside the one that grows
OUTCOMES = ("success", "failure", "deferral")
CHANNELS = ("local", "remote")
VALUED = ("--metrics", "--queue", "--gauges", "--keep")
USAGE = "usage: maillog [--metrics ADDR:PORT] [--queue DIR] [--gauges FILE] [--keep DIR] [--as-is] [PROGRAM ARG...]"
MOST_GAUGES = 65_536  # our choice: octets of --gauges; a dozen lines are expected
SAMPLE = re.compile(rb'popbox_[a-z0-9_]+(\{volume="[a-z]+"\})? [0-9.e+-]+\n|# (HELP|TYPE) popbox_[a-z0-9_]+ [ -~]+\n')


class Counters:
    """Counts of the lines so far. Only one thread counts; readers see whole numbers."""

    def __init__(self) -> None:
        self.simple = dict.fromkeys(SIMPLE, 0)
        self.deliveries = {(channel, outcome): 0 for channel in CHANNELS for outcome in OUTCOMES}
        self._channel_of: dict[bytes, str] = {}

    def count(self, line: bytes) -> None:
        """Count one line; a line of an unknown form is ignored."""
        if started := STARTED.match(line):
            self._channel_of[started[1]] = started[2].decode()
        elif ended := DELIVERY.match(line):
            number = ENDED.match(line)
            channel = self._channel_of.pop(number[1], "local") if number else "local"
            self.deliveries[channel, ended[1].decode()] += 1
        elif line.startswith(b"status: exiting"):
            self._channel_of.clear()
        else:
            for start, name in OTHERS.items():
                self.simple[name] += line.startswith(start)

    def page(self, queue: Path | None) -> bytes:
        """The page for Prometheus (text format 0.0.4)."""
        lines: list[str] = []
        for key, (name, text) in SIMPLE.items():
            lines += [f"# HELP {name} {text}", f"# TYPE {name} counter", f"{name} {self.simple[key]}"]
        name = "popbox_queue_deliveries_total"
        lines += [f"# HELP {name} Ends of delivery attempts.", f"# TYPE {name} counter"]
        for (channel, outcome), number in self.deliveries.items():
            lines.append(f'{name}{{channel="{channel}",outcome="{outcome}"}} {number}')
        for name, text, value in depth(queue):
            lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge", f"{name} {value}"]
        return ("\n".join(lines) + "\n").encode("ascii")


class Kept:
    """The last lines in a folder: ``current`` grows, full ones are ``@NANOSECONDS``; its group may read them."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._fd, self._octets = folder, -1, 0
        with contextlib.suppress(OSError):
            self._open()  # a reader finds it before the first line

    def add(self, line: bytes) -> None:
        """Append a line with its end. What cannot be kept is lost; the next line is tried again."""
        try:
            if self._fd < 0:
                self._open()
            if os.write(self._fd, line) < len(line):
                self._close()  # it is torn: the next one begins a line of its own
            self._octets += len(line)
            if self._octets >= KEPT_OCTETS:
                self._turn()
        except OSError:
            self._close()

    def _open(self) -> None:
        self._fd = os.open(self._folder / "current", os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        os.fchmod(self._fd, 0o640)  # whatever the umask
        self._octets = os.fstat(self._fd).st_size
        if self._octets and os.pread(self._fd, 1, self._octets - 1) != b"\n":
            os.write(self._fd, b"\n")

    def _turn(self) -> None:
        self._close()
        (self._folder / "current").rename(self._folder / f"@{time.time_ns():020d}")
        for old in sorted(self._folder.glob("@*"))[:-KEPT_FILES]:
            old.unlink()
        self._open()

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


def depth(queue: Path | None) -> list[tuple[str, str, int]]:
    """Gauges of a queue directory: qmail's mess/N/NUMBER and todo/NUMBER, or the stand-in's msg/NUMBER."""
    if queue is None:
        return []
    messages = [*dates(queue, "mess", "*/*"), *dates(queue, "msg", "*")]
    todo = [*dates(queue, "todo", "*"), *dates(queue, "todo", "*/*")]
    return [
        ("popbox_queue_depth", "Messages in the queue now.", len(messages)),
        ("popbox_queue_oldest_message_seconds", "How long the oldest message is in the queue.", age(messages)),
        ("popbox_queue_unprocessed", "Of these, messages that the sender has not looked at yet.", len(todo)),
        ("popbox_queue_oldest_unprocessed_seconds", "How long the oldest of these waits.", age(todo)),
        *disk("queue", queue),
    ]


def dates(queue: Path, part: str, pattern: str) -> list[float]:
    """When the files of a part were written, seconds since 1970; those that go in between are left out."""
    found = []
    for path in (queue / part).glob(pattern):
        with contextlib.suppress(OSError):
            seen = path.stat()
            if stat.S_ISREG(seen.st_mode):
                found.append(seen.st_mtime)
    return found


def age(dates: list[float]) -> int:
    """Seconds since the oldest; 0 where there is none, or the clock was set back."""
    return max(0, int(time.time() - min(dates))) if dates else 0


def more(gauges: Path | None) -> bytes:
    """The file that another program keeps for the page; only lines that are what they should be."""
    if gauges is None:
        return b""
    try:
        with gauges.open("rb") as file:
            lines = file.read(MOST_GAUGES).splitlines(keepends=True)
    except OSError:
        return b""
    return b"".join(line for line in lines if SAMPLE.fullmatch(line))


def disk(name: str, folder: Path) -> list[tuple[str, str, int]]:
    """Gauges of a folder's file system; none where statvfs fails."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return []
    return [
        (f"popbox_{name}_disk_free_bytes", f"Free for the {name}.", found.f_bavail * found.f_frsize),
        (f"popbox_{name}_disk_size_bytes", f"Size of the {name}'s file system.", found.f_blocks * found.f_frsize),
        (f"popbox_{name}_disk_free_inodes", f"Inodes free for the {name}.", found.f_favail),
    ]


def serve(address: str, counters: Counters, queue: Path | None, gauges: Path | None) -> None:
    """Answer GET /metrics in threads.

    Raises:
        OSError: the address cannot be bound.
    """

    class Page(BaseHTTPRequestHandler):
        timeout = 5  # our choice: a scraper that is silent for so long has gone

        def do_GET(self) -> None:
            """The page, or 404."""
            found = self.path == "/metrics"
            body = counters.page(queue) + more(gauges) if found else b"only /metrics is here\n"
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing: a line for each scrape would hide the mail."""

    host, _, port = address.rpartition(":")
    server = ThreadingHTTPServer((host, int(port)), Page)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()


def stamped(line: bytes) -> bytes:
    """The line after its time, in the form of s6-log's T."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
    return f"{moment}.{nanoseconds:09d}  ".encode("ascii") + line


def copy(lines: IO[bytes], counters: Counters, form: Callable[[bytes], bytes], kept: Kept | None) -> None:
    """Count and keep each line, then write it at once: a line that can be read has been counted.

    A log that cannot be written does not stop mail.
    """
    for line in lines:
        counters.count(line)
        formed = form(line if line.endswith(b"\n") else line + b"\n")
        if kept:
            kept.add(formed)
        with contextlib.suppress(OSError):
            os.write(1, formed)


def run(argv: list[str], take: Callable[[IO[bytes]], None]) -> int:
    """Run PROGRAM and ``take`` its log: signals are passed on to it, and its exit code is ours."""
    signals, told = os.pipe()
    os.set_blocking(told, False)
    signal.set_wakeup_fd(told)
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM):
        signal.signal(signum, lambda *_: None)
    child = subprocess.Popen(argv, stderr=subprocess.PIPE)
    threading.Thread(target=pass_on, args=(signals, child), daemon=True).start()
    assert child.stderr is not None  # for the type checker: it was asked for
    take(child.stderr)
    code = child.wait()
    return code if code >= 0 else 128 - code


def pass_on(signals: int, child: subprocess.Popen[bytes]) -> None:
    """Pass on each signal at once, by its number in a pipe; a handler would not run while we wait for a line."""
    while number := os.read(signals, 1):
        child.send_signal(number[0])


def main() -> int:
    """Exit codes: PROGRAM's, or 0 at the end of the input; 111 the address cannot be bound; 100 misuse."""
    argv, chosen, form = sys.argv[1:], dict[str, str](), stamped
    while argv and argv[0] in (*VALUED, "--as-is"):
        option, *argv = argv
        if option == "--as-is":
            form = bytes
        elif argv:
            chosen[option], *argv = argv
        else:
            argv = [option]  # its value is missing
            break
    if argv and argv[0].startswith("-"):
        print(USAGE, file=sys.stderr)
        return 100
    counters, metrics = Counters(), chosen.get("--metrics", "")
    try:
        if metrics:
            queue, gauges = (Path(chosen[one]) if one in chosen else None for one in ("--queue", "--gauges"))
            serve(metrics, counters, queue, gauges)
    except (OSError, ValueError) as why:
        print(f"maillog: cannot listen on {metrics}: {why}", file=sys.stderr)
        return 111
    kept = Kept(Path(chosen["--keep"])) if "--keep" in chosen else None
    take = partial(copy, counters=counters, form=form, kept=kept)
    if argv:
        return run(argv, take)
    take(sys.stdin.buffer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
