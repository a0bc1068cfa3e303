"""An mbox that comes once and is read twice: surveyed while a copy of it is made, then split from the copy."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO

from popbox.migrate.oldhost.mboxes.split import Split
from popbox.migrate.oldhost.mboxes.survey import BY_THE_FILE, Choice, Reading, survey

SMALL_OCTETS = 4 << 20  # our choice: a smaller mbox is held in memory
CHUNK_OCTETS = 256 << 10


@contextmanager
def opened(
    body: Iterable[bytes], choice: Choice = BY_THE_FILE, beside: str | None = None
) -> Iterator[tuple[Reading, Split]]:
    """How it is read, and its messages; ``beside``: the directory for the copy, which needs as much room as the file.

    Both passes see the same octets, whatever the old host does to the file.

    Raises:
        OldHostError: the file is no mbox, or cannot be read.
        OSError: the copy cannot be written.
    """
    with tempfile.SpooledTemporaryFile(SMALL_OCTETS, dir=beside) as copy:
        reading = survey(_kept(body, copy), choice)
        copy.seek(0)
        yield reading, Split(iter(lambda: copy.read(CHUNK_OCTETS), b""), reading)


def _kept(body: Iterable[bytes], copy: IO[bytes]) -> Iterator[bytes]:
    for chunk in body:
        copy.write(chunk)
        yield chunk
