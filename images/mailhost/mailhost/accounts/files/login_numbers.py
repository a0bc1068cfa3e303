"""Numbered POP3 logins by the HOWTO's three schemes; a number given once is never given again.

users/logins remembers: one line ``policy jb0001`` and, for each stem, ``last <stem> <number>``. A login that a person
chose by hand, and one that was deleted, count too where they look like a numbered one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from mailhost.accounts.errors import InputError

FILE = "logins"
POLICIES = {
    "jb0001": "two letters of the person's or company's name and four digits; the HOWTO's author's way",
    "pop1": "pop and a number",
    "pop00001": "pop and five digits",
}
DEFAULT_POLICY = "jb0001"
_NUMBERED = re.compile(r"([a-z]{2,3})([0-9]{1,9})\Z")


@dataclass(slots=True)
class Logins:
    """The policy of this host and the last number of each stem; ``stored`` is the policy the file names, if any."""

    stored: str | None = None
    last: dict[str, int] = field(default_factory=dict)
    changed: bool = False

    @property
    def policy(self) -> str:
        """The policy in force."""
        return self.stored or DEFAULT_POLICY

    def choose(self, policy: str) -> None:
        """Set the host's policy.

        Raises:
            InputError: it is none of the three.
        """
        if policy not in POLICIES:
            raise InputError(f"must be one of {', '.join(POLICIES)}", field=f"login policy {policy!r}")
        self.changed |= policy != self.stored
        self.stored = policy

    def next(self, local: str, domain: str, name: str = "") -> str:
        """The next login; ``name`` (a person or company) gives the letters before the address does."""
        stem = "pop" if self.policy.startswith("pop") else letters(name) or letters(local) or letters(domain) or "xx"
        number = self.last.get(stem, 0) + 1
        self.last[stem], self.changed = number, True
        # Four or five digits are the least: our choice, because refusing the ten-thousandth box helps no one.
        width = {"jb0001": 4, "pop1": 1, "pop00001": 5}[self.policy]
        return stem + str(number).zfill(width)

    def seen(self, login: str) -> None:
        """Remember a login that is or was in use, so that its number is not given to another box."""
        numbered = _NUMBERED.match(login)
        if numbered and int(numbered[2]) > self.last.get(numbered[1], 0):
            self.last[numbered[1]], self.changed = int(numbered[2]), True

    def render(self) -> bytes:
        """The text of users/logins."""
        policy = [f"policy {self.stored}\n"] if self.stored else []
        return "".join([*policy, *(f"last {stem} {number}\n" for stem, number in sorted(self.last.items()))]).encode()


def letters(name: str) -> str:
    """Two letters of a name: the initials of its first and last word, else its first two; empty for fewer than two."""
    words: list[str] = re.findall(r"[a-z]+", name.lower())
    if len(words) > 1:
        return words[0][0] + words[-1][0]
    return words[0][:2] if words and len(words[0]) > 1 else ""


def parse(text: bytes | None, file: str) -> Logins:
    """Read users/logins; None (no file) is the default policy and no numbers given yet.

    Raises:
        InputError: a line that is neither.
    """
    logins = Logins()
    for number, line in enumerate((text or b"").decode("ascii", "replace").splitlines(), start=1):
        match line.split():
            case ["policy", policy] if policy in POLICIES:
                logins.stored = policy
            case ["last", stem, count] if count.isascii() and count.isdigit():
                logins.last[stem] = int(count)
            case []:
                continue
            case _:
                raise InputError("is neither `policy NAME` nor `last STEM NUMBER`", file=file, line=number)
    return logins
