"""What a scenario that a client sends may do: to mailboxes and over the wire, and nothing to files or programs. Pure.

What a command says is judged twice: when the scenario is read, and again, with its variables, when it is to run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from popbox.errors import UnusableError
from popbox.scenario.faults import DISKS, DISTURBS
from popbox.scenario.model import Scenario
from popbox.scenario.steps import Step

MOST_S = 600.0  # our choice: of all `within-s` of a scenario together, ten minutes
READS: dict[str, tuple[str, ...]] = {
    "domain": ("list", "show"),
    "mailbox": ("list", "show"),
    "forward": ("list",),
    "catchall": ("list",),
    "queue": ("list",),
}
CHANGES: dict[str, tuple[str, ...]] = {
    "domain": ("add", "del"),
    "mailbox": ("add", "del", "passwd", "rename", "disable", "enable", "set"),
    "forward": ("add", "del"),
    "catchall": ("set", "unset"),
}
ALONE = ("explain", "lint", "mkpasswd")  # verbs without a second word, which only look
FLAGS = (
    *("--json", "--dry-run", "--purge", "--generate", "--password-stdin"),
    *("--extensions", "--no-extensions", "--mbox", "--maildir"),
)
VALUED = ("--login", "--name", "--crypt", "--scheme", "--prefix")
OF_FILES = ("file", "write", "shell", "hup", "restart")  # verbs that reach beyond mail, or are for a host of one's own


@dataclass(frozen=True, slots=True)
class Command:
    """A ``mailhost`` command: its verb in words, its arguments without options, and whether it changes something."""

    verb: str
    words: tuple[str, ...]
    changes: bool
    flags: frozenset[str] = frozenset()


def command(argv: tuple[str, ...] | list[str]) -> Command:
    """A command that a scenario may run.

    Raises:
        UnusableError: it may not; says which word of it, and what is allowed.
    """
    if any("\0" in word for word in argv):
        raise UnusableError("a word has a NUL in it, which no command line can have")
    first, second = argv[0], argv[1] if len(argv) > 1 else ""
    changes = second in CHANGES.get(first, ())
    if first not in ALONE and not changes and second not in READS.get(first, ()):
        said = " ".join(filter(None, (first, second)))
        raise UnusableError(f"`mailhost {said}` is not for a scenario that a client sends; these are: {_allowed()}")
    verb = first if first in ALONE else f"{first} {second}"
    words, flags = list[str](), set[str]()
    rest = iter(argv[len(verb.split()) :])
    for word in rest:
        if word == "--":
            words += rest
        elif word in VALUED:
            next(rest, None)
        elif word in FLAGS:
            flags.add(word)
        elif not word.startswith("-"):
            words.append(word)
        elif word.partition("=")[0] not in VALUED:
            raise UnusableError(f"the option {word} is not for a scenario that a client sends")
    return Command(verb, tuple(words), changes, frozenset(flags))


def _allowed() -> str:
    pairs = (f"{verb} {'|'.join((*CHANGES.get(verb, ()), *more))}" for verb, more in READS.items())
    return ", ".join((*pairs, *ALONE))


def refusals(scenario: Scenario, *, files: bool) -> Iterator[str]:
    """Why a scenario may not run here, a line for each place. ``files``: message files beside it may be read."""
    total_s = sum(step.within_s for step in scenario.step)
    if total_s > MOST_S:
        yield f"within-s is {total_s:g} s in sum, and at most {MOST_S:g} s are allowed (a step without one has 15 s)"
    for number, step in enumerate(scenario.step, 1):
        if why := _refused(step, files=files):
            yield f"step {number}.{step.verb}{why}"


def _refused(step: Step, *, files: bool) -> str:
    if step.verb in OF_FILES:
        return ": it reaches beyond mailboxes: `popbox run` runs it, on a host of its own"
    if step.break_ and step.break_.kind not in (*DISTURBS, *DISKS):
        return f".{step.break_.kind}: it changes files of the host: `popbox run` runs it, on a host of its own"
    if step.send and step.send.mail and not files:
        return ".mail: it names a file, and none is read for a client: give the message as `text`"
    if step.telnet and step.telnet.runs:
        return ".runs: it names programs of the host"
    if step.declare:
        try:
            command(step.declare.argv)
        except UnusableError as why:
            return f".argv: {why}"
    return ""
