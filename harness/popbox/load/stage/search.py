"""Where a message is that no POP3 session handed out: in a file below popboxes/, or in the MTA's queue."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from popbox.errors import PopboxError
from popbox.hosts.base import Ability, Host
from popbox.load.books.judge import EXPLAINED, FOUND
from popbox.load.books.message import delivered_to, field_of, is_of, seen
from popbox.load.stage.mta_queue import held

ASKED = 20  # our choice: addresses that are explained
AT_ONCE = 200  # our choice: tokens in one search


def search(host: Host, lost: Sequence[tuple[str, str]], folder: Path) -> str:
    """Look for messages, by token and box, and keep what was found for the judge; returns why a search failed.

    A host that shows no files cannot be searched: there a message is lost that POP3 did not hand out in time.
    """
    if host.cannot(Ability.FILES):
        return ""
    found: dict[str, set[str]] = {}
    boxes: dict[str, list[str]] = {}
    for token, box in lost:
        boxes.setdefault(token, []).append(box)
    tokens = sorted(boxes)
    try:
        for at in range(0, len(tokens), AT_ONCE):
            for place, token, to in _files(host, tokens[at : at + AT_ONCE]):
                for box in boxes.get(token, ()):
                    # a box that gets another name is known by its login
                    if not to or is_of(to, box) or "@" not in box:
                        found.setdefault(f"{token} {box}", set()).add(place)
    except PopboxError as error:
        return str(error).splitlines()[0]
    (folder / FOUND).write_text(json.dumps({one: sorted(places) for one, places in found.items()}), "utf-8")
    return ""


def explain(host: Host, boxes: Iterable[str], folder: Path) -> None:
    """Ask ``mailhost explain`` how the host decides on the addresses of messages that are nowhere, for the judge."""
    if host.cannot(Ability.EXPLAIN):
        return
    told: dict[str, list[str]] = {}
    for box in sorted(set(boxes))[:ASKED]:
        with suppress(PopboxError, ValueError, KeyError):  # the verdict does not need it
            said = json.loads(host.run("explain", "--json", "--", box).stdout)
            told[box] = [said["outcome"], *([said["failure"]["text"]] if said["failure"] else [])]
    (folder / EXPLAINED).write_text(json.dumps(told), "utf-8")


def _files(host: Host, tokens: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Where messages of these tokens are, the token of each, and for whom; empty where that is not known.

    One that only quotes a token, as a report does, is none.
    """
    lines = {field_of(one): one for one in tokens}
    for one in host.search(tuple(f"{line}\n" for line in lines)):
        if message := seen(one.octets):
            yield one.entry.path, message.token, delivered_to(one.octets)
    if not host.cannot(Ability.SHELL):
        for line in held(host, tuple(lines)):
            yield "the queue", lines[line], ""
