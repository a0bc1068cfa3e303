"""Which words of a conversation are a password, so that no transcript shows them: POP3 and SMTP, line by line. Pure.

PASS, and what a client says for AUTH. APOP, CRAM-MD5 and SCRAM send no password but a proof of one, and stay readable.
"""

from __future__ import annotations

import re

MASK = "********"
_PASS = re.compile(r"(\s*PASS\s+)(.+)", re.IGNORECASE | re.DOTALL)
_AUTH = re.compile(r"(\s*AUTH +(\S+))(?:( +)(.+))?", re.IGNORECASE | re.DOTALL)
_PROOFS = ("SCRAM-", "CRAM-", "DIGEST-")
_NOTHING_SAID = ("=", "*")  # an empty initial response (RFC 4954 §4), an exchange that the client cancels


def masked(command: str) -> str:
    """A command with ``MASK`` in the place of a password; one without stays as it is."""
    shown, _ = _parted(command)
    return shown


def _parted(command: str) -> tuple[str, str]:
    """What to show of a command, and the secret in it, empty for none."""
    if found := _PASS.fullmatch(command):
        return found[1] + MASK, found[2]
    found = _AUTH.fullmatch(command)
    if found and found[4] and found[4] not in _NOTHING_SAID and not found[2].upper().startswith(_PROOFS):
        return found[1] + found[3] + MASK, found[4]
    return command, ""


class Secrets:
    """One conversation. Tell it each line in order."""

    def __init__(self) -> None:
        self._pop3 = self._content = self._continued = self._asked = False
        self._proof = False  # the exchange that runs sends no password
        self._known: list[str] = []

    def sent(self, line: str) -> tuple[str, str]:
        """What to show of a client's line, and the secret in it, empty for none."""
        if self._content:
            self._content = line != "."
            return line, ""
        if self._continued and not self._proof and line not in _NOTHING_SAID and line:
            shown, secret = MASK, line
        else:
            shown, secret = _parted(line)
        if mechanism := _AUTH.fullmatch(line):
            self._proof = mechanism[2].upper().startswith(_PROOFS)
        self._continued, self._asked = False, bool(secret)
        if secret:
            self._known.append(secret)
        return shown, secret

    def heard(self, line: str) -> str:
        """What to show of a server's line: some repeat in their reply what they were sent."""
        self._pop3 |= line.startswith(("+OK", "-ERR"))
        self._content = line.startswith("354") and not self._pop3
        self._continued = line.startswith("334") if not self._pop3 else line == "+" or line.startswith("+ ")
        if not self._asked and not line.startswith("-ERR" if self._pop3 else ("4", "5")):
            return line
        self._asked = False
        status, blank, text = line.partition(" ")
        for secret in self._known:
            text = text.replace(secret, MASK)
        return status + blank + text
