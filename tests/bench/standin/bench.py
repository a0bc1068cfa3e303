"""Messages accepted and delivered a second, and processor time a message, of three receivers.

The stand-in, real qmail, and aiosmtpd with a plain synced Maildir write:

    python tests/bench/standin/bench.py [--messages 2000] [--per-connection 1] [--rounds 3] [--only standin,aiosmtpd]

All three write below one directory of one disk. Syncs a message: stand-in 4 (queue file, its directory, mail
file, new/), shared where messages come together; qmail 5; aiosmtpd 2 (mail file, new/): it delivers before it
answers and has no queue. qmail needs root: it runs on a scratch copy in a private mount namespace, behind tcpserver.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import itertools
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mailhost.qmail.newu import newu

BOXES = 10
CONCURRENCY = 10
BODY = b"Subject: bench\r\n\r\n" + b"a line of forty octets, more or less....\r\n" * 50 + b".\r\n"
QMAIL = Path("/var/qmail")


class Client(asyncio.Protocol):
    """Lock-step SMTP without a library, so that the client costs little and the same for each server."""

    def __init__(self, numbers: Iterator[int], per_connection: int, done: asyncio.Future[None]) -> None:
        self._numbers, self._left, self._done = numbers, per_connection, done
        self._steps: Iterator[bytes] = iter(())
        self._text = b""
        self._quit = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._steps = self._script()

    def _script(self) -> Iterator[bytes]:
        yield b"EHLO bench\r\n"
        for number in itertools.islice(self._numbers, self._left):
            yield b"MAIL FROM:<s@d.com>\r\n"
            yield b"RCPT TO:<b%d@d.com>\r\n" % (number % BOXES)
            yield b"DATA\r\n"
            yield BODY
        yield b"QUIT\r\n"

    def data_received(self, data: bytes) -> None:
        self._text += data
        last = self._text.rstrip(b"\r\n").rpartition(b"\n")[2]
        if not self._text.endswith(b"\r\n") or last[3:4] == b"-":
            return
        if last[:1] not in (b"2", b"3"):
            raise SystemExit(f"refused: {last!r}")
        self._text = b""
        step = next(self._steps, None)
        if step is not None:
            self._transport.write(step)  # type: ignore[attr-defined]

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_result(None)


async def load(port: int, messages: int, per_connection: int) -> float:
    """Send them all; seconds until the last 250."""
    loop = asyncio.get_running_loop()
    numbers = iter(range(messages))
    connections = iter(range(-(-messages // per_connection)))

    async def one() -> None:
        for _ in connections:
            done: asyncio.Future[None] = loop.create_future()
            await loop.create_connection(lambda done=done: Client(numbers, per_connection, done), "127.0.0.1", port)
            await done

    began = time.monotonic()
    await asyncio.gather(*(one() for _ in range(CONCURRENCY)))
    return time.monotonic() - began


def delivered(home: Path) -> int:
    return sum(len(os.listdir(home / f"popboxes/b{n}/Maildir/new")) for n in range(BOXES))


def measure(port: int, home: Path, messages: int, per_connection: int) -> dict[str, float]:
    """Accepted and delivered per second; delivered counts from the first connection to the last file in new/."""
    import uvloop

    began = time.monotonic()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        accepted_s = runner.run(load(port, messages, per_connection))
    while delivered(home) < messages:
        if time.monotonic() - began > 300:
            raise SystemExit(f"only {delivered(home)} of {messages} were delivered")
        time.sleep(0.02)
    return {"accepted": messages / accepted_s, "delivered": messages / (time.monotonic() - began)}


def make_home(home: Path, seen_as: Path) -> None:
    for name in ("control", "users"):
        shutil.rmtree(home / name, ignore_errors=True)
        (home / name).mkdir(parents=True)
    (home / "control/me").write_text("bench.example\n")
    (home / "control/locals").write_text("bench.example\n")
    (home / "control/rcpthosts").write_text("d.com\n")
    (home / "control/virtualdomains").write_text("d.com:d\n")
    ids = (888, 888) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    lines = []
    for n in range(BOXES):
        box = home / f"popboxes/b{n}"
        for name in ("tmp", "new", "cur"):
            (box / "Maildir" / name).mkdir(parents=True)
        (box / ".qmail").write_text("./Maildir/\n")
        for path in [box, *box.rglob("*")]:
            os.chown(path, *ids)
        box.chmod(0o700)
        lines.append(f"=d-b{n}:popuser:{ids[0]}:{ids[1]}:{seen_as}/popboxes/b{n}:::\n")
    (home / "users/assign").write_text("".join(lines) + ".\n")


@contextmanager
def standin(place: Path) -> Iterator[tuple[int, Path]]:
    home = place / "home"
    make_home(home, home)
    mailhost = [sys.executable, "-m", "mailhost", "--home", str(home)]
    newu(home)
    with (place / "log").open("wb") as log:
        child = subprocess.Popen(
            [*mailhost, "serve", "standin", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=log
        )
    with ended(child):
        yield int(child.stdout.readline().rsplit(b":", 1)[1]), home  # type: ignore[union-attr]


@contextmanager
def aiosmtpd(place: Path) -> Iterator[tuple[int, Path]]:
    home = place / "home"
    make_home(home, home)
    child = subprocess.Popen([sys.executable, __file__, "--serve-aiosmtpd", str(home)], stdout=subprocess.PIPE)
    with ended(child):
        yield int(child.stdout.readline()), home  # type: ignore[union-attr]


@contextmanager
def ended(child: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(30)


def cpu_s() -> float:
    """Processor time of all children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def wait_for_all() -> None:
    """Until no child is left; orphans of children count, as we are their reaper."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


def serve_aiosmtpd(home: Path) -> None:
    """The simplest receiver that keeps the promise of 250: write, sync, rename, sync the directory, answer."""
    from aiosmtpd.smtp import SMTP

    sequence = itertools.count()

    class Handler:
        async def handle_DATA(self, _server: object, _session: object, envelope: object) -> str:  # noqa: N802
            await asyncio.to_thread(self._write, envelope.content, envelope.rcpt_tos[0])  # type: ignore[attr-defined]
            return "250 ok"

        @staticmethod
        def _write(content: bytes, recipient: str) -> None:
            maildir = home / "popboxes" / recipient.partition("@")[0] / "Maildir"
            name = f"{int(time.time())}.{os.getpid()}_{next(sequence)}.bench"
            with (maildir / "tmp" / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            (maildir / "tmp" / name).rename(maildir / "new" / name)
            fd = os.open(maildir / "new", os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(lambda: SMTP(Handler()), "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await stop.wait()

    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


def qmail(place: Path, messages: int, per_connection: int) -> dict[str, float]:
    scratch = place / "var-qmail"
    subprocess.run(["cp", "-a", str(QMAIL), str(scratch)], check=True)
    command = f'mount --make-rprivate / && mount --bind "$1" {QMAIL} && shift && exec "$@"'
    argv = ["unshare", "-m", "sh", "-c", command, "sh", str(scratch), sys.executable, __file__, "--in-namespace"]
    argv += ["--messages", str(messages), "--per-connection", str(per_connection)]
    result: dict[str, float] = json.loads(subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout)
    return result


def qmail_here(messages: int, per_connection: int) -> dict[str, float]:
    """Inside the namespace: tcpserver in front of qmail-smtpd, qmail-send behind, the log thrown away."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: qmail-send and the others are counted too
    make_home(QMAIL, QMAIL)
    subprocess.run([QMAIL / "bin/qmail-newu"], check=True)
    path = {"PATH": f"{QMAIL}/bin:/usr/bin:/bin"}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    null = subprocess.DEVNULL
    os.umask(0o077)
    before = cpu_s()
    subprocess.Popen([QMAIL / "bin/qmail-start", "./Mailbox"], stdout=null, stderr=null, env=path)
    listener = subprocess.Popen(
        ["tcpserver", "-HRl", "bench", "-c", "50", "-u", "7791", "-g", "2108", "127.0.0.1", str(port),
         QMAIL / "bin/qmail-smtpd"], env=path, stdout=null, stderr=null,
    )  # fmt: skip
    time.sleep(1)
    try:
        rates = measure(port, QMAIL, messages, per_connection)
    finally:
        listener.terminate()
        inode = (QMAIL / "queue/lock/sendmutex").stat().st_ino
        for line in Path("/proc/locks").read_text().splitlines():
            if line.split()[5].endswith(f":{inode}"):
                os.kill(int(line.split()[4]), signal.SIGTERM)
        wait_for_all()
    return {**rates, "cpu_ms": (cpu_s() - before) * 1000 / messages}


