"""What is measured at each size: CPU ms of commands, or of a server for one session."""

from __future__ import annotations

import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.bench.check.works import cpu_of
from tests.bench.pop3.peers import Peer
from tests.bench.pop3.run import HASH, Work, forget, load, make_boxes

PORT = 21_170
SESSIONS = 200
AGAIN = 50
COMMANDS = {
    "UIDL": b"UIDL",
    "LIST of one": b"LIST #",
    "UIDL of one": b"UIDL #",
    "TOP": b"TOP # 0",
    "RETR": b"RETR #",
    "DELE": b"DELE #",
    "STAT": b"STAT",
    "NOOP": b"NOOP",
}
MAILHOST = [sys.executable, "-m", "mailhost", "--home"]


def command(home: Path, *argv: object) -> float:
    """CPU ms of a mailhost command."""
    return cpu_of([*MAILHOST, *map(str, (home, *argv))]) * 1000


@contextmanager
def emptied(path: Path) -> Iterator[Path]:
    """A folder that is removed, with what was made in it."""
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def server(home: Path, *argv: str) -> Iterator[Peer]:
    """``mailhost serve`` on `PORT`."""
    peer = Peer("popbox", PORT, [*MAILHOST, str(home), "serve", *argv, "--listen", f"127.0.0.1:{PORT}"])
    try:
        peer.start()
        yield peer
    finally:
        peer.stop()


def spent(peer: Peer, work: Callable[[], object], times: int = 1) -> float:
    """CPU ms of a server for one of ``times``."""
    before = peer.cpu_s()
    work()
    time.sleep(0.3)
    return (peer.cpu_s() - before) * 1000 / times


def mailboxes(folder: Path, size: int) -> dict[str, float]:
    """Accounts declared in one file, 100 mailboxes a domain, and what works over all of them."""
    with emptied(folder / "qmail") as home:
        file = folder / "accounts.toml"
        boxes = (
            f'[domains."d{n // 100}.example".mailboxes.u{n}]\nlogin = "u{n}"\ncrypt = "{HASH}"\n' for n in range(size)
        )
        file.write_text("".join(boxes))
        command(home, "init", "--me", "mx.example")
        cost = {"apply": command(home, "apply", file), "apply again": command(home, "apply", file)}
        cost["lint"] = command(home, "lint")
        last = f"u{size - 1}@d{(size - 1) // 100}.example"
        cost["explain of one address"] = command(home, "explain", last)
        cost["one more mailbox"] = command(home, "mailbox", "add", "new@d0.example", "--crypt", HASH)
        return cost


def rows(folder: Path, size: int) -> dict[str, float]:
    """Logins of 100 users among many rows, in no order, as an editor leaves them."""
    with emptied(folder / "boxes") as home:
        work = Work("", "stat", 100, 1, 600, 16, SESSIONS * 16, "")
        octets = make_boxes(home, work)
        with (home / "users/poppasswd").open("a") as file:
            file.writelines(f"x{n}:{HASH}:popuser:{home}/box/u0000\n" for n in range(size - 100))
        with server(home, "pop3", "--workers", "1", "--max-per-address", "5000") as peer:
            load(folder / "load", peer, work, octets, 100)
            each = spent(peer, lambda: load(folder / "load", peer, work, octets, work.sessions), work.sessions)
            return {"login, STAT, QUIT": each, "memory of the server, MB": peer.pss_mib()}


def messages(folder: Path, size: int) -> dict[str, float]:
    """One box: its first listing, its listing after a restart, and a warm one."""
    with emptied(folder / "boxes") as home:
        work = Work("", "list", 1, size, 600, 1, 1, "")
        octets = make_boxes(home, work)
        forget(home)
        cost = {}
        with server(home, "pop3", "--workers", "1", "--max-per-address", "5000") as peer:

            def listing(sessions: int) -> Callable[[], object]:
                return lambda: load(folder / "load", peer, work, octets, sessions)

            cost["LIST, first ever"] = spent(peer, listing(1))
            cost["LIST, warm"] = spent(peer, listing(10), 10)
            peer.restart()
            cost["STAT, after a restart"] = spent(peer, lambda: say(b"STAT"))
            cost["DELE of one, QUIT"] = spent(peer, lambda: say(b"DELE 1"))
            cost["STAT, with one gone"] = spent(peer, lambda: say(b"STAT"))
            for name, line in COMMANDS.items():
                cost[f"{name}, warm"] = spent(peer, partial(warm, line, size), AGAIN)
        return cost


