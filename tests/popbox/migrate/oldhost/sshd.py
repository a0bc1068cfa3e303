"""A real sshd on loopback with keys, configuration and port of its own; and a cable to it that can be cut."""

from __future__ import annotations

import contextlib
import os
import pwd
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.needs import program
from tests.ports import free_port

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"
WITHIN_S = 60.0
CONFIG = """\
ListenAddress 127.0.0.1:{port}
HostKey {place}/host
AuthorizedKeysFile {place}/user.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
# Quick, and not through the rc file of who runs the tests, which bash reads for sshd.
KexAlgorithms curve25519-sha256
SetEnv HOME={place}
"""
CLIENT = """\
Host old.example.net
    HostName 127.0.0.1
    Port {port}
    User {user}
    IdentityFile {place}/user
    IdentitiesOnly yes
    HostKeyAlias old.example.net
    UserKnownHostsFile {place}/known_hosts
    GlobalKnownHostsFile /dev/null
"""


class OldHost:
    """Keys, the client's configuration, and what ssh knows of the host; ``port`` is where its client goes."""

    def __init__(self, place: Path, port: int) -> None:
        self.place, self.port, self.to = place, port, port
        for name in ("host", "user", "other"):
            keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place / name)]
            subprocess.run(keygen, check=True, timeout=WITHIN_S)
        self.known("host")
        self.dial(port)

    def known(self, key: str | None) -> None:
        """Let the client know the old host by this key, or not at all."""
        line = "" if key is None else "old.example.net " + (self.place / f"{key}.pub").read_text()
        (self.place / "known_hosts").write_text(line)

    def dial(self, port: int) -> None:
        """Have the client connect there."""
        user = pwd.getpwuid(os.geteuid()).pw_name
        (self.place / "config").write_text(CLIENT.format(port=port, user=user, place=self.place))

    def command(self) -> str:
        """A program named ssh that is the real one with this configuration in the place of the user's own."""
        return f'#!/bin/sh\nexec {program("ssh")} -F {self.place}/config "$@"\n'


@contextlib.contextmanager
def running(place: Path) -> Iterator[OldHost]:
    """sshd, from its first greeting until it is ended by its process id; its log is ``place``/log."""
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd's empty directory, which only a service's start makes
    host = OldHost(place, free_port())
    child = _start(host)
    try:
        yield host
    finally:
        child.terminate()
        child.wait(WITHIN_S)


def _start(host: OldHost) -> subprocess.Popen[bytes]:
    """Start it; once more on another port where another program took this one."""
    deadline = time.monotonic() + WITHIN_S
    sshd = program("sshd")
    while True:
        (host.place / "sshd_config").write_text(CONFIG.format(port=host.port, place=host.place))
        with (host.place / "log").open("wb") as log:
            child = subprocess.Popen([sshd, "-D", "-e", "-f", str(host.place / "sshd_config")], stderr=log)
        while child.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", host.port), WITHIN_S) as peer:
                if peer.recv(8).startswith(b"SSH-2.0"):
                    return child
            time.sleep(0.02)
        said = (host.place / "log").read_text()
        if "Address already in use" not in said or time.monotonic() > deadline:
            child.kill()
            child.wait(WITHIN_S)
            raise AssertionError(f"sshd does not start: {said}")
        host.port = free_port()
        host.dial(host.port)


class Cable:
    """A way to a port on loopback that is cut when so many octets have come back by it, in all its connections."""

    def __init__(self, port: int, octets: int) -> None:
        self._to, self._left = port, octets
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.cut = threading.Event()
        self._begin(self._accept)

    def _begin(self, work: object, *args: object) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near = self._listener.accept()[0]
                far = socket.create_connection(("127.0.0.1", self._to))
                self._open += [near, far]
                self._begin(self._carry, near, far, False)
                self._begin(self._carry, far, near, True)

    def _carry(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while octets := source.recv(4096):
                with self._lock:
                    if counted:
                        octets = octets[: self._left]
                        self._left -= len(octets)
                    over = self._left == 0
                target.sendall(octets)
                if over:
                    self.cut.set()
                    break
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Take it away."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        for thread in self._threads:
            thread.join(WITHIN_S)
