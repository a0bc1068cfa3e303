"""Parallel test processes, each in a space of its own: whether any of them is ever shown what is a neighbour's.

``python -m tests.bench.serve.spaces [--processes 4] [--seconds 300]``

Each process sends to an address that no one declared, waits for that message, and then asks for all that a curious
client could: journeys, the newest messages and journeys of the store by id, a proof of absence, the stream of events.
Every octet of every answer is searched for the names of the neighbours' spaces, which are in all their addresses and
subjects. Exit code 1 where one is found, or a message did not come.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any
from urllib.request import Request, urlopen

from tests.bench.serve.clients import fetched, smtp
from tests.bench.serve.hosts import host_with, served, shares

from popbox.clients.wire import Address

TOKEN = secrets.token_hex(16)
NEAR = 6  # ids beside one's own that are asked for


@dataclass
class Tenant:
    """One process: its space, the others' names, and what came of it."""

    at: Address
    mail: Address
    space: dict[str, Any]
    others: list[str]
    sent: int = 0
    octets: int = 0
    refused: int = 0  # answers 404 to ids that are a neighbour's, or no one's
    waited_s: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def look(self, path: str, body: bytes) -> None:
        """Note whose name is in an answer."""
        self.octets += len(body)
        self.wrong += [f"{self.space['space']}: {path} shows {one}" for one in self.others if one.encode() in body]

    async def run(self, seconds: float) -> None:
        """For so long, and one message at least."""
        until = time.monotonic() + seconds
        listening = asyncio.create_task(self._listen())
        reader, writer = await asyncio.open_connection(self.at.host, self.at.port)
        with contextlib.closing(writer):
            async with smtp(self.mail) as say:
                while (time.monotonic() < until or not self.sent) and not self.wrong:
                    await self._turn(reader, writer, say)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> tuple[int, Any]:
        status, body = await fetched(reader, writer, path, popbox_space=self.space["token"])
        self.look(path, body)
        return status, json.loads(body)

    async def _turn(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, say: Any) -> None:
        """One message, and all questions."""
        to, subject = f"u{self.sent}@{self.space['domain']}", f"{self.sent} of {self.space['space']}"
        await say(b"MAIL FROM:<app@client.example>")
        await say(f"RCPT TO:<{to}>".encode())
        await say(b"DATA")
        await say(f"To: {to}\r\nSubject: {subject}\r\n\r\nText.\r\n.".encode())
        self.sent, began = self.sent + 1, time.monotonic()
        path = f"/v1/messages/wait?since={self.space['cursor']}&to={to}&within=1m"
        status = 202
        while status == 202:
            status, said = await self._ask(reader, writer, path)
            path = said.get("again", path)
        self.waited_s.append(time.monotonic() - began)
        if status != 200 or [one["subject"] for one in said["messages"]] != [subject]:
            self.wrong.append(f"{to}: {status}, {said}")
            return
        mine = said["messages"][0]["id"]
        await self._ask(reader, writer, "/v1/journeys?limit=20")
        await self._ask(reader, writer, f"/v1/messages/none?subject={self.sent}&within=0s")
        for kind in ("messages", "journeys"):
            for id in range(mine - NEAR, mine + NEAR):
                self.refused += (await self._ask(reader, writer, f"/v1/{kind}/{id}"))[0] == 404

    async def _listen(self) -> None:
        """The stream of events, from the first one that there is."""
        reader, writer = await asyncio.open_connection(self.at.host, self.at.port)
        head = f"GET /v1/events?since=0 HTTP/1.1\r\nhost: {self.at}\r\npopbox-space: {self.space['token']}\r\n\r\n"
        writer.write(head.encode())
        with contextlib.closing(writer):
            while piece := await reader.readuntil(b"\n\n"):
                self.look("/v1/events", piece)
        self.wrong.append("the stream ended")


def tenant(at: Address, mail: Address, space: dict[str, Any], others: list[str], seconds: float) -> Tenant:
    """What one process does."""
    one = Tenant(at, mail, space, others)
    asyncio.run(one.run(seconds))
    return one


def in_spaces(at: Address, mail: Address, token: str, processes: int, seconds: float) -> list[Tenant]:
    """All of it: a space for each, then the processes, side by side."""
    headers = {"popbox-token": token, "content-type": "application/json"}
    spaces = []
    for _ in range(processes):
        with urlopen(Request(f"http://{at}/v1/spaces", b"{}", headers), timeout=60) as answer:
            spaces.append(json.load(answer))
    names = [one["space"] for one in spaces]
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        runs = [
            pool.submit(tenant, at, mail, one, [name for name in names if name != one["space"]], seconds)
            for one in spaces
        ]
        return [run.result() for run in runs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=300)
    asked = parser.parse_args()
    said = "writes with the token of POPBOX_TOKEN"
    with (
        host_with(1) as (state, host),
        served(state, "--allow-writes", said=said, POPBOX_TOKEN=TOKEN) as (at, _),
    ):
        ran = in_spaces(at, host.address("smtp"), TOKEN, asked.processes, asked.seconds)
    wrong = [line for one in ran for line in one.wrong]
    print(f"load average {os.getloadavg()[0]:.1f}: {sum(one.sent for one in ran)} messages in {asked.processes} spaces")
    print(f"{sum(one.octets for one in ran) / 2**20:.0f} MiB of answers, {sum(one.refused for one in ran)} ids refused")
    print(f"250 -> answer: {shares([value for one in ran for value in one.waited_s])}")
    print("\n".join(wrong[:20]), file=sys.stderr)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
