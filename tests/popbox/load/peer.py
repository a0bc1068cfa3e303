"""A mail host of many boxes in memory, broken on purpose: what `popbox load` must find. Run it as a program.

``python -m tests.popbox.load.peer FAULT EVERY BOXES`` prints its two ports, SMTP and POP3, and ends with its input.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

DELIVERY = b"Return-Path: <x@y>\r\nDelivered-To: %s\r\n"
CUT = 65_536


@dataclass
class Message:
    """One in a box."""

    uidl: str
    octets: bytes


@dataclass
class Peer:
    """``fault`` happens to each message, session or box whose number is a multiple of ``every``; none where empty."""

    fault: str
    every: int
    boxes: dict[str, list[Message]] = field(default_factory=dict)
    taken: int = 0
    waiting: list[tuple[str, bytes]] = field(default_factory=list)  # accepted, and in no box yet
    held: tuple[str, bytes] | None = None
    numbers: count[int] = field(default_factory=lambda: count(1))
    generation: int = 0

    def hits(self, fault: str, number: int) -> bool:
        return fault == self.fault and number % self.every == 0

    def accept(self, to: list[str], octets: bytes) -> None:
        """250 was said."""
        for one in to:
            self.taken += 1
            if self.hits("crash", self.taken):
                self.waiting.clear()  # it was in memory alone
            if self.fault == "crash":
                self._deliver_waiting(keep=3)
                self.waiting.append((one, octets))
            elif self.hits("drop", self.taken):
                continue
            elif self.hits("swap", self.taken):
                self.held = (one, octets)
            else:
                self._deliver(one, octets)

    def idle(self) -> None:
        """Nothing has come for a while."""
        self._deliver_waiting(keep=0)
        if self.held:
            (box, octets), self.held = self.held, None
            self.put(box, octets)

    def _deliver_waiting(self, keep: int) -> None:
        while len(self.waiting) > keep:
            self.put(*self.waiting.pop(0))

    def _deliver(self, to: str, octets: bytes) -> None:
        if self.held:
            (box, other), self.held = self.held, None
            (head, body), (others, its) = (one.split(b"\r\n\r\n", 1) for one in (octets, other))
            self.put(box, others + b"\r\n\r\n" + body)
            octets = head + b"\r\n\r\n" + its
        if self.fault == "cut":
            octets = octets[:CUT].rpartition(b"\r\n")[0] + b"\r\n" if len(octets) > CUT else octets
        if self.hits("neighbour", self.taken):
            names = sorted(self.boxes)
            to = names[(names.index(to) + 1) % len(names)]
        self.put(to, octets)
        if self.hits("double", self.taken):
            self.put(to, octets)

    def put(self, box: str, octets: bytes) -> None:
        self.boxes[box].append(Message(f"u{next(self.numbers)}", DELIVERY % box.encode() + octets))

    async def smtp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
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
                self.accept(to, (b"\r\n" + octets[:-3]).replace(b"\r\n..", b"\r\n.")[2:])
                to = []
                writer.write(b"250 ok\r\n")
            elif verb == b"QUIT":
                writer.write(b"221 bye\r\n")
                break
            else:
                writer.write(b"250 ok\r\n")
        writer.close()

    async def pop3(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        box: list[Message] = []
        name, session, gone = "", 0, set[int]()
        writer.write(b"+OK peer\r\n")
        async for line in reader:
            verb, _, word = line.decode("latin-1").strip().partition(" ")
            if verb == "USER":
                name = word
            elif verb == "PASS" and name in self.boxes:
                session = next(self.numbers)
                box = list(self.boxes[name])
                if self.fault == "renumber" and session % self.every == 0:
                    self.generation += 1
            elif verb == "UIDL":
                lines = [f"{at} {self.uidl(one)}\r\n" for at, one in enumerate(box, 1)]
                writer.write(f"+OK\r\n{''.join(lines)}.\r\n".encode())
                continue
            elif verb == "RETR":
                one = box[int(word) - 1]
                if self.hits("other box", next(self.numbers)):
                    one = next((m for other, all_ in self.boxes.items() if other != name for m in all_), one)
                writer.write(b"+OK\r\n" + (b"\r\n" + one.octets).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n")
                await writer.drain()
                continue
            elif verb == "DELE":
                gone.add(int(word))
            elif verb == "QUIT":
                if not (self.fault == "forget" and session % self.every == 0):
                    dead = {id(box[at - 1]) for at in gone}
                    self.boxes[name] = [one for one in self.boxes[name] if id(one) not in dead] if name else []
                writer.write(b"+OK\r\n")
                break
            writer.write(b"+OK\r\n")
        writer.close()

    def uidl(self, one: Message) -> str:
        return f"{one.uidl}.{self.generation}"


async def main(fault: str, every: int, boxes: int, ready: Callable[[int, int], None]) -> None:
    peer = Peer(fault, every, {f"b{number}@peer.example": [] for number in range(boxes)})
    limit = 1 << 24
    servers = [await asyncio.start_server(one, "127.0.0.1", 0, limit=limit) for one in (peer.smtp, peer.pop3)]
    ready(*(one.sockets[0].getsockname()[1] for one in servers))
    over = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    last = -1
    while not over.done():
        await asyncio.sleep(0.5)
        if last == peer.taken:
            peer.idle()
        last = peer.taken


if __name__ == "__main__":
    FAULT, EVERY, BOXES = sys.argv[1:]
    asyncio.run(main(FAULT, int(EVERY), int(BOXES), lambda *ports: print(*ports, flush=True)))
