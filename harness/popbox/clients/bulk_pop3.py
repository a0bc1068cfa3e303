"""A POP3 client for bulk reading: lock-step, a deadline on every read, replies streamed, nothing logged.

``clients/pop3.py`` keeps each line for the transcript of a scenario. This one reads thousands of boxes, with messages
of any size, and keeps nothing: memory is one receive buffer.
"""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections.abc import Iterator, Sequence
from typing import Self

from popbox.clients.listing import Rows, rows
from popbox.clients.pop3 import Pop3Refused
from popbox.clients.secret import MASK
from popbox.clients.wire import Address, connected, readable
from popbox.errors import ConnectionFailed, PopboxError, StepTimeout

RECEIVE_OCTETS = 65_536  # more would come from mmap(2) each time, and go back
WHOLE_OCTETS = 65_536  # our choice: a larger message comes in pieces; each receive copies what is there
LINE_OCTETS = 65_536  # our choice: RFC 2449 §4 allows 512 for a status line
LISTING_OCTETS = 1 << 28  # our choice: 256 MiB is UIDL for some three million messages
_ENDS_WORD = ("", " ", "\t")
Retrieved = tuple[bytes] | Iterator[bytes] | Pop3Refused
_USUAL = (b"+OK ", b"+OK\r\n")
SLOWEST_OCTETS_S = 1024  # our choice: a reply slower than this, after the timeout, is stuck


class Garbled(PopboxError):
    """The server sent something that is not a reply (RFC 1939 §3); the session is unusable from then on."""


