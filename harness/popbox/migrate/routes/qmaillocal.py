"""A sample of addresses put to the real `qmail-local -n`, which prints what it would do and delivers nothing.

It runs as qmail-lspawn would run it (Q-LSP-10, -11): as the user of the route, never as root, with the same arguments.
"""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from popbox.errors import UnusableError
from popbox.migrate.oldhost.findings import shown
from popbox.migrate.routes.sample import Trial, candidates, chosen
from popbox.migrate.routes.side import Side
from popbox.migrate.routes.work import answer_of

ASKED, NOT_ASKED = "asked", "not asked"
ANSWER_S = 30.0  # our choice: it reads two files


@dataclass(slots=True)
class Dry:
    """What came of it on one side. ``which``: ``old`` or ``new``; ``why``: why nothing was asked there at all."""

    which: str
    tree: str
    seed: int
    why: str = ""
    trials: list[Trial] = field(default_factory=list)

    @property
    def asked(self) -> int:
        """How many addresses qmail-local was asked for."""
        return sum(one.fate == ASKED for one in self.trials)

    def as_json(self) -> dict[str, Any]:
        """For the report; the README describes it."""
        tried = [
            {"address": shown(one.address), "kind": one.kind, "tried": one.fate, "why": one.why, "faults": one.faults}
            for one in self.trials
        ]
        return {"side": self.which, "tree": self.tree, "seed": self.seed, "why_not": self.why, "tried": tried}

    def as_text(self) -> Iterator[str]:
        """Lines for a person."""
        if self.why:
            yield f"qmail-local -n: nothing asked of the {self.which} host: {self.why}"
            return
        for one in self.trials:
            yield from (
                f"qmail-local -n, {self.which} host: {shown(one.address)} [{one.kind}]: {fault}" for fault in one.faults
            )
        bad, reasons = sum(bool(one.faults) for one in self.trials), Counter(one.why for one in self.trials if one.why)
        yield f"qmail-local -n, {self.which} host: {self.asked} asked, seed {self.seed}, {bad} not as the rules say"
        for why, count in sorted(reasons.items()):
            which = next(shown(one.address) for one in self.trials if one.why == why)
            yield f"qmail-local -n, {self.which} host: {count} not asked: {why} ({which}{', ...' if count > 1 else ''})"


def passed(sides: Iterable[Dry]) -> bool:
    """Whether something was asked, and all of it was as the rules say."""
    tried = list(sides)
    return any(one.asked for one in tried) and not any(trial.faults for one in tried for trial in one.trials)


def program_in(directory: Path) -> Path:
    """qmail-local in qmail's directory of programs.

    Raises:
        UnusableError: it is not there, or we are not root and could not become the users of the routes.
    """
    program = directory.resolve() / "qmail-local"
    if not program.is_file():
        raise UnusableError(f"{program}: there is no such program")
    if os.geteuid() != 0:
        raise UnusableError(f"{program} runs as the user of each route, which only root can start")
    return program


def ask(which: str, side: Side, asked: Mapping[bytes, str], program: Path, count: int, seed: int) -> Dry:
    """Put a sample to it. ``which``: ``old`` or ``new``.

    Raises:
        UnusableError: mailhost cannot use the side's files.
        HostError: mailhost does not run.
    """
    dry = Dry(which, side.name, seed)
    if os.fsencode(Path(side.name).resolve()) != os.path.realpath(side.tree.base):
        dry.why = f"its files stand for {shown(side.tree.base)} of another host, so that its homes are not here"
        return dry
    drawn = candidates(asked, count, seed)
    trials, calls = list[Trial](), dict[bytes, dict[str, Any]]()
    for address, found in zip(drawn, side.ask(drawn, steps=True), strict=True):
        why = _why_not(found)
        trials.append(Trial(address, asked[address], NOT_ASKED if why else ASKED, why))
        calls[address] = found["local"]
    dry.trials = chosen(trials, count)
    for one in dry.trials:
        if one.fate == ASKED:
            one.faults += _run(program, calls[one.address])
    return dry


def _why_not(found: Mapping[str, Any]) -> str:
    """Why qmail-local cannot be asked for an address; empty where it can."""
    call = found["local"]
    if call is None:
        if not answer_of(dict(found)).judged:
            return "its rules could not be judged"
        kinds = ", ".join(sorted({end[0] for end in found["ends"]}))
        return f"qmail-local is not started for it: {kinds or 'nothing'}"
    if call["uid"] == 0:
        return "it would run as root"
    return "an argument holds a NUL" if any("\0" in one for one in call["arguments"]) else ""


def _run(program: Path, call: Mapping[str, Any]) -> list[str]:
    """What of its answer is not as the rules say."""
    try:
        done = subprocess.run(
            [program, "-n", "--", *map(_octets, call["arguments"])],
            stdin=subprocess.DEVNULL, capture_output=True, check=False, cwd="/", env={}, timeout=ANSWER_S,
            user=call["uid"], group=call["gid"], extra_groups=[call["gid"]],
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError, OverflowError) as why:
        return [f"no answer of {program}: {why}"]
    real, rules = (
        (done.returncode, done.stdout, done.stderr),
        (call["code"], _octets(call["out"]), _octets(call["err"])),
    )
    return [] if real == rules else [f"the rules say {_told(*rules)}; it says {_told(*real)}"]


def _told(code: int, out: bytes, err: bytes) -> str:
    lines = [shown(line) for line in (out + err).splitlines()]
    more = [f"... ({len(lines) - 8} more)"] if len(lines) > 8 else []
    return f"exit {code}: {' / '.join(lines[:8] + more)}"


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
