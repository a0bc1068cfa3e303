"""A box on disk, the server as a program, and a lock-step client: what the tests of the POP3 side share."""

from __future__ import annotations

import array
import contextlib
import fcntl
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.places import in_memory

HOWTO_HASH = "DmIMm9e5Hc8ic"  # the HOWTO's: the password is testpw
OLD_S = 100
ROOM_OCTETS = 1 << 30  # a box of some tests has 50 MB, and several of them run at once
WITHIN_S = 60.0  # for what is no subject of a test; of a machine many times slower than ours
TRIES = 3  # of what must be quick: a machine is busy now and then, a fault is there each time
PROGRAM = ["-m", "mailhost"]
SEEN = """
import mailhost.pop3.server.hardening as own
own._PR_SET_DUMPABLE = own._PR_SET_NO_NEW_PRIVS
from mailhost.cli import main
main(prog_name="mailhost")
"""
"""The same, but a plain user may look at its descriptors in /proc: the real one is closed to all but root."""


def owner() -> tuple[int, int]:
    """Who the boxes belong to: popuser where the tests run as root, else the caller."""
    if os.geteuid():
        return os.getuid(), os.getgid()
    try:
        entry = pwd.getpwnam("popuser")
    except KeyError:
        return 888, 888
    return entry.pw_uid, entry.pw_gid


