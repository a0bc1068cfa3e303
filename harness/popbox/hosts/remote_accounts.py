"""What a run changes in the accounts of a host that is not ours, and how it undoes that.

It removes only what came since the run began *and* was named by the run's own commands. What others make on the server
during the run stays.
"""

from __future__ import annotations

import re
import threading
import tomllib
from collections.abc import Callable, Iterator
from typing import Any

from popbox.errors import HostError
from popbox.hosts.base import Ran
from popbox.scenario.names import HOWTO_HASH, HOWTO_PASSWORD

Run = Callable[..., Ran]
Domains = dict[str, dict[str, Any]]
READS = ("accounts", "explain", "export", "plan", "lint", "governed", "queue", "mkpasswd", "--version", "--help")
LOOKS = ("list", "show")
KINDS = {"mailboxes": "mailbox", "forwards": "forward"}
KNOWN = (HOWTO_HASH, HOWTO_PASSWORD)


class Changes:
    """The changes of one run. ``run`` runs ``mailhost`` there."""

    def __init__(self, run: Run) -> None:
        """Nothing has been changed yet."""
        self._run, self._lock = run, threading.Lock()
        self._before: Domains | None = None
        self._words = ""

    def note(self, argv: tuple[str, ...], stdin: bytes) -> None:
        """Take note of a command before it runs.

        Raises:
            HostError: it may not run on this host, or the host's accounts cannot be read.
        """
        if argv[0] in READS or (len(argv) > 1 and argv[1] in LOOKS):
            return
        words = "\n".join([*argv, stdin.decode(errors="replace")])
        if any(known in words for known in KNOWN):
            raise HostError("host remote is not ours: it gets no login whose password is the HOWTO's, which all know")
        with self._lock:
            if self._before is None:
                self._before = self._domains()
            if argv[0] == "apply":
                self._refuse_theirs(stdin)
            self._words += f"\n{words}"

    def _refuse_theirs(self, stdin: bytes) -> None:
        """A table of accounts would give a box that was there before the run another password."""
        for domain, wanted in tomllib.loads(stdin.decode()).get("domains", {}).items():
            there = (self._before or {}).get(domain, {})
            theirs = [one for kind in KINDS for one in there.get(kind, {}) if one in wanted.get(kind, {})]
            theirs += ["its catch-all"] if "catchall" in wanted and wanted["catchall"] != there.get("catchall") else []
            if there and theirs:
                raise HostError(f"host remote is not ours: {domain} was there before, with {', '.join(theirs)}")

    def _domains(self) -> Domains:
        ran = self._run("export")
        try:
            if ran.code == 0:
                domains: Domains = tomllib.loads(ran.stdout).get("domains", {})
                return domains
        except tomllib.TOMLDecodeError:
            pass
        said = f"it ended with {ran.code}: {ran.stderr.strip()}"
        raise HostError(f"what accounts host remote has cannot be asked by `mailhost export` ({said})")

    def take_back(self) -> Iterator[str]:
        """Undo the changes; yields a line for each that was undone and for each that is left, which is no error."""
        with self._lock:
            before, self._before = self._before, None
        if before is None:
            return
        try:
            after = self._domains()
        except HostError as error:
            yield f"what this run declared is left on host remote: {error}"
            return
        for domain, now in after.items():
            if domain in before:
                yield from self._boxes(domain, before[domain], now)
            elif self._named(domain):
                others = [one for kind in KINDS for one in now.get(kind, {}) if not self._named(one)]
                if others:
                    yield f"left on host remote: domain {domain}, in which others have made {', '.join(others)}"
                    yield from self._boxes(domain, {}, now)
                else:
                    yield self._gone(f"domain {domain}", "domain", "del", domain)
        for domain in before.keys() - after.keys():
            yield f"left on host remote: domain {domain} was there before this run and is gone"

    def _boxes(self, domain: str, before: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
        for kind, noun in KINDS.items():
            old, new = before.get(kind, {}), now.get(kind, {})
            for local in new.keys() - old.keys():
                if self._named(local):
                    yield self._gone(f"{noun} {local}@{domain}", noun, "del", f"{local}@{domain}")
            for local in old:
                if old[local] != new.get(local) and self._named(local):
                    how = "changed" if local in new else "taken away"
                    yield f"left on host remote: {noun} {local}@{domain} was there before this run and is {how}"
        if before and before.get("catchall") != now.get("catchall"):
            yield f"left on host remote: the catch-all of {domain} is changed"

    def _named(self, word: str) -> bool:
        return re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", self._words) is not None

    def _gone(self, what: str, *argv: str) -> str:
        try:
            ran = self._run(*argv)
        except HostError as error:
            return f"left on host remote: {what}: {error}"
        if ran.code:
            return (
                f"left on host remote: {what}: `mailhost {' '.join(argv)}` ended with {ran.code}: {ran.stderr.strip()}"
            )
        return f"taken back from host remote: {what}; its mail, if any, is in popboxes/.removed"
