"""What an old host's logins open and its addresses do, read from the tree by rules written here, and not by popbox.

Sinks of an address: ``("store", PATH)``, ``("remote", ADDRESS)``, ``("else", "")`` for programs and comments. An
address that bounces or is deferred has None. Facts: Q-LSP-4, Q-GETPW-1, Q-DOT-1, -2, -6, Q-LINE-1 to -5, Q-PROG-2,
E-52; vdelivermail.c of vpopmail.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path

Sink = tuple[str, str]
PROGRAMS: dict[str, Sink | str] = {
    "spamc | deliverquota ./Maildir": ("store", "./Maildir"),
    "forward z@elsewhere.example": ("remote", "z@elsewhere.example"),
    "bouncesaying gone": "refuse",
    "exit 99": "stop",
    "true": "nothing",
    "condredirect x@elsewhere.example test": "nothing",
    "preline -f procmail": ("else", ""),
    "unknown": ("else", ""),
}
VDELIVERMAIL = re.compile(r"\s*/home/vpopmail/bin/vdelivermail '' (\S+)")


class Oracle:
    """One tree."""

    def __init__(self, root: Path, local: str) -> None:
        self.root, self.me = root, local
        self.virtual = dict(line.split(":", 1) for line in self.lines("/var/qmail/control/virtualdomains"))
        rows = [line.split(":") for line in self.lines("/var/qmail/users/assign") if line[:1] in "=+"]
        self.rows = [row for row in rows if len(row) == 8]
        passwd = [line.split(":") for line in self.lines("/etc/passwd")]
        self.people = {row[0]: row[5] for row in passwd if row[2] != "0" and self.at(row[5]).is_dir()}

    def at(self, path: str) -> Path:
        """Where a path of the old host is here; its links are followed within."""
        here = self.root / path.lstrip("/")
        for _ in range(9):
            real = next((p for p in (here, *here.parents) if p != self.root and p.is_symlink()), None)
            if real is None or self.root not in real.parents:
                break
            target = str(real.readlink())
            start = self.root if target.startswith("/") else real.parent
            here = Path(os.path.normpath(start / target.lstrip("/") / here.relative_to(real)))
        return here

    def lines(self, path: str) -> list[str]:
        """Of a text file; none where there is no file."""
        file = self.at(path)
        return file.read_bytes().decode("latin-1").splitlines() if file.is_file() else []

    def logins(self) -> dict[str, list[str]]:
        """Login -> its mailboxes: more than one where no file says which the server shows."""
        found: dict[str, list[str]] = {}
        for path in ("/var/qmail/users/poppasswd", "/etc/poppasswd"):
            for row in (line.split(":") for line in self.lines(path)):
                found.setdefault(row[0], [f"{row[3]}/Maildir"])
        for domain in self.virtual:
            for row in (line.split(":") for line in self.lines(f"/home/vpopmail/domains/{domain}/vpasswd")):
                found.setdefault(f"{row[0]}@{domain}", [f"{row[5]}/Maildir"])
        return found or {name: self.places(name) for name in self.people}

    def places(self, name: str) -> list[str]:
        """Where a system account's mail can lie."""
        spool = os.fsdecode(name.encode("latin-1"))
        home = self.people[name]
        return [f"{home}/Maildir", f"{home}/Mailbox", f"/var/spool/mail/{spool}", f"/var/mail/{spool}"]

    def messages(self, path: str) -> set[bytes]:
        """The numbers of the messages in a Maildir or an mbox."""
        here = self.at(path)
        parts = [here / part for part in ("new", "cur") if (here / part).is_dir()]
        files = [file for part in parts for file in part.iterdir()] if here.is_dir() else [here]
        texts = [file.read_bytes() for file in files if file.is_file() and not file.is_symlink()]
        return {number for text in texts for number in re.findall(rb"^this is message (\d+)\.$", text, re.M)}

    def sinks(self, local: str, domain: str, depth: int = 0) -> set[Sink] | None:
        """Where mail for an address ends."""
        if depth > 5:
            return None
        if domain == self.me:
            whole = local
        elif domain in self.virtual:
            whole = f"{self.virtual[domain]}-{local}"
        else:
            return {("remote", f"{local}@{domain}")}
        found = self._owner(whole.lower(), whole)
        if found is None:
            return None
        home, dash, ext, user = found
        lines = self._file(home, dash, ext)
        if lines is None:
            return None if dash else {("store", f"{home}/Mailbox")}
        return self._lines(lines, home, local, domain, depth, user=user)

    def _owner(self, lower: str, whole: str) -> tuple[str, str, str, str] | None:
        exact = next((row for row in self.rows if row[0].lower() == f"={lower}"), None)  # Q-ASSIGN-9
        wild = [row for row in self.rows if row[0][0] == "+" and lower.startswith(row[0][1:].lower())]
        if exact is not None:
            home, dash, ext, user = exact[4], exact[5], exact[6], ""
        elif wild:
            row = max(wild, key=lambda row: len(row[0]))
            home, dash, ext, user = row[4], row[5], row[6] + whole[len(row[0]) - 1 :], ""
        else:
            ends = [len(lower), *(end for end in range(len(lower) - 1, 0, -1) if lower[end] == "-")]
            end = next((end for end in ends if end < 32 and lower[:end] in self.people), None)
            alias = ("/var/qmail/alias", "-", whole, "")
            if end is None and lower.startswith("alias-"):
                alias = ("/var/qmail/alias", "-", whole[6:], "")
            if end is None:
                return alias
            user = lower if end == len(lower) else ""
            home, dash, ext = self.people[lower[:end]], "" if user else "-", whole[end + 1 :]
        return (home, dash, ext, user) if home.startswith("/") and self.at(home).is_dir() else None

    def _file(self, home: str, dash: str, ext: str) -> list[str] | None:
        safe = ext.lower().replace(".", ":")
        ends = [end for end in range(len(safe), -1, -1) if end == 0 or safe[end - 1] == "-"]
        for name in [f".qmail{dash}{safe}", *(f".qmail{dash}{safe[:end]}default" for end in ends)]:
            if self.at(f"{home}/{name}").is_file():
                return self.lines(f"{home}/{name}")
        return None

    def _lines(
        self, lines: list[str], home: str, local: str, domain: str, depth: int, user: str = ""
    ) -> set[Sink] | None:
        if not lines:
            return {("store", f"{home}/Mailbox")}
        if not lines[0].strip(" \t"):
            return None
        sinks: set[Sink] = set()
        forwards: set[Sink] = set()
        bad = False
        for line in (line.rstrip(" \t") for line in lines):
            told = PROGRAMS.get(line[1:].strip()) if line[:1] == "|" else None
            call = VDELIVERMAIL.fullmatch(line[1:]) if line[:1] == "|" else None
            if told == "stop":
                break
            if told == "refuse" or line == "/dev/null" or line == "./Maildir":
                forwards.clear()
                bad = True
                break
            if call:
                sinks |= self._vdelivermail(call[1], home, local, domain, depth) or set()
            elif isinstance(told, tuple):
                sinks.add((told[0], posixpath.normpath(f"{home}/{told[1]}") if told[0] == "store" else told[1]))
            elif line[:1] in (".", "/"):
                sinks.add(("store", posixpath.normpath(posixpath.join(home, line))))
            elif line[:1] == "&" and "@" in line:
                forwards |= self.sinks(*line[1:].rsplit("@", 1), depth + 1) or set()
        if user and (("else", "") in sinks or not (sinks | forwards or bad)):
            sinks.add(("else", ""))
        comments = not sinks and not forwards and not bad and all(line[:1] in ("", "#") for line in lines)
        return sinks | forwards or ({("else", "")} if comments else None)

    def _vdelivermail(self, last: str, home: str, local: str, domain: str, depth: int) -> set[Sink] | None:
        own = f"{home}/{local.lower()}"
        users = {line.split(":")[0] for line in self.lines(f"{home}/vpasswd")}
        if local.lower() in users:
            lines = [line for line in self.lines(f"{own}/.qmail") if line[:1] not in "./" or line.endswith("/")]
            if lines:  # vdelivermail delivers to no mbox
                return self._lines(lines, own, local, domain, depth)
            return {("store", f"{own}/Maildir")}
        if last == "delete":
            return {("else", "")}
        if last.startswith("/"):
            lines = self.lines(f"{last}/.qmail")
            return self._lines(lines, last, local, domain, depth) if lines else {("store", f"{last}/Maildir")}
        return None if last == "bounce-no-mailbox" else self.sinks(*last.rsplit("@", 1), depth + 1)
