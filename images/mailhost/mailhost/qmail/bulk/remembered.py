"""`answer` for very many addresses, as text: what was decided once is remembered, not decided again.

The way of an address parts in two, and each part is the same for many: what its domain decides, and what the .qmail
files of a home do. Only who owns the local part is looked up for each. Whatever is unusual is left to `answer`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import NamedTuple

from mailhost.qmail.bulk.answer import Answer, End, answer, ends_of
from mailhost.qmail.bulk.host import TreeHost
from mailhost.qmail.bulk.tree import NotJudgedError
from mailhost.qmail.control import ControlError, Controls, Reader, accepts
from mailhost.qmail.dotqmail import Kind
from mailhost.qmail.failure import Failure
from mailhost.qmail.lookup import Assignment
from mailhost.qmail.rewrite import Local, rewrite
from mailhost.qmail.route import LOOPING, Outcome, Route, submitted

KEPT = 1 << 16  # our choice: domains, and sets of .qmail files, that are remembered at a time
NEVER = ("forward", LOOPING.text)  # an end's kind, and its text, that depend on how the mail came there
Text = tuple[str, bool]


class _Domain(NamedTuple):
    """``prefix``: what comes before the local part for qmail-lspawn; None: the mail leaves for another host."""

    accepted: bool
    prefix: bytes | None


@dataclass(slots=True)
class _Files:
    """What the .qmail files of a home do. ``programs``: some are run with the extension and the host of the address."""

    ends: tuple[End, ...]
    programs: bool
    taken: str = ""
    refused: str = ""


class Remembered:
    """The answers of one host."""

    def __init__(self, host: TreeHost, text_of: Callable[[Answer], str]) -> None:
        """``text_of``: an answer's text."""
        self._host, self._text_of = host, text_of
        self._domains: dict[bytes, _Domain | None] = {}
        self._send: Controls | None = None
        self._by_address = False
        self._files: dict[Hashable, _Files] = {}

    def text(self, address: bytes) -> Text:
        """The text of what `answer` gives without ``where``, and whether it is judged.

        Raises:
            OSError: a file of the host can be read no more.
        """
        try:
            known = self._known(address)
        except (ControlError, NotJudgedError):
            known = None
        if known is not None:
            return known, True
        found = answer(self._host, address)
        return self._text_of(replace(found, where=())), found.judged

    def _known(self, address: bytes) -> str | None:
        user, at, host = address.rpartition(b"@")
        if not at or b"%" in user or b"\0" in address:
            return None
        domain = self._domain(address, host)
        if domain is None:
            return None
        if domain.prefix is None:
            return self._text_of(Answer(domain.accepted, (End("remote", address),), ()))
        who = self._host.locate(domain.prefix + user) if domain.prefix or user else None
        if who is None or isinstance(who, Failure):
            return None
        files = self._decided(address, who)
        return None if files is None else self._told(files, domain.accepted, who, host)

    def _told(self, files: _Files, accepted: bool, who: Assignment, host: bytes) -> str:
        if files.programs:
            ends = [replace(end, ext=who.ext, host=host) if end.kind == "program" else end for end in files.ends]
            return self._text_of(Answer(accepted, tuple(ends), ()))
        text = files.taken if accepted else files.refused
        if not text:
            text = self._text_of(Answer(accepted, files.ends, ()))
            if accepted:
                files.taken = text
            else:
                files.refused = text
        return text

    def _domain(self, address: bytes, host: bytes) -> _Domain | None:
        """What decides about all addresses of a host but those that virtualdomains names in full."""
        if self._send is None:
            self._send = self._host.controls(Reader.SEND)
            self._by_address = any(b"@" in line.key for line in self._send.virtualdomains.lines)
        if self._send.locals is None or (self._by_address and self._send.virtualdomains.find(address) is not None):
            return None
        if host not in self._domains:
            if len(self._domains) >= KEPT:
                self._domains.clear()
            self._domains[host] = self._learnt(address)
        return self._domains[host]

    def _learnt(self, address: bytes) -> _Domain | None:
        accepted = accepts(self._host.controls(Reader.SMTPD), address).accepted
        way = rewrite(self._host.controls(Reader.SEND), address)
        if not isinstance(way, Local):
            return _Domain(accepted, None)
        prefix = b"" if way.prefix is None else way.prefix + b"-"
        return None if b"\0" in prefix else _Domain(accepted, prefix)

    def _decided(self, address: bytes, who: Assignment) -> _Files | None:
        key = self._host.decides(who)
        if key is None:
            return None
        there = self._files.get(key)
        if there is None:
            there = self._followed(submitted(self._host, address))
            if there is not None:
                if len(self._files) >= KEPT:
                    self._files.clear()
                self._files[key] = there
        return there

    def _followed(self, way: Route) -> _Files | None:
        """Of a whole route; None where another address of the same files may come to other ends.

        Where no forward leads back and none is left unfollowed, the ends do not depend on where they were entered.
        """
        ends = tuple(ends_of(self._host, way))
        if any(end.kind in NEVER or os.fsdecode(end.text) in NEVER for end in ends):
            return None
        delivers = way.deliveries if way.outcome is Outcome.DELIVERED else ()
        own = any(one.instruction.kind is Kind.PROGRAM for one in delivers)
        if own and any(one.onward is not None for one in delivers):
            return None  # which of the programs are run with this extension cannot be told
        return _Files(ends, own)
