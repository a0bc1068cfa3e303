"""What can go wrong in a move, done to one box of the new host: each returns the UIDL that a report has to name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.popbox.migrate.houses import NOW, own


def files(home: Path) -> list[Path]:
    """The messages of a box, by mtime."""
    found = [path for part in ("new", "cur") for path in (home / "Maildir" / part).iterdir()]
    return sorted(found, key=lambda path: path.stat().st_mtime)


def uidl(path: Path) -> str:
    """What both of our profiles and qmail-pop3d give for a file (Q-POP3-9)."""
    return path.name.partition(":")[0]


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> str:
    """Change a file's octets, keeping name and mtime."""
    stat = path.stat()
    path.write_bytes(change(path.read_bytes()))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    return uidl(path)


def lost(home: Path, random: Random) -> str:
    path = random.choice(files(home))
    path.unlink()
    return uidl(path)


def doubled(home: Path, random: Random) -> str:
    path = random.choice(files(home))
    twin = path.with_name(f"{NOW + 20_000}.twin.new.example")
    shutil.copy2(path, twin)
    os.utime(twin, (NOW + 500, NOW + 500))
    own(twin)
    return uidl(twin)


def truncated(home: Path, random: Random) -> str:
    return rewrite(
        random.choice(files(home)), lambda octets: octets[: octets.index(b"\n\n") + 2 + random.randrange(40)]
    )


def reordered(home: Path, random: Random) -> str:
    """One message gets the time of its copying, as ``cp`` without ``-p`` does."""
    path = random.choice(files(home)[:-1])
    os.utime(path, (NOW + 9_000, NOW + 9_000))
    return uidl(path)


def encoded(home: Path, random: Random) -> str:
    """As a gateway without 8BITMIME does."""
    header = b"Content-Transfer-Encoding: quoted-printable\n\n"
    return rewrite(
        random.choice(files(home)),
        lambda text: text.replace(b"\n\n", b"\n" + header, 1).replace(b"number", b"n=75mber"),
    )


def one_octet(home: Path, random: Random) -> str:
    path = random.choice(files(home))
    at = random.randrange(path.stat().st_size)
    return rewrite(path, lambda text: text[:at] + (b"#" if text[at : at + 1] != b"#" else b"+") + text[at + 1 :])


def renamed(home: Path, random: Random) -> str:
    path = random.choice(files(home))
    path.rename(path.with_name(f"{NOW + 30_000}.renamed.new.example"))
    return uidl(path)


DAMAGES: dict[str, tuple[Callable[[Path, Random], str], str, set[str]]] = {
    "lost": (lost, "missing", {"uidl", "content"}),
    "doubled": (doubled, "doubled", {"uidl", "content"}),
    "truncated": (truncated, "changed", {"sizes", "content"}),
    "reordered": (reordered, "reordered", {"order"}),
    "encoded": (encoded, "changed", {"sizes", "content"}),
    "one octet": (one_octet, "changed", {"content"}),
    "renamed": (renamed, "uidl", {"uidl"}),
}
"""Name -> how, the kind of finding it must give, and the verdicts that must be different, and no others."""
