"""Programs in .qmail files whose meaning is known: what they deliver to, refuse or stop, and what of them is lost.

From their man pages: deliverquota(8), maildrop(1), maildropfilter(7), procmail(1), procmailrc(5), safecat(1),
preline(1), forward(1), bouncesaying(1), condredirect(1), except(1), ifspamh(1), qreceipt(1), qbiff(1), spamc(1),
spamassassin(1), vacation(1), qmail-autoresponder(1), and README.vdelivermail of vpopmail. A command with redirections,
variables, conditions or rules is none of them.
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass, field

from popbox.migrate.oldhost.dialects.text import address
from popbox.migrate.oldhost.model import MAILDIR, MBOX, Store
from popbox.migrate.oldhost.tree import OldHostError, OldHostTree, look, read_text

SHELL_ONLY = re.compile(r"[;<>&()|`$]+")
UNCOMMENTED = re.compile(r"""(?:(?:'[^']*'|"(?:\\.|[^"\\])*"|\\.|[^\s'"\\#])#*|\s(?!#))*""")
"""What is before a comment of the shell: a # that begins a word and is not quoted."""
HOME = re.compile(r"\$(?:\{HOME\}|HOME\b)|(?<!\S)~(?=/)")
DEFAULT = re.compile(r"\s*DEFAULT\s*=\s*[\"']?([^\"'\s#]+)[\"']?\s*(?:#.*)?")
TO = re.compile(r"\s*to\s+[\"']?([^\"'\s#|!]+)[\"']?\s*(?:#.*)?")
HARMLESS = re.compile(r"\s*(?:#.*|[A-Z_]+\s*=\s*[\"']?[^`|$]*(?:\$(?:HOME|DEFAULT|MAILDIR)[^`|$]*)*)?")
SILENT = re.compile(r"(?<!\s)(?:\s*(?:[12&]?>>?\s*/dev/null|2>&1))+\s*$")
"""Redirections at the end of a command that say nothing of mail."""
WITH_VALUE = {"procmail": ("-a", "-d"), "maildrop": ("-d", "-f", "-V", "-M", "-w"), "deliverquota": ("-w",)}
RULES = {"procmail": (b".procmailrc", b"/etc/procmailrc"), "maildrop": (b".mailfilter", b"/etc/maildroprc")}
WRAPPERS = ("preline", "exec", "nice", "ionice")
FILTERS = ("spamc", "spamassassin", "clamassassin", "formail", "reformail", "cat")
"""They give the message on, changed or not. Not so with an option of `OTHERWISE`."""
OTHERWISE = {
    "spamc": ("-c", "-e", "-r", "-R", "-L", "-C", "-K", "--check", "--pipe-to", "--reporttype"),
    "spamassassin": ("-r", "-k", "-D", "--report", "--revoke", "--lint"),
    "formail": ("-s", "-D"),
    "reformail": ("-s", "-D"),
    "cat": (),
}
BESIDE = ("condredirect", "except", "ifspamh", "qbiff", "qreceipt", "vacation", "qmail-autoresponder", "autorespond",
          "autoresponder")  # fmt: skip
"""They deliver nothing to the address itself: a condition, an answer, a note. The other lines of the file go on."""
NOTHING = ("true", ":")
STOP = 99  # Q-PROG-2: the lines below do not count; 0 is success
REFUSALS = (100, 64, 65, 70, 76, 77, 78, 112)  # Q-PROG-2, qmail-command(8): after any other code mail is tried again
SHELLS_OWN = 2  # of an `exit` that gives no number


@dataclass(slots=True)
class Meaning:
    """What a known command does. ``lost``: the programs of it that the new host does not run.

    ``ends``: later lines of the file do not count. ``refuses``: the sender has the mail back. ``defers``: it waits in
    the queue, and is tried again.
    """

    stores: list[Store] = field(default_factory=list)
    forwards: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    ends: bool = False
    refuses: bool = False
    defers: bool = False


def meaning(tree: OldHostTree, home: bytes, command: bytes) -> Meaning | None:
    """What a program line does with mail; None where it is not all known."""
    text = command.decode("latin-1")
    if (code := UNCOMMENTED.match(text)) and text[code.end() :].lstrip()[:1] in ("", "#"):
        text = code[0]
    if not text.strip():  # sh does nothing, and ends with 0
        return Meaning()
    stages = _stages(SILENT.sub("", text))
    if not stages or not all(stages):
        return None
    *before, (name, arguments) = [_unwrapped(words) for words in stages]
    if not all(_filters(one, given) for one, given in before):
        return None
    if name == "spamc" and (cut := next((i for i, word in enumerate(arguments) if word in ("-e", "--pipe-to")), None)):
        before.append((name, []))
        name, arguments = _unwrapped(arguments[cut + 1 :])
    elif name == "spamc" and arguments[:1] in (["-e"], ["--pipe-to"]):
        before.append((name, []))
        name, arguments = _unwrapped(arguments[1:])
    found = _last(tree, home, name, arguments)
    if found is not None:
        found.lost = [one for one, _ in before if one != "cat"] + found.lost
    return found


