"""users/popsecrets: what APOP and SCRAM need beside a crypt hash, ``login:apop:SECRET`` or ``login:scram:VERIFIER``.

The file is optional and small: only boxes whose client insists on such a login stand in it. An APOP secret is a
password in the clear (RFC 1939 §7 leaves no choice), so the file belongs to root and the POP3 side alone.

users/scramkey, made by ``mailhost init``: random octets from which the verifiers of logins without one are made up, so
that they are the same in all workers and after every restart. Where there is none the text of users/popsecrets takes
its place: then they change with each change of that file, and who asks before and after can tell them from real ones.
"""

from __future__ import annotations

import collections
import hashlib
import os
from pathlib import Path

from mailhost.pop3.protocol import scram

KINDS = (b"apop", b"scram")
KEY_OCTETS = 256
"""What is read of users/scramkey; ``init`` writes 64 hexadecimal digits."""


class SecretsFile:
    """Read again whenever it has changed; a missing file holds nothing."""

    def __init__(self, users: Path) -> None:
        """``users`` is the directory that holds it."""
        self._path, self._scramkey = os.fspath(users / "popsecrets"), os.fspath(users / "scramkey")
        self._key: tuple[int, int, int] | None = None
        self._secrets: dict[tuple[bytes, bytes], bytes] = {}
        self._digest = b""
        self._shapes: collections.Counter[scram.Shape] = collections.Counter()

    def get(self, login: bytes, kind: bytes) -> bytes | None:
        """The secret of one login, or None.

        Raises:
            OSError: the file is there and cannot be read.
        """
        self._refresh()
        return self._secrets.get((login, kind))

    def scram(self, login: bytes) -> bytes:
        """The SCRAM verifier of one login, or one made up, so that the answer does not tell which logins exist.

        Raises:
            OSError: a file is there and cannot be read.
        """
        stored = self.get(login, b"scram")
        made_up = scram.made_up(
            login, self._secret(), self._shapes
        )  # also where it is not needed: it takes as long then
        return made_up if stored is None or scram.parse(stored) is None else stored

    def _secret(self) -> bytes:
        try:
            with open(self._scramkey, "rb") as file:
                return file.read(KEY_OCTETS) or self._digest
        except FileNotFoundError:
            return self._digest

    def holds(self, kind: bytes) -> bool:
        """Whether any login has a secret of this kind.

        Raises:
            OSError: the file is there and cannot be read.
        """
        self._refresh()
        return any(key[1] == kind for key in self._secrets)

    def _refresh(self) -> None:
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            self._key, self._secrets, self._digest = None, {}, b""
            self._shapes.clear()
            return
        key = found.st_ino, found.st_mtime_ns, found.st_size
        if key != self._key:
            text = Path(self._path).read_bytes()
            self._secrets, self._digest = parse(text), hashlib.sha256(text).digest()
            verifiers = (scram.parse(text) for (_, kind), text in self._secrets.items() if kind == b"scram")
            self._shapes = collections.Counter((v.iterations, len(v.salt)) for v in verifiers if v is not None)
            self._key = key


def parse(text: bytes) -> dict[tuple[bytes, bytes], bytes]:
    """(login, kind) -> secret; the first of two equal lines counts, lines of another form are skipped."""
    secrets: dict[tuple[bytes, bytes], bytes] = {}
    for line in text.split(b"\n"):
        fields = line.split(b":", 2)
        if len(fields) == 3 and not line.startswith(b"#") and fields[1] in KINDS and fields[2]:
            secrets.setdefault((fields[0], fields[1]), fields[2])
    return secrets