class BulkPop3:
    """One connection. Methods raise Pop3Refused, Garbled, StepTimeout or ConnectionFailed."""

    def __init__(self, address: Address, timeout_s: float = 30.0, tls: ssl.SSLContext | None = None, name: str = ""):
        """Connect, with ``tls`` shake hands at once, and read the greeting. ``name`` is the one in the certificate."""
        self.address, self.timeout_s, self.name = address, timeout_s, name or address.host
        self._buffer, self._at = b"", 0  # what was received, and how far it has been read
        self._secret = ""
        self.odd: list[str] = []  # replies that not every client reads, in words, each once
        self._socket = connected(address, timeout_s)
        try:
            self._let_the_kernel_wait()
            if tls is not None:
                self._handshake(tls)
            self.greeting = self._status("the greeting")
        except BaseException:
            self.drop()
            raise

    def __enter__(self) -> Self:
        """Return the session itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Drop the connection."""
        self.drop()

    def drop(self) -> None:
        """Close without QUIT: no UPDATE state, so nothing is deleted, renamed or flagged (RFC 1939 §6)."""
        self._socket.close()

    def stls(self, context: ssl.SSLContext) -> None:
        """STLS and the handshake (RFC 2595 §4).

        Raises:
            Garbled: octets came in the clear behind the reply.
        """
        self.command("STLS")
        if self.left:
            raise Garbled(f"{self.address} sent octets in the clear behind its reply to STLS")
        self._handshake(context)

    def _let_the_kernel_wait(self) -> None:
        """Python's own timeout asks poll(2) before each call, which doubles the calls for each message."""
        self._socket.settimeout(None)
        whole_s = int(self.timeout_s)
        limit = struct.pack("@ll", whole_s, max(int((self.timeout_s - whole_s) * 1_000_000), 0 if whole_s else 1))
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self._socket.setsockopt(socket.SOL_SOCKET, option, limit)

    def _handshake(self, context: ssl.SSLContext) -> None:
        self._socket.settimeout(self.timeout_s)  # TLS cannot tell the kernel's timeout from other trouble
        try:
            self._socket = context.wrap_socket(self._socket, server_hostname=self.name)
        except (OSError, ValueError) as error:
            raise ConnectionFailed(f"no TLS with {self.address} as {self.name}: {error}") from error

    def login(self, login: str, password: str) -> None:
        """USER and PASS. Where the server repeats the password, errors show a mask."""
        self._secret = password
        self.command(f"USER {login}")
        self._send(f"PASS {password}")
        self._status("PASS")

    def command(self, line: str) -> str:
        """Send one line; the text after ``+OK``."""
        self._send(line)
        return self._status(line)

    @property
    def left(self) -> int:
        """Octets that came behind the last reply; none are due where no other command was sent."""
        return len(self._buffer) - self._at

    def capabilities(self) -> list[str]:
        """CAPA (RFC 2449 §5): the words of each line, in capitals."""
        self.command("CAPA")
        return b"".join(self.body("CAPA", LINE_OCTETS)).decode("latin-1").upper().splitlines()

    def listing(self, verb: str) -> Rows:
        """LIST or UIDL: message number and size or unique-id, in the server's order.

        Raises:
            Garbled: a line is none of a listing.
        """
        found, malformed = self.lenient_listing(verb)
        if malformed:
            raise Garbled(f"{self.address} sent {malformed[0][:80]!r} as a line of {verb}")
        return found

    def lenient_listing(self, verb: str) -> tuple[Rows, list[str]]:
        """Do as ``listing``, and give the lines that are none of a listing beside its rows."""
        self.command(verb)
        return rows(b"".join(self.body(verb, LISTING_OCTETS)))

    def retrieve(self, number: int) -> Iterator[bytes]:
        """RETR: pieces of the message as sent, byte-stuffing undone. Read it to its end before the next command."""
        self.command(f"RETR {number}")
        return self.body(f"RETR {number}")

    def retrieve_all(self, numbers: Sequence[int], ahead: int) -> Iterator[Retrieved]:
        """RETR of each, up to ``ahead`` commands sent before their replies are read (RFC 2449 §6.6).

        Each reply is a message in one piece, pieces as those of ``retrieve``, or the refusal; ``ahead`` is 1 where
        PIPELINING is not announced.
        """
        sent = 0
        for place, number in enumerate(numbers):
            if sent <= place:
                sent = min(place + ahead, len(numbers))
                self._send("\r\n".join([f"RETR {one}" for one in numbers[place:sent]]))
            whole = self._whole(number)
            if whole is not None:
                yield (whole,)
                continue
            awaited = f"RETR {number}"
            try:
                self._status(awaited)
            except Pop3Refused as refusal:
                yield refusal
            else:
                yield self.body(awaited)

    def _whole(self, number: int) -> bytes | None:
        """The message of a reply to RETR that has the usual form and is not large.

        None: what has come of it is still there, to be read by ``_status`` and ``body``.
        """
        began, seen = 0.0, 0  # ``seen``: so many octets of the reply hold no end
        while True:
            buffer, at = self._buffer, self._at
            if buffer.startswith(_USUAL, at):
                begin = buffer.find(b"\n", at)
                start = max(begin, at + seen)
                end = buffer.find(b"\n.\r\n", start) if begin >= 0 else -1
                if begin >= 0 and buffer.find(b"\n.\n", start, end + 2 if end >= 0 else len(buffer)) >= 0:
                    return None
                if end >= 0:
                    self._at = end + 4
                    text = buffer[begin + 1 : end + 1]
                    return text if b"\n.." not in text and text[:2] != b".." else _unstuffed(text)
                if self.left > (WHOLE_OCTETS if begin >= 0 else LINE_OCTETS):
                    return None
                seen = max(0, self.left - 3)  # an end may be there in part
            elif self.left:
                return None
            began = began or time.monotonic()
            deadline = began + self.timeout_s + self.left / SLOWEST_OCTETS_S
            awaited = "the rest of" if self.left else "the reply to"
            self._receive(deadline, f"{awaited} RETR {number}", begun=self.left > 0)

    def top(self, number: int) -> Iterator[bytes]:
        """TOP with no line of the body, otherwise as ``retrieve``."""
        self.command(f"TOP {number} 0")
        return self.body(f"TOP {number} 0")

    def body(self, awaited: str, most: int | None = None) -> Iterator[bytes]:
        r"""A multi-line reply up to its dot, in pieces.

        ``\n..`` becomes ``\n.``; a single dot before text is left alone, as Dovecot and courier do not double one that
        is the first octet of a message. At least an LF and what may be the end stay in the buffer.

        Raises:
            Garbled: the reply is longer than ``most`` octets.
        """
        total, first, deadline = 0, 1, time.monotonic() + self.timeout_s
        start = self._at - 1  # the LF of the line before it, so that the first line begins like any other
        while True:
            buffer = self._buffer
            end = buffer.find(b"\n.\r\n", start)
            bare = buffer.find(b"\n.\n", start, end + 2 if end >= 0 else len(buffer))
            if end >= 0 or bare >= 0:
                end, self._at = (bare, bare + 3) if bare >= 0 else (end, end + 4)
                yield buffer[start : end + 1].replace(b"\n..", b"\n.")[first:]
                return
            kept = buffer.rfind(b"\n", max(start, len(buffer) - 3))
            cut = kept if kept >= 0 else len(buffer)
            self._buffer, self._at = buffer[cut:], 0
            if cut > start:
                total += cut - start
                if most is not None and total > most:
                    raise Garbled(f"{self.address} sent more than {most} octets for {awaited}")
                yield buffer[start:cut].replace(b"\n..", b"\n.")[first:]
                first = 0
            start = 0
            self._receive(deadline + total / SLOWEST_OCTETS_S, f"the rest of {awaited}", begun=True)

    def _send(self, line: str) -> None:
        try:
            self._socket.sendall(line.encode("utf-8") + b"\r\n")
        except (TimeoutError, BlockingIOError):
            raise StepTimeout(f"{self.address} to take a command", "nothing", self.timeout_s) from None
        except OSError as error:
            raise ConnectionFailed(f"{self.address} closed the connection while we sent: {error}") from error

    def _status(self, command: str) -> str:
        deadline = time.monotonic() + self.timeout_s
        while (end := self._buffer.find(b"\n", self._at)) < 0:
            if self.left > LINE_OCTETS:
                raise Garbled(f"{self.address} sent a line of more than {LINE_OCTETS} octets for {command}")
            self._receive(deadline, f"the reply to {command}", begun=self.left > 0)
        line, self._at = self._buffer[self._at : end], end + 1
        text = readable(line.rstrip(b"\r"))
        word = text.upper()
        if word.startswith(("+OK", "-ERR")) and not text.startswith(("+OK", "-ERR")):
            self._note_odd(f"begins a reply with {text.split()[0][:4]}, in small letters")
        if word[:3] == "+OK" and text[3:4] in _ENDS_WORD:
            return text[4:]
        shown = text.replace(self._secret, MASK) if self._secret else text
        if word[:4] == "-ERR" and text[4:5] in _ENDS_WORD:
            raise Pop3Refused(command, shown)
        raise Garbled(f"{self.address} said {shown[:80]!r} to {command}")

    def _note_odd(self, said: str) -> None:
        if said not in self.odd:
            self.odd.append(said)

    def _receive(self, deadline: float, awaited: str, begun: bool) -> None:
        """More octets; ``begun`` says that a part of the reply is here already."""
        if time.monotonic() > deadline:
            raise StepTimeout(f"{awaited} from {self.address}", f"{self.left} octets", self.timeout_s)
        try:
            if begun and hasattr(socket, "TCP_QUICKACK"):  # a server that writes in pieces waits 40 ms otherwise
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            octets = self._socket.recv(RECEIVE_OCTETS)
        except (TimeoutError, BlockingIOError):
            seen = f"{self.left} octets of it" if self.left else "nothing"
            raise StepTimeout(f"{awaited} from {self.address}", seen, self.timeout_s) from None
        except OSError as error:
            raise ConnectionFailed(f"{self.address} broke the connection: {error}") from error
        if not octets:
            raise ConnectionFailed(f"{self.address} closed the connection instead of sending {awaited}")
        if self._at > 1:  # the octet before stays: where a multi-line reply begins, it is the LF before it
            self._buffer, self._at = self._buffer[self._at - 1 :], 1
        self._buffer += octets


def _unstuffed(text: bytes) -> bytes:
    """A message in one piece without byte-stuffing (RFC 1939 §3); its first line begins like any other."""
    return (b"\n" + text).replace(b"\n..", b"\n.")[1:]
