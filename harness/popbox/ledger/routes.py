"""What must become of a message: asked of the mail host's own rules (``mailhost explain``) just before it is sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from popbox.errors import HostError
from popbox.hosts.base import Host


@dataclass(frozen=True, slots=True)
class Route:
    """How the rules say that one address ends. ``outcome`` is that of ``explain --json``, or ``unknown``."""

    address: str
    outcome: str
    why: str
    places: tuple[str, ...] = ()  # Maildirs and mbox files below the qmail home that get a copy each
    elsewhere: tuple[str, ...] = ()  # ends of forwarded copies that are kept nowhere here, in words
    routed: str = ""  # the address as virtualdomains makes it: in Delivered-To and in the log


def ask(host: Host, address: str) -> Route:
    """Ask the host. A host that cannot say so gives an ``unknown`` route with the reason; nothing is raised."""
    try:
        ran = host.run("explain", address, "--json")
        way = json.loads(ran.stdout) if ran.code in (0, 1) else None
    except (HostError, ValueError) as error:
        return Route(address, "unknown", str(error).splitlines()[0])
    if way is None:
        return Route(address, "unknown", (ran.stderr or ran.stdout).strip())
    home = host.home().rstrip("/") + "/"
    places = tuple(place.removeprefix(home) for place in _places(way))
    return Route(
        address, str(way["outcome"]), _why(way), places, tuple(_elsewhere(way)), str(way.get("rewritten") or "")
    )


def _places(way: dict[str, Any]) -> Iterator[str]:
    """Absolute paths, in the order of the instructions; forwarded copies are followed."""
    if way["outcome"] != "delivered":
        return
    for one in way["deliveries"]:
        if one["kind"] in ("maildir", "mbox"):
            yield f"{way['assignment']['home']}/{one['argument'].removeprefix('./').rstrip('/')}"
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
