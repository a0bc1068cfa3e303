"""A small POP3 server that keeps the rules, and breaks those it is told to break. For tests of the checks only.

``Faults.switches`` change what it does (each name is used in one place), ``Faults.reply`` what it says.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.popbox.conformance.fake_box import Transaction
from tests.popbox.conformance.fake_parts import CAPABILITIES, LOGIN, PASSWORD, Exchange, Fake, Faults, err, listed, ok

from popbox.clients.wire import Address

__all__ = ["LOGIN", "PASSWORD", "Exchange", "Fake", "Faults", "err", "fake", "ok"]


RIGHT = Faults()


@contextmanager
def fake(maildir: Path, faults: Faults = RIGHT, tls: ssl.SSLContext | None = None) -> Iterator[Fake]:
    """Serve until the block ends."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        server = Fake(maildir, faults, Address(*listener.getsockname()), tls)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    server.open.add(connection)
                    if server.has("one-at-a-time"):
                        Talk(server, connection).run()
                    elif server.has("few-connections") and len(server.open) > 8:
                        connection.sendall(err("too many"))
                        connection.close()
                    else:
                        threading.Thread(target=Talk(server, connection).run, daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            for connection in list(server.open):
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class Talk(Transaction):
    """One connection."""

    def __init__(self, server: Fake, connection: socket.socket) -> None:
        self.server, self.socket = server, connection
        self.stamp = f"<{os.getpid()}.{next(server.serials)}@fake>"
        self.user: str | None = None
        self.files: list[Path] = []
        self.sizes: list[int] = []
        self.marked: set[int] = set()
        self.logged_in = self.closing = self.sasl = self.locked = self.secure = False
        self.after: Callable[[], None] | None = None
        self.buffer = b""
        self.errors = 0

    def run(self) -> None:
        """Greet, and answer until QUIT or the end."""
        try:
            with suppress(OSError, UnicodeDecodeError):
                if self.server.has("tls-first"):
                    self._secure()
                self.socket.sendall(self.server.faults.greeting(ok(f"ready {self.stamp}")))
                while not self.closing and (line := self._line()) is not None:
                    self._answer(line)
            if not self.closing and self.logged_in:
                self._lost()
        finally:
            if self.locked:
                time.sleep(3.2 if self.server.has("lock-stays") else 0.3 if self.server.has("lock-lingers") else 0)
                self.server.lock.release()
            self.server.open.discard(self.socket)
            if self.server.has("never-closes"):
                time.sleep(8)
            with suppress(OSError):  # a reset would take the last reply with it
                self.socket.shutdown(socket.SHUT_WR)
            self.socket.close()

    def _line(self) -> bytes | None:
        """The next line; what is too long becomes an unknown command."""
        most = 600 if not self.sasl or self.server.has("short-sasl-lines") else 20_000
        long = False
        while b"\n" not in self.buffer:
            if len(self.buffer) > most and not self.server.has("splits-long-lines"):
                long, self.buffer = True, b""
                if self.server.has("greets-endless-line"):
                    self.socket.sendall(ok("go on"))
            got = self.socket.recv(65536)
            if not got:
                return b"QUIT" if self.server.has("cut-quit") and self.buffer == b"QUIT" else None
            self.buffer += got
            if self.server.has("splits-long-lines"):
                self.buffer = re.sub(rb"[^\n]{5000}(?=[^\n])", lambda found: found[0] + b"\n", self.buffer)
        line, _, self.buffer = self.buffer.partition(b"\n")
        if self.server.has("reads-one-line") and not self.secure:
            self.buffer = b""
        return b"TOO-LONG" if long or len(line) > most else line.removesuffix(b"\r")

    def _answer(self, line: bytes) -> None:
        server, was_in = self.server, self.logged_in
        if self.sasl:
            self.sasl = False
            verb, argument, reply = "SASL", "", self._response(line)
        else:
            text = line.decode("latin-1")
            if server.has("nul-ends-line"):
                text = text.partition("\0")[0]
            verb, _, argument = text.partition(" ")
            verb = verb if server.has("case-matters") else verb.upper()
            reply = self._reply(verb, argument)
        server.heard.append((was_in, verb))
        exchange = Exchange(line, verb, argument, self.logged_in, reply, self)
        self.socket.sendall(server.faults.reply(exchange))
        self.errors += not exchange.ok
        if server.has("falls-silent") and self.errors > 50:
            self.closing = True
            time.sleep(1)
        if self.after is not None:
            after, self.after = self.after, None
            after()

    def _reply(self, verb: str, argument: str) -> bytes:
        """The right reply, and what it does to the session."""
        if (
            verb not in ("USER", "PASS", "STLS", "QUIT")
            and not self.logged_in
            and not self.server.has("user-remembered")
        ):
            self.user = None
        name = f"_{verb.lower()}"
        table = _LATE if self.logged_in else _EARLY
        if self.server.has("any-state") and verb in {*_LATE, *_EARLY}:
            table = {verb}
        if verb not in table:
            return err("not now" if verb in {*_LATE, *_EARLY} else "unknown command")
        if argument and verb in _BARE and not self.server.has("ignores-arguments"):
            return err("no argument here")
        result: bytes = getattr(self, name)(argument)
        return result

    # AUTHORIZATION

    def _user(self, argument: str) -> bytes:
        if not argument:
            return err("a name, please")
        if self.server.has("user-discloses") and argument != LOGIN:
            return err("no such login")
        if self.user is not None and self.server.has("one-user"):
            return err("USER has been said")
        self.user = argument
        return ok("now PASS")

    def _pass(self, argument: str) -> bytes:
        login = self.user
        if not argument:
            return err("a password, please")
        if login is None and not self.server.has("pass-first"):
            return err("USER first")
        self.user = None
        good = login == LOGIN and argument == PASSWORD
        for switch, lenient in LENIENT.items():
            good = good or (self.server.has(switch) and lenient(login or "", argument))
        return self._enter() if good else self._refuse("unknown" if login != LOGIN else "wrong")

    def _refuse(self, why: str) -> bytes:
        self.closing = self.server.has("closes-after-refusal")
        self.after = self._stick if self.server.has("stuck-after-refusal") else None
        return err(f"[AUTH] {why if self.server.has('refusal-discloses') else 'refused'}")

    def _stick(self) -> None:
        self._enter = lambda: err("not any more")  # type: ignore[method-assign]

    def _enter(self) -> bytes:
        if not self.server.has("no-lock"):
            self.locked = self.server.lock.acquire(blocking=False)
            if not self.locked:
                return err("busy" if self.server.has("no-in-use-code") else "[IN-USE] busy")
        self.logged_in = True
        if self.server.has("kicks-first") and self.server.current is not None:
            self.server.current.files = []
        self.server.current = self
        self.files = [f for f in self.server.scan() if not self.server.has("hides-new") or f.stat().st_mtime < 1e9]
        self.sizes = [self._size(f) for f in self.files]
        return ok("maildrop ready")

    def _apop(self, argument: str) -> bytes:
        login, _, digest = argument.partition(" ")
        right = hashlib.md5((self.stamp + PASSWORD).encode(), usedforsecurity=False).hexdigest()
        if digest == right and login == LOGIN and not self.server.has("apop-refused"):
            return self._enter()
        return self._enter() if self.server.has("apop-any") else self._refuse("wrong")

    def _auth(self, argument: str) -> bytes:
        mechanism, _, initial = argument.partition(" ")
        if (mechanism if self.server.has("mechanism-case") else mechanism.upper()) != "PLAIN":
            return err("no such mechanism")
        if initial:
            return self._response(b"" if initial == "=" else initial.encode())
        self.sasl = True
        return b"+ \r\n"

    def _response(self, line: bytes) -> bytes:
        if line == b"*":
            return err("cancelled")
        with suppress(ValueError):
            parts = base64.b64decode(line, validate=True).decode().split("\0")
            authzid, login, password = parts
            if (login, password) == (LOGIN, PASSWORD) and authzid in ("", LOGIN):
                return self._enter()
        return self._enter() if self.server.has("auth-any") else self._refuse("wrong")

    def _stls(self, _: str) -> bytes:
        if self.server.tls is None or (self.secure and not self.server.has("stls-twice")):
            return err("no TLS")
        self.after = self._secure
        return ok("begin")

    def _secure(self) -> None:
        kept = self.buffer if self.server.has("stls-injection") else b""
        if self.server.has("stls-fails") or self.server.tls is None:
            self.closing = True
            return
        self.socket = self.server.tls.wrap_socket(self.socket, server_side=True)
        self.buffer, self.secure = kept, True
        self.user = self.user if self.server.has("stls-remembers") else None

    def _capa(self, _: str) -> bytes:
        words = CAPABILITIES.split("|")
        now = not self.secure and (not self.logged_in or self.server.has("stls-after-login"))
        return listed("", [*words, "STLS"] if self.server.tls and now else words)

    def _utf8(self, _: str) -> bytes:
        return ok("UTF8")

    def _lang(self, argument: str) -> bytes:
        if not argument:
            return listed("", ["en English", "i-default Default"])
        return ok("en English") if argument in ("*", "en") else err("not that one")


LENIENT: dict[str, Callable[[str, str], bool]] = {
    "any-password": lambda login, _: login == LOGIN,
    "any-login": lambda _, password: password == PASSWORD,
    "password-case": lambda login, password: login == LOGIN and password.lower() == PASSWORD.lower(),
    "login-case": lambda login, password: login.lower() == LOGIN and password == PASSWORD,
    "password-prefix": lambda login, password: login == LOGIN and password[:4] == PASSWORD[:4],
    "password-tail": lambda login, password: login == LOGIN and password.startswith(PASSWORD),
    "password-trim": lambda login, password: login == LOGIN and password.strip() == PASSWORD,
    "login-trim": lambda login, password: login.strip() == LOGIN and password == PASSWORD,
}
_BARE = {"STAT", "NOOP", "RSET", "QUIT", "CAPA", "STLS"}
_EARLY = {"USER", "PASS", "APOP", "AUTH", "STLS", "CAPA", "QUIT", "UTF8", "LANG"}
_LATE = {"STAT", "LIST", "UIDL", "RETR", "TOP", "DELE", "RSET", "NOOP", "QUIT", "CAPA", "LANG"}