def one(name: str, place: Path, messages: int, per_connection: int) -> dict[str, float]:
    place.mkdir(mode=0o755)
    if name == "qmail":
        return qmail(place, messages, per_connection)
    before = cpu_s()
    with (standin if name == "standin" else aiosmtpd)(place) as (port, home):
        rates = measure(port, home, messages, per_connection)
    return {**rates, "cpu_ms": (cpu_s() - before) * 1000 / messages}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--per-connection", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="qmail,standin,aiosmtpd")
    parser.add_argument("--serve-aiosmtpd", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--in-namespace", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve_aiosmtpd:
        serve_aiosmtpd(options.serve_aiosmtpd)
        return
    if options.in_namespace:
        json.dump(qmail_here(options.messages, options.per_connection), sys.stdout)
        return
    best: dict[str, dict[str, float]] = {}
    names = [name for name in options.only.split(",") if name != "qmail" or (QMAIL / "bin/qmail-smtpd").exists()]
    for number, name in itertools.product(range(options.rounds), names):
        with tempfile.TemporaryDirectory(prefix="popbox-bench-") as top:
            Path(top).chmod(0o755)
            rates = one(name, Path(top, "run"), options.messages, options.per_connection)
        said = (
            f"accepted {rates['accepted']:6.0f}/s  delivered {rates['delivered']:6.0f}/s  cpu {rates['cpu_ms']:.1f} ms"
        )
        print(f"round {number + 1} {name:9} {said}")
        kept = best.setdefault(name, rates)
        best[name] = {key: (min if key == "cpu_ms" else max)(kept[key], rates[key]) for key in rates}
    for name, rates in best.items():
        for other in best:
            if name == "standin" and other != name:
                ratios = ", ".join(f"{key} {rates[key] / best[other][key]:.2f}" for key in rates)
                print(f"best of {options.rounds}: standin / {other}: {ratios}")


if __name__ == "__main__":
    main()
