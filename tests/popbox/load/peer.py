"""A mail host of many boxes in memory, broken on purpose: what `popbox load` must find. Run it as a program.

``python -m tests.popbox.load.peer SEED SPAN BOXES`` does each of FAULTS once, at a message, session or RETR that the
seed places among the first SPAN; with seed 0 none. It prints its two ports, SMTP and POP3, then ``done`` when it has
done all of them, and ends with its input; then it prints as JSON what it has done: fault -> the verdicts that must be
given, as ``[verdict, token, box]``.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count

DELIVERY = b"Return-Path: <x@y>\r\nDelivered-To: %s\r\n"
TOKEN = b"X-Popbox-Load: "
CUT = 65_536
FAULTS = ("drop", "double", "swap", "cut", "neighbour", "crash", "forget", "other box", "renumber")
Session = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
APART = 4  # so many messages are between two faults


def token_of(octets: bytes) -> str:
    return octets.partition(TOKEN)[2].partition(b"\r\n")[0].decode()


@dataclass
class Message:
    """One in a box. ``read``: a session has had it by RETR; ``deleting``: one has wished to delete it."""

    uidl: str
    octets: bytes
    read: bool = False
    deleting: bool = False

    @property
    def token(self) -> str:
        return token_of(self.octets)


@dataclass
class Box:
    messages: list[Message] = field(default_factory=list)


@dataclass
class Peer:
    """``due`` says at which message each fault is done; it is taken out when it is. No message has two faults."""

    boxes: dict[str, Box]
    due: dict[str, int]
    done: dict[str, list[tuple[str, str, str]]] = field(default_factory=dict)
    taken: int = 0
    held: tuple[str, bytes] | None = None
    numbers: count[int] = field(default_factory=lambda: count(1))
    open: set[asyncio.StreamWriter] = field(default_factory=set)
    touched: set[str] = field(default_factory=set)  # tokens of messages that a fault was done to
    getting: dict[asyncio.StreamWriter, list[tuple[Message, str]]] = field(default_factory=dict)  # RETR, no QUIT yet
    cut: list[tuple[Message, str]] = field(default_factory=list)  # those of sessions that the crash ended

    def hits(self, fault: str) -> bool:
        """Whether it is time for a fault; then it is done now."""
        if self.taken < self.due.get(fault, sys.maxsize):
            return False
        del self.due[fault]
        return True

    def must(self, fault: str, *verdicts: tuple[str, str, str]) -> None:
        self.done.setdefault(fault, []).extend(verdicts)
        self.touched |= {token for _, token, _ in verdicts}

    def accept(self, to: list[str], octets: bytes) -> bool:
        """250 is said; whether the host then crashes."""
        token, crashes = token_of(octets), False
        for one in to:
            self.taken += 1
            if self.hits("crash"):
                crashes = True  # it was in memory alone
                self.must("crash", ("lost", token, one))
            elif self.hits("drop"):
                self.must("drop", ("lost", token, one))
            elif self.held is None and self.hits("swap"):
                self.held = (one, octets)
            else:
                self._deliver(one, octets, token)
        return crashes

    def _deliver(self, to: str, octets: bytes, token: str) -> None:
        if self.held and token != token_of(self.held[1]):
            (box, other), self.held = self.held, None
            (head, body), (others, its) = (one.split(b"\r\n\r\n", 1) for one in (octets, other))
            self.put(box, others + b"\r\n\r\n" + body)
            octets = head + b"\r\n\r\n" + its
            self.must("swap", ("altered", token, to), ("altered", token_of(other), box))
        elif len(octets) > CUT and self.hits("cut"):
            octets = octets[:CUT].rpartition(b"\r\n")[0] + b"\r\n"
            self.must("cut", ("altered", token, to))
        elif self.hits("neighbour"):
            names = sorted(self.boxes)
            own, to = to, names[(names.index(to) + 1) % len(names)]
            self.must("neighbour", ("lost", token, own), ("misdelivered", token, to))
        elif self.hits("double"):
            self.put(to, octets)
            self.must("double", ("doubled", token, to))
        self.put(to, octets)

    def idle(self) -> None:
        """Nothing has come for a while: what was held for the next message goes on, and the next one is held."""
        if self.held:
            (box, octets), self.held = self.held, None
            self.put(box, octets)
            self.due["swap"] = 0

    def put(self, box: str, octets: bytes) -> None:
        self.boxes[box].messages.append(Message(f"u{next(self.numbers)}", DELIVERY % box.encode() + octets))

    async def smtp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(writer)
        to: list[str] = []
        writer.write(b"220 peer\r\n")
        async for line in reader:
            verb, text = line[:4].upper(), line.decode("latin-1").strip()
            if verb == b"RCPT":
                box = text[text.find("<") + 1 : text.rfind(">")]
                if box in self.boxes:
                    to.append(box)
                writer.write(b"250 ok\r\n" if box in self.boxes else b"550 no\r\n")
            elif verb == b"DATA":
                writer.write(b"354 go\r\n")
                octets = await reader.readuntil(b"\r\n.\r\n")
                crashes = self.accept(to, (b"\r\n" + octets[:-3]).replace(b"\r\n..", b"\r\n.")[2:])
                to = []
                writer.write(b"250 ok\r\n")
                if crashes:
                    await writer.drain()
                    self._crash()
            elif verb == b"QUIT":
                writer.write(b"221 bye\r\n")
                break
            else:
                writer.write(b"250 ok\r\n")
        writer.close()
        self.open.discard(writer)

    def _crash(self) -> None:
        """All connections end. What a POP3 session had got, and could not delete, may be handed out again."""
        for one in self.open:
            one.close()
        self.open.clear()
        self.cut = [got for some in self.getting.values() for got in some if got[0].token not in self.touched]
        self.touched |= {message.token for message, _ in self.cut}

    async def pop3(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(writer)
        box, there, gone = Box(), list[Message](), set[int]()
        name = ""
        writer.write(b"+OK peer\r\n")
        async for line in reader:
            verb, _, word = line.decode("latin-1").strip().partition(" ")
            if verb == "USER":
                name = word
            elif verb == "PASS" and name in self.boxes:
                box = self.boxes[name]
                there = list(box.messages)
                had = [one for one in there if one.read and not one.deleting and one.token not in self.touched]
                if had and self.hits("renumber"):
                    had[0].uidl += ".again"
                    self.must("renumber", ("renumbered", had[0].token, name))
            elif verb == "UIDL":
                lines = [f"{at} {one.uidl}\r\n" for at, one in enumerate(there, 1)]
                writer.write(f"+OK\r\n{''.join(lines)}.\r\n".encode())
                continue
            elif verb == "RETR":
                one = self._handed_out(there[int(word) - 1], name)
                self.getting.setdefault(writer, []).append((one, name))
                writer.write(b"+OK\r\n" + (b"\r\n" + one.octets).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n")
                await writer.drain()
                continue
            elif verb == "DELE":
                gone.add(int(word))
                there[int(word) - 1].deleting = True
            elif verb == "QUIT":
                dead = [there[at - 1] for at in gone]
                if dead and not self.touched & {one.token for one in dead} and self.hits("forget"):
                    self.must("forget", *(("returned", one.token, name) for one in dead))
                else:
                    box.messages = [one for one in box.messages if one not in dead]
                writer.write(b"+OK\r\n")
                break
            writer.write(b"+OK\r\n")
        writer.close()
        self.open.discard(writer)
        self.getting.pop(writer, None)

    def _handed_out(self, wanted: Message, name: str) -> Message:
        """What RETR hands out."""
        if (wanted, name) in self.cut:
            self.must("crash", ("doubled", wanted.token, name))
        others = [m for other, one in self.boxes.items() if other != name for m in one.messages]
        fresh = [m for m in others if not m.read and m.token not in self.touched]
        if not wanted.read and wanted.token not in self.touched and fresh and self.hits("other box"):
            wanted.read = True
            self.must("other box", ("lost", wanted.token, name), ("misdelivered", fresh[0].token, name))
            return fresh[0]
        wanted.read = True
        return wanted


def placed(seed: int, span: int) -> dict[str, int]:
    """After how many messages each fault is done."""
    draw = random.Random(seed)
    return dict(zip(FAULTS, draw.sample(range(20, span, APART), len(FAULTS)), strict=True)) if seed else {}


def as_long_as_it_lasts(session: Session) -> Session:
    """A session whose connection may end anywhere."""

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await session(reader, writer)

    return served


async def main(peer: Peer, ready: Callable[[int, int], None]) -> None:
    limit = 1 << 24
    both = (as_long_as_it_lasts(one) for one in (peer.smtp, peer.pop3))
    servers = [await asyncio.start_server(one, "127.0.0.1", 0, limit=limit) for one in both]
    ready(*(one.sockets[0].getsockname()[1] for one in servers))
    over = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    last, told = -1, False
    while not over.done():
        await asyncio.sleep(0.5)
        if last == peer.taken:
            peer.idle()
        last = peer.taken
        if not told and not peer.due and not peer.held:
            print("done", flush=True)
            told = True


if __name__ == "__main__":
    SEED, SPAN, BOXES = map(int, sys.argv[1:])
    PEER = Peer({f"b{number}@peer.example": Box() for number in range(BOXES)}, placed(SEED, SPAN))
    asyncio.run(main(PEER, lambda *ports: print(*ports, flush=True)))
    print(json.dumps({"taken": PEER.taken, "done": PEER.done}))
