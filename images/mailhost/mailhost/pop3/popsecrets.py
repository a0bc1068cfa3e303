"""users/popsecrets: what APOP and SCRAM need beside a crypt hash, ``login:apop:SECRET`` or ``login:scram:VERIFIER``.

The file is optional and small: only boxes whose client insists on such a login stand in it. An APOP secret is a
password in the clear (RFC 1939 §7 leaves no choice), so the file belongs to root and the POP3 side alone.
"""

from __future__ import annotations

import os
from pathlib import Path

KINDS = (b"apop", b"scram")


class SecretsFile:
    """Read again whenever it has changed; a missing file holds nothing."""

    def __init__(self, path: Path) -> None:
        self._path = os.fspath(path)
        self._key: tuple[int, int, int] | None = None
        self._secrets: dict[tuple[bytes, bytes], bytes] = {}

    def get(self, login: bytes, kind: bytes) -> bytes | None:
        """The secret of one login, or None.

        Raises:
            OSError: the file is there and cannot be read.
        """
        self._refresh()
        return self._secrets.get((login, kind))

    def holds(self, kind: bytes) -> bool:
        """Whether any login has a secret of this kind.

        Raises:
            OSError: the file is there and cannot be read.
        """
        self._refresh()
        return any(key[1] == kind for key in self._secrets)

    def _refresh(self) -> None:
        try:
            found = os.stat(self._path)  # noqa: PTH116 - once a login
        except FileNotFoundError:
            self._key, self._secrets = None, {}
            return
        key = found.st_ino, found.st_mtime_ns, found.st_size
        if key != self._key:
            self._secrets = parse(Path(self._path).read_bytes())
            self._key = key


def parse(text: bytes) -> dict[tuple[bytes, bytes], bytes]:
    """(login, kind) -> secret; the first of two equal lines counts, lines of another form are skipped."""
    secrets: dict[tuple[bytes, bytes], bytes] = {}
    for line in text.split(b"\n"):
        fields = line.split(b":", 2)
        if len(fields) == 3 and not line.startswith(b"#") and fields[1] in KINDS and fields[2]:
            secrets.setdefault((fields[0], fields[1]), fields[2])
    return secrets
