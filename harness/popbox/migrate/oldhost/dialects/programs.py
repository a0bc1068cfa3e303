"""Programs in .qmail files that only deliver: deliverquota, vdelivermail, safecat, and procmail or maildrop's default.

From their man pages: deliverquota(8), maildrop(1), maildropfilter(7), procmail(1), procmailrc(5), safecat(1),
preline(1). A command with anything else in it (conditions, redirections, rules) is none of them.
"""

from __future__ import annotations

import os
import re
import shlex

from popbox.migrate.oldhost.dialects.text import address
from popbox.migrate.oldhost.model import MAILDIR, MBOX, Store
from popbox.migrate.oldhost.tree import OldHostError, OldHostTree, look, read_text

SHELL_ONLY = re.compile(r"[;<>&()|`$]+")
DEFAULT = re.compile(r"\s*DEFAULT\s*=\s*[\"']?([^\"'\s#]+)[\"']?\s*(?:#.*)?")
TO = re.compile(r"\s*to\s+[\"']?([^\"'\s#|!]+)[\"']?\s*(?:#.*)?")
HARMLESS = re.compile(r"\s*(?:#.*|[A-Z_]+\s*=\s*[\"']?[^`|$]*(?:\$(?:HOME|DEFAULT|MAILDIR)[^`|$]*)*)?")
WITH_VALUE = {"procmail": ("-a", "-d"), "maildrop": ("-d", "-f", "-V", "-M", "-w"), "deliverquota": ("-w",)}
FILTERS = {"procmail": (b".procmailrc", b"/etc/procmailrc"), "maildrop": (b".mailfilter", b"/etc/maildroprc")}


def delivers(tree: OldHostTree, home: bytes, command: bytes) -> Store | str | None:
    """Where a program line takes the mail: a store, an address, or None where it is none of the known programs."""
    words = _words(command.decode("latin-1"))
    if words and os.path.basename(words[0]) == "preline":
        words = words[1:]
        while words and words[0].startswith("-"):
            words = words[1:]
    if not words:
        return None
    name, arguments = os.path.basename(words[0]), words[1:]
    plain = _without_options(name, arguments)
    if name == "deliverquota" and plain:
        return Store(MAILDIR, _path(home, plain[0]))
    if name == "safecat" and len(plain) == 2 and plain[1].rstrip("/").endswith("/new"):
        return Store(MAILDIR, os.path.dirname(_path(home, plain[1])))
    if name == "vdelivermail" and len(plain) == 2:
        return _vdelivermail(plain[1])
    if name in FILTERS:
        return _filtered(tree, home, name, plain)
    return None


def _words(text: str) -> list[str]:
    """The words of a command without anything of the shell's; empty where there is something."""
    try:
        lexer = shlex.shlex(text.replace("$HOME", "."), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words = list(lexer)
    except ValueError:
        return []
    return [] if any(SHELL_ONLY.search(word) for word in words) else words


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


def _vdelivermail(last: str) -> Store | str | None:
    if last.startswith("/"):
        return Store(MAILDIR, last.rstrip("/").removesuffix("/Maildir").encode("latin-1") + b"/Maildir")
    return address(last.encode("latin-1"))


def _filtered(tree: OldHostTree, home: bytes, name: str, plain: list[str]) -> Store | None:
    """The default of procmail or maildrop; None where a filter file has rules, or no file says the default."""
    target = next((found[1] for word in plain if (found := DEFAULT.fullmatch(word))), "")
    given = [_path(home, word) for word in plain if "=" not in word]
    own, common = FILTERS[name]
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
