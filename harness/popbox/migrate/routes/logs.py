"""Recipients in the logs of qmail-send: ``starting delivery D: msg N to local ADDR`` and ``... to remote ADDR``.

Before the text may stand what multilog, splogger or journald put there. A local address is the rewritten one
(Q-SEND-17, Q-HDR-5): in a virtual domain it begins with the prefix, which is cut off as qmail-send does for a bounce.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from popbox.errors import UnusableError
from popbox.reading import opened

MOST_OCTETS = 1 << 40  # our choice: a log is read a line at a time
STARTING = re.compile(rb"starting delivery \d+: msg \d+ to (local|remote) (\S+@?\S*)\s*$")


def recipients(lines: Iterable[bytes], prefixes: Mapping[bytes, bytes]) -> Iterator[tuple[str, bytes]]:
    """(``log`` or ``relayed``, address) of each delivery. ``prefixes``: virtual domain -> its prefix, lower case.

    ``relayed`` went out to another host: whether qmail-smtpd takes it from anyone says nothing.
    """
    for line in lines:
        found = STARTING.search(line)
        if found is None:
            continue
        channel, address = found.groups()
        if channel == b"remote":
            yield "relayed", address
            continue
        local, _, host = address.rpartition(b"@")
        prefix = _prefix(host.lower(), prefixes)
        if prefix and local.lower().startswith(prefix + b"-"):
            address = local[len(prefix) + 1 :] + b"@" + host
        yield "log", address


def _prefix(host: bytes, prefixes: Mapping[bytes, bytes]) -> bytes:
    """Of the domain itself, else of its longest ``.suffix``, else of the empty key (Q-VDOM-1)."""
    keys = [host[at:] for at in range(len(host)) if at == 0 or host[at : at + 1] == b"."]
    return next((prefixes[key] for key in (*keys, b"") if key in prefixes), b"")


def lines_of(file: Path) -> Iterator[bytes]:
    """The lines of a log, ``.gz`` too.

    Raises:
        UnusableError: it cannot be read.
    """
    try:
        with opened(file, MOST_OCTETS) as octets, gzip.open(octets) if file.suffix == ".gz" else octets as lines:
            yield from lines
    except OSError as error:
        raise UnusableError(f"{file}: cannot be read: {error.strerror or error}") from error
    except EOFError as error:
        raise UnusableError(f"{file}: cannot be read: {error}") from error