class Box:
    """A qmail home with one login, ``testid`` / ``testpw``, below a directory that popuser can search."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.box = home / "popboxes" / "domain-com" / "joe"
        self.maildir = self.box / "Maildir"
        home.chmod(0o755)
        for name in ("new", "cur", "tmp"):
            (self.maildir / name).mkdir(parents=True)
        (home / "control").mkdir()
        (home / "control" / "me").write_text("mx.example.net\n")
        (home / "users").mkdir()
        self.passwords({"testid": HOWTO_HASH})
        for path in (self.box, self.maildir, *self.maildir.iterdir()):
            os.chown(path, *owner())

    def passwords(self, hashes: dict[str, str]) -> None:
        """Write users/poppasswd, 0600, as a new file: logins to this one box."""
        path = self.home / "users" / "poppasswd"
        fresh = path.with_suffix(".new")
        fresh.write_text("".join(f"{login}:{stored}:popuser:{self.box}\n" for login, stored in hashes.items()))
        fresh.chmod(0o600)
        fresh.rename(path)

    def put(self, name: str, text: bytes, age_s: float = OLD_S, folder: str = "new") -> Path:
        """A message of that age, owned as qmail would."""
        path = self.maildir / folder / name
        path.write_bytes(text)
        os.chown(path, *owner())
        stamp = time.time() - age_s
        os.utime(path, (stamp, stamp))
        return path

    def settle(self, age_s: float = 50) -> float:
        """Age the directories, so that a scan at the time given back may keep its listing: a ctime cannot be put back.

        Their mtimes are old from now on, so that any later change is seen although that time is made up.
        """
        stamp = time.time() - age_s
        for name in ("new", "cur"):
            os.utime(self.maildir / name, (stamp, stamp))
        return stamp + 2 * age_s

    def files(self) -> list[str]:
        """All files of new/ and cur/, sorted."""
        return sorted(f"{d}/{n.name}" for d in ("new", "cur") for n in (self.maildir / d).iterdir())


class Running:
    """``mailhost serve pop3`` as a child process."""

    def __init__(self, home: Path, *arguments: str, descriptors: int = 0) -> None:
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop
        command = [sys.executable, *PROGRAM, "--home", str(home), "serve", "pop3", *arguments]
        if not any(word.startswith("--listen") for word in arguments):
            command += ["--listen", "127.0.0.1:0"]
        if "--workers" not in arguments:
            command += ["--workers", "1"]  # what a test sees of one process it can name
        if descriptors:
            command = ["sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh", *command]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.errors)
        self.ports: dict[str, int] = {}
        wanted = 1 + sum(word in ("--tls-listen", "--metrics") for word in command)
        assert self.process.stdout is not None
        for _ in range(wanted):
            line = self.process.stdout.readline().decode()
            assert line.startswith("listening "), f"the server did not start: {line!r} {self.log()}"
            _, name, address = line.split()
            self.ports[name] = int(address.rpartition(":")[2])

    def log(self) -> str:
        """All it has said on stderr; read without a move of the offset, which is its own as well."""
        return os.pread(self.errors.fileno(), os.fstat(self.errors.fileno()).st_size, 0).decode()

    def client(self, timeout_s: float = WITHIN_S) -> Client:
        """A new connection, banner read."""
        return Client(self.ports["pop3"], timeout_s)

    def stop(self) -> int:
        """TERM, wait, exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(WITHIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        return code


class Client:
    """Lock-step: one command, one reply, a deadline on every read."""

    def __init__(
        self, port: int, timeout_s: float = WITHIN_S, sock: socket.socket | None = None, greet: bool = True
    ) -> None:
        self.sock = sock or socket.create_connection(("127.0.0.1", port), timeout_s)
        self.sock.settimeout(timeout_s)
        self._rest = b""
        self.banner = self.line() if greet else b""

    def line(self) -> bytes:
        """One line with its end; short or empty at the end of the stream."""
        while b"\n" not in self._rest:
            data = self.sock.recv(65536)
            if not data:
                line, self._rest = self._rest, b""
                return line
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line + b"\n"

    def send(self, data: bytes) -> None:
        """Octets as they are."""
        self.sock.sendall(data)

    def ask(self, command: bytes) -> bytes:
        """A command and the first line of its reply."""
        self.send(command + b"\r\n")
        return self.line()

    def lines(self, command: bytes) -> bytes:
        """A command and its multi-line reply, status line left out, terminator kept."""
        status = self.ask(command)
        assert status.startswith(b"+OK"), status
        return self.rest()

    def rest(self) -> bytes:
        """Up to and with the terminating dot."""
        collected = b""
        while (line := self.line()) != b".\r\n":
            assert line, "the connection ended inside a reply"
            collected += line
        return collected + b".\r\n"

    def login(self, login: bytes = b"testid", password: bytes = b"testpw") -> bytes:
        """USER and PASS; the answer to PASS."""
        assert self.ask(b"USER " + login).startswith(b"+OK")
        return self.ask(b"PASS " + password)

    def end(self) -> bytes:
        """What comes until the other side closes."""
        collected, self._rest = [self._rest], b""
        while data := self.sock.recv(1 << 20):
            collected.append(data)
        return b"".join(collected)

    def close(self) -> None:
        """Hang up."""
        self.sock.close()


def eventually(check: Callable[[], bool], seconds: float = WITHIN_S) -> bool:
    """Whether ``check`` becomes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if check():
            return True
        time.sleep(0.02)
    return check()


def full(client: Client) -> bool:
    """Whether the server has written as much as it can to a client that does not read: what waits grows no more."""
    waiting = [-2, -1]

    def stands() -> bool:
        count = array.array("i", [0])
        fcntl.ioctl(client.sock, termios.FIONREAD, count)
        waiting.append(count[0])
        return 0 < waiting[-1] == waiting[-2] == waiting[-3]

    return eventually(stands)


def http(server: Running, path: str) -> bytes:
    """All that the metrics port answers to a GET."""
    with socket.create_connection(("127.0.0.1", server.ports["metrics"]), WITHIN_S) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        data = b""
        while piece := sock.recv(65536):
            data += piece
    return data


def worker_pids(server: Running) -> set[int]:
    """The children of the parent that have threads: the workers, and not root's helper."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    return {int(pid) for pid in children if _threads(pid) > 1}


def _threads(pid: str) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/task"))
    except FileNotFoundError:
        return 0


@contextlib.contextmanager
def paused(pid: int) -> Iterator[None]:
    """While one worker stands still the other takes every connection."""
    os.kill(pid, signal.SIGSTOP)
    try:
        assert eventually(lambda: ") T " in Path(f"/proc/{pid}/stat").read_text())
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def session_pids(server: Running) -> set[int]:
    """The workers that have served a session, from the session ids in the log."""
    lines = [json.loads(line) for line in server.log().splitlines() if '"session"' in line]
    return {int(line["id"][1:].split(".")[0][:-6]) for line in lines}


def memory_kib(pid: int) -> int:
    """Resident memory now."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith("VmRSS")).split()[1])


def refused(server: Running) -> bool:
    """Whether the port is closed now."""
    try:
        socket.create_connection(("127.0.0.1", server.ports["pop3"]), WITHIN_S).close()
    except ConnectionRefusedError:
        return True
    return False


def new_home() -> Path:
    """A directory that popuser can search (pytest's own are the caller's alone), in memory where there is room."""
    return Path(tempfile.mkdtemp(prefix="popbox-pop3-", dir=in_memory(ROOM_OCTETS, programs=True)))


def remove(home: Path) -> None:
    """Take it away again."""
    shutil.rmtree(home, ignore_errors=True)
