"""The servers of the bench: how each is configured and started on one port over the same boxes and passwords."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

UNPACKED = Path(os.environ.get("POPBOX_POP3_PEERS", "/opt/popbox-pop3-peers"))
CLOCK = os.sysconf("SC_CLK_TCK")

DOVECOT = """\
base_dir = {run}/base
state_dir = {run}/state
log_path = {run}/log
protocols = pop3
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
mail_location = maildir:~/Maildir
first_valid_uid = 1
mail_max_userip_connections = 5000
auth_cache_size = {cache}
passdb {{
  driver = passwd-file
  args = scheme=CRYPT {run}/passwd
}}
userdb {{
  driver = passwd-file
  args = {run}/passwd
}}
service anvil {{
  client_limit = 6000
}}
service auth {{
  client_limit = 6000
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {port}
  }}
  inet_listener pop3s {{
    port = 0
  }}
  process_limit = 3000
  {login}
}}
service pop3 {{
  process_limit = 3000
  {pop3}
}}
"""
BEST_LOGIN = "service_count = 0\n  process_min_avail = 2\n  client_limit = 3000"
BEST_POP3 = "service_count = 1000\n  process_min_avail = 16"


@dataclass
class Peer:
    """One server: ``command`` runs it in the foreground; ``helpers`` beside it count as its CPU."""

    name: str
    port: int
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    helpers: list[list[str]] = field(default_factory=list)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> None:
        """Start, and wait until the port takes connections.

        Raises:
            SystemExit: it does not, in 30 s, or another program does.
        """
        environment = {**os.environ, **self.environment}
        for command in [*self.helpers, self.command]:
            self.processes.append(
                subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            )
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                if time.monotonic() > deadline:
                    raise SystemExit(f"{self.name}: nothing listens on port {self.port}") from None
                time.sleep(0.05)
            else:
                break
        time.sleep(0.5)  # workers that are started beforehand; the session above
        if any(process.poll() is not None for process in self.processes):
            raise SystemExit(f"{self.name}: has ended; is port {self.port} another's?")

    def stop(self) -> None:
        """End it and its helpers."""
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()

    def restart(self) -> None:
        """Stop and start: what it has learned and not written down is gone."""
        time.sleep(0.5)  # popbox and courier write after they have answered
        self.stop()
        self.start()

    def pids(self) -> list[int]:
        """All its processes now."""
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                except OSError:
                    continue
                children.setdefault(parent, []).append(int(entry.name))
        found = [process.pid for process in self.processes]
        for pid in found:
            found += children.get(pid, [])
        return found

    def cpu_s(self) -> float:
        """CPU of all its processes: to the nanosecond, of those that have ended and been waited for in clock ticks."""
        total = 0.0
        for pid in self.pids():
            try:
                ended = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[13:15]
                tasks = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/schedstat")]
            except OSError:
                continue
            total += sum(map(int, ended)) / CLOCK + sum(int(text.split()[0]) for text in tasks) / 1e9
        return total

    def pss_mib(self) -> float:
        """Memory, shared pages divided among those who share them."""
        total = 0
        for pid in self.pids():
            try:
                text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:
                continue
            total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
        return total / 1024


def popbox(home: Path, port: int, name: str = "popbox", *more: str) -> Peer:
    """Ours, with one worker unless ``more`` arguments say otherwise."""
    serve = ["serve", "pop3", "--listen", f"127.0.0.1:{port}", "--max-per-address", "5000", "--workers", "1", *more]
    return Peer(name, port, [sys.executable, "-m", "mailhost", "--home", str(home), *serve])


def floor(home: Path, port: int, mode: str, messages: int, octets: int, *more: str) -> Peer:
    """Canned answers on popbox's loop: what no server on it can go below; with ``--files`` as ``floor-files``."""
    command = [sys.executable, "-m", "tests.bench.pop3.floor", home, port, mode, messages, octets, *more]
    environment = {"PYTHONPATH": str(Path(__file__).parents[3])}
    return Peer("floor-files" if more else "floor", port, [str(part) for part in command], environment)


def dovecot(home: Path, port: int, run: Path, *, best: bool) -> Peer | None:
    """Debian's Dovecot, as it comes or in its high-performance login mode with processes that serve many sessions."""
    program = shutil.which("dovecot")
    if program is None:
        return None
    for name in ("base", "state"):
        (run / name).mkdir(parents=True)
    rows = [line.split(":") for line in (home / "users" / "poppasswd").read_text().splitlines()]
    (run / "passwd").write_text("".join(f"{login}:{stored}:888:888::{box}::\n" for login, stored, _, box in rows))
    text = DOVECOT.format(
        run=run,
        port=port,
        cache="10M" if best else "0",
        login=BEST_LOGIN if best else "",
        pop3=BEST_POP3 if best else "",
    )
    (run / "dovecot.conf").write_text(text)
    return Peer("dovecot-best" if best else "dovecot", port, [program, "-F", "-c", str(run / "dovecot.conf")])


def tcpserver(port: int, *command: str) -> list[str]:
    """One process a connection, as these servers are run."""
    return ["tcpserver", "-H", "-R", "-l0", "-c", "3000", "-b", "1000", "127.0.0.1", str(port), *command]


def qmail(home: Path, port: int, checkpw: Path) -> Peer | None:
    """qmail-popup, a small checkpassword in C, qmail-pop3d."""
    if not shutil.which("tcpserver") or not Path("/var/qmail/bin/qmail-pop3d").exists():
        return None
    chain = [str(checkpw), str(home / "users" / "poppasswd"), "/var/qmail/bin/qmail-pop3d", "Maildir"]
    return Peer("qmail-pop3d", port, tcpserver(port, "/var/qmail/bin/qmail-popup", "mx", *chain))


def courier(home: Path, port: int, checkpw: Path) -> Peer | None:
    """courierpop3d behind qmail-popup, since its own login program needs a daemon with fixed paths.

    courier-pop cannot be installed beside Dovecot: the program is looked for in packages unpacked with ``dpkg -x``.
    """
    program = UNPACKED / "usr/lib/courier/courier/courierpop3d"
    if not program.exists() or not shutil.which("tcpserver") or not Path("/var/qmail/bin/qmail-popup").exists():
        return None
    chain = [str(checkpw), str(home / "users" / "poppasswd"), str(program), "Maildir"]
    libraries = [UNPACKED / part for part in ("usr/lib", "usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu")]
    environment = {"LD_LIBRARY_PATH": ":".join(map(str, libraries)), "AUTHENTICATED": "x"}
    return Peer("courier", port, tcpserver(port, "/var/qmail/bin/qmail-popup", "mx", *chain), environment)


def mailfront(home: Path, port: int, run: Path) -> Peer | None:
    """mailfront's POP3 with a credential daemon of the cvm package."""
    front, cvm = shutil.which("pop3front-auth"), shutil.which("cvm-pwfile")
    if front is None or cvm is None or not shutil.which("tcpserver"):
        return None
    run.mkdir(parents=True)
    rows = [line.split(":") for line in (home / "users" / "poppasswd").read_text().splitlines()]
    (run / "passwd").write_text("".join(f"{login}:{stored}:888:888::{box}:/bin/sh\n" for login, stored, _, box in rows))
    socket = f"cvm-local:{run}/socket"
    environment = {"CVM_PWFILE_PATH": str(run / "passwd"), "CVM_PWFILE_PWCMP": "crypt"}
    command = tcpserver(port, front, socket, "pop3front-maildir", "Maildir")
    return Peer("mailfront", port, command, environment, [[cvm, socket]])