def _stages(text: str) -> list[list[str]]:
    """The words of each command of a pipeline; empty where the shell has anything else to do."""
    try:
        lexer = shlex.shlex(HOME.sub(".", text), posix=True, punctuation_chars=True)
        lexer.whitespace_split, lexer.commenters = True, ""
        words = list(lexer)
    except ValueError:
        return []
    stages: list[list[str]] = [[]]
    for word in words:
        if word == "|":
            stages.append([])
        elif SHELL_ONLY.search(word):
            return []
        else:
            stages[-1].append(word)
    return stages


def _unwrapped(words: list[str]) -> tuple[str, list[str]]:
    """Name and arguments of a command, without preline and the like before it."""
    while words and os.path.basename(words[0]) in WRAPPERS:
        valued = os.path.basename(words[0]) != "preline"
        words = words[1:]
        while words and words[0].startswith("-"):
            words = words[2:] if valued and words[0] in ("-n", "-c") else words[1:]
    return (os.path.basename(words[0]), words[1:]) if words else ("", [])


def _filters(name: str, arguments: list[str]) -> bool:
    return name in FILTERS and not any(word in OTHERWISE.get(name, ()) for word in arguments)


def _last(tree: OldHostTree, home: bytes, name: str, arguments: list[str]) -> Meaning | None:
    """The command that has the message in the end."""
    plain = _without_options(name, arguments)
    if name in NOTHING or _filters(name, arguments):  # what a filter writes is the log's
        return Meaning(lost=[name] if name in FILTERS else [])
    if name == "exit" and len(arguments) <= 1:
        return _ended(arguments[0] if arguments else "0")
    if name == "false":
        return Meaning(defers=True)
    if name == "bouncesaying" and arguments:
        return Meaning(refuses=True) if len(arguments) == 1 else Meaning(lost=[name])
    if name in BESIDE:
        return Meaning(lost=[name])
    if name == "forward" and arguments:
        targets = [address(word.encode("latin-1")) for word in arguments]
        return Meaning(forwards=[one for one in targets if one]) if all(targets) else None
    store: Store | str | None = None
    if name == "deliverquota" and plain:
        store = Store(MAILDIR, _path(home, plain[0]))
    elif name == "safecat" and len(plain) == 2 and plain[1].rstrip("/").endswith("/new"):
        store = Store(MAILDIR, os.path.dirname(_path(home, plain[1])))
    elif name == "vdelivermail" and len(plain) == 2:
        return _vdelivermail(plain[1])
    elif name in RULES:
        store = _filtered(tree, home, name, plain)
    return Meaning([store], lost=["quota"] if name == "deliverquota" else []) if isinstance(store, Store) else None


def _ended(code: str) -> Meaning | None:
    """``exit CODE`` (Q-PROG-2); None where shells differ."""
    number = int(code) if code.isdecimal() else SHELLS_OWN
    if number > 255:
        return None
    return Meaning(ends=number == STOP, refuses=number in REFUSALS, defers=number not in (0, STOP, *REFUSALS))


def _without_options(name: str, arguments: list[str]) -> list[str]:
    plain, given = [], iter(arguments)
    for word in given:
        if word in WITH_VALUE.get(name, ()):
            next(given, None)
        elif not word.startswith("-") or word == "-":
            plain.append(word)
    return plain


def _path(home: bytes, written: str) -> bytes:
    return os.path.normpath(os.path.join(home, written.replace("$HOME", ".").encode("latin-1")))


def _vdelivermail(last: str) -> Meaning | None:
    if last.startswith("/"):
        return Meaning([Store(MAILDIR, last.rstrip("/").removesuffix("/Maildir").encode("latin-1") + b"/Maildir")])
    target = address(last.encode("latin-1"))
    return Meaning(forwards=[target]) if target else None


def _filtered(tree: OldHostTree, home: bytes, name: str, plain: list[str]) -> Store | None:
    """The default of procmail or maildrop; None where a filter file has rules, or no file says the default."""
    target = next((found[1] for word in plain if (found := DEFAULT.fullmatch(word))), "")
    given = [_path(home, word) for word in plain if "=" not in word]
    own, common = RULES[name]
    for path in [common, *(given or [home + b"/" + own])]:
        try:
            text = (read_text(tree, look(tree, path)[0]) or b"").decode("latin-1")
        except OldHostError:
            return None
        for line in text.splitlines():
            if found := DEFAULT.fullmatch(line) or (TO.fullmatch(line) if name == "maildrop" else None):
                target = found[1].replace("$DEFAULT", target)
            elif not HARMLESS.fullmatch(line):
                return None
    if not target:
        return None
    path = _path(home, target)
    _, entry = look(tree, path)
    folder = target.endswith("/") or (name == "maildrop" and entry is not None and entry.kind == "directory")
    return Store(MAILDIR if folder else MBOX, path)
