"""Where a message is that no POP3 session handed out: in a file below popboxes/, or in the MTA's queue."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from popbox.errors import PopboxError
from popbox.hosts.base import Ability, Host
from popbox.load.books.judge import EXPLAINED, FOUND
from popbox.load.stage.mta_queue import held

ASKED = 20  # our choice: addresses that are explained
AT_ONCE = 200  # our choice: tokens in one search


def search(host: Host, tokens: Sequence[str], folder: Path) -> str:
    """Look for messages on the host and keep what was found for the judge; returns why a search failed.

    A host that shows no files cannot be searched: there a message is lost that POP3 did not hand out in time.
    """
    if host.cannot(Ability.FILES):
        return ""
    found: dict[str, set[str]] = {}
    try:
        for at in range(0, len(tokens), AT_ONCE):
            some = tuple(tokens[at : at + AT_ONCE])
            for place, octets in _files(host, some):
                for token in some:
                    if token.encode() in octets:
                        found.setdefault(token, set()).add(place)
    except PopboxError as error:
        return str(error).splitlines()[0]
    (folder / FOUND).write_text(json.dumps({token: sorted(places) for token, places in found.items()}))
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
    (folder / EXPLAINED).write_text(json.dumps(told))


def _files(host: Host, tokens: tuple[str, ...]) -> list[tuple[str, bytes]]:
    places = [(one.entry.path, one.octets) for one in host.search(tokens)]
    if not host.cannot(Ability.SHELL):
        places.append(("the queue", held(host, tokens).encode()))
    return places
