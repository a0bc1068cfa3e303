"""What a mail host's own rules say of one address, in full (``mailhost explain --json``), and which logins it has."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from popbox.errors import HostError
from popbox.hosts.base import Host
from popbox.journey.model import Foretold

ARRIVES = ("maildir", "mbox")


@dataclass(frozen=True, slots=True)
class Login:
    """A line of users/poppasswd; ``box`` is its directory below the qmail home."""

    login: str
    crypt: str
    box: str


def logins(host: Host) -> list[Login]:
    """All lines of users/poppasswd that have four fields.

    Raises:
        HostError: the host does not show the file.
    """
    lines = host.read("users/poppasswd").decode("utf-8", "replace").splitlines()
    rows = (line.split(":", 3) for line in lines if line.count(":") >= 3)
    return [Login(row[0], row[1], row[3].strip().removeprefix(host.home()).strip("/")) for row in rows]


def ask(host: Host, address: str) -> Foretold:
    """Ask the host. One that cannot say gives the outcome ``unknown`` with the reason; nothing is raised."""
    now = time.time()
    try:
        ran = host.run("explain", "--json", "--", address)
        way = json.loads(ran.stdout) if ran.code in (0, 1) else None
    except (HostError, ValueError) as error:
        return Foretold(address, "unknown", str(error).splitlines()[0], at=now)
    if way is None:
        return Foretold(address, "unknown", (ran.stderr or ran.stdout).strip(), at=now)
    top = host.home().rstrip("/") + "/"
    kept = [(kind, place.removeprefix(top)) for kind, place in _places(way)]
    maildirs, mboxes = (tuple(place for one, place in kept if one == kind) for kind in ARRIVES)
    routed = str(way.get("rewritten") or "")
    return Foretold(address, str(way["outcome"]), _why(way), maildirs, mboxes, tuple(_elsewhere(way)), now, routed)


def _places(way: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Kind and absolute path, in the order of the instructions; forwarded copies are followed."""
    if way["outcome"] != "delivered":
        return
    for one in way["deliveries"]:
        if one["kind"] in ARRIVES:
            yield one["kind"], f"{way['assignment']['home']}/{one['argument'].removeprefix('./').rstrip('/')}"
        elif one["onward"]:
            yield from _places(one["onward"])


def _elsewhere(way: dict[str, Any]) -> Iterator[str]:
    for one in way["deliveries"]:
        if (onward := one["onward"]) and onward["outcome"] != "delivered":
            yield f"{onward['outcome']}: {onward['address']}"
        elif onward:
            yield from _elsewhere(onward)
        elif one["kind"] == "program":
            yield f"program {one['argument']}"


def _why(way: dict[str, Any]) -> str:
    """The step that decided, its words, and the first hint."""
    step = way["steps"][-1] if way["steps"] else {"file": "", "line": None, "result": ""}
    where = f"{step['file']}:{step['line']}" if step["line"] else step["file"]
    words = [where, (way["failure"] or {}).get("text", ""), *(hint["text"] for hint in way["hints"][:1])]
    return "; ".join(word for word in words if word)