def warm(line: bytes, size: int) -> None:
    """A session that says a command `AGAIN` times, of messages all over the box where it takes a number."""
    numbers = [1 + at * (size - 2) // AGAIN for at in range(AGAIN)]
    say(*(line.replace(b"#", b"%d" % number) for number in numbers), b"RSET")


def logged_in(user: bytes) -> socket.socket:
    """A session that goes on."""
    client = socket.create_connection(("127.0.0.1", PORT), 60)
    for line in (b"", b"USER %b\r\n" % user, b"PASS testpw\r\n"):
        client.sendall(line)
        reply = client.recv(200)
        if not reply.startswith(b"+OK"):
            raise SystemExit(f"growth: {line!r} was answered with {reply!r}")
    return client


def say(*commands: bytes) -> None:
    """A session of the first user; each reply is +OK, and read to its end."""
    with socket.create_connection(("127.0.0.1", PORT), 60) as client, client.makefile("rwb") as lines:
        for line in (b"", b"USER u0000", b"PASS testpw", *commands, b"QUIT"):
            if line:
                lines.write(line + b"\r\n")
                lines.flush()
            reply = lines.readline()
            if not reply.startswith(b"+OK"):
                raise SystemExit(f"growth: {line!r} was answered with {reply!r}")
            if line in (b"LIST", b"UIDL") or line[:4] in (b"RETR", b"TOP "):
                while lines.readline() != b".\r\n":
                    pass


def idle(folder: Path, size: int) -> dict[str, float]:
    """Sessions that are logged in, each in a box of its own, and say nothing. A session has two descriptors open."""
    with emptied(folder / "boxes") as home:
        make_boxes(home, Work("", "hold", size + 1, 1, 600, size, size, ""))
        more = ("--max-connections", str(size + 100), "--max-per-address", str(size + 100))
        with server(home, "pop3", "--workers", "2", *more) as peer:
            before = peer.pss_mib()
            clients = [logged_in(b"u%04d" % number) for number in range(1, size + 1)]
            cost = {"memory of the server, MB more": peer.pss_mib() - before}
            before_s = peer.cpu_s()
            time.sleep(5)
            cost["CPU of idling, ms a second"] = (peer.cpu_s() - before_s) * 1000 / 5
            cost["another session beside them"] = spent(peer, lambda: [say(b"STAT") for _ in range(20)], 20)
            for client in clients:
                client.close()
            return cost


def domains(folder: Path, size: int) -> dict[str, float]:
    """RCPT for the last of many domains (above 50 in morercpthosts.cdb), at the stand-in."""
    with emptied(folder / "qmail") as home:
        file = folder / "accounts.toml"
        one = f'.mailboxes.joe]\nlogin = "u%d"\ncrypt = "{HASH}"\n'
        file.write_text("".join(f'[domains."d{n}.example"' + one % n for n in range(size)))
        command(home, "init", "--me", "mx.example")
        cost = {"apply": command(home, "apply", file)}
        with server(home, "standin") as peer:
            recipient = b"RCPT TO:<joe@d%d.example>\r\n" % (size - 1)
            cost["RCPT"] = spent(peer, lambda: recipients(recipient, 1_000), 1_000)
        return cost


def recipients(line: bytes, times: int) -> None:
    """One SMTP session with as many recipients as are accepted in it."""
    with socket.create_connection(("127.0.0.1", PORT), 60) as client, client.makefile("rwb") as lines:
        lines.readline()
        for said in (b"HELO x\r\n", b"MAIL FROM:<>\r\n", *[line] * times, b"QUIT\r\n"):
            lines.write(said)
            lines.flush()
            reply = lines.readline()
            if reply[:1] != b"2":
                raise SystemExit(f"growth: {said!r} was answered with {reply!r}")
