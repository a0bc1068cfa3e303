"""What `mailhost follow` shows to monitoring: the state of accounts.toml, the volumes and the certificate.

It is the one process of the SMTP side that may read all of them; ``maillog`` puts the file on its page. No address is
in it.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from mailhost.accounts.governed import Governed
from mailhost.system import expiry
from mailhost.system.gauges import LOG, VOLUMES, certificate, gauge, volumes


def text(home: Path, governed: Governed | None, now: float) -> str:
    """The gauges. ``now`` is when `follow` looked, in seconds since 1970."""
    return "".join(
        (
            gauge("popbox_accounts_looked_timestamp_seconds", "When accounts.toml was looked at last.", [("", now)]),
            gauge("popbox_accounts_governed", "1 where accounts.toml governs.", [("", governed is not None)]),
            _of_file(governed) if governed is not None else "",
            volumes([*(home / name for name in VOLUMES), LOG]),
            certificate("popbox_smtp_certificate_end_timestamp_seconds", expiry.CHAIN),
        )
    )


def _of_file(governed: Governed) -> str:
    waits = gauge("popbox_accounts_waiting", "1 where its newest text is not applied.", [("", bool(governed.waits))])
    try:
        applied = datetime.fromisoformat(governed.at).timestamp()
    except ValueError:  # not applied yet
        return waits
    return waits + gauge("popbox_accounts_applied_timestamp_seconds", "When a text was applied last.", [("", applied)])


def put(file: Path, said: str) -> None:
    """Write the file, whole or not at all, readable by all.

    Raises:
        OSError: it cannot be written.
    """
    staged = file.with_name(f".{file.name}.new")
    fd = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with os.fdopen(fd, "w", encoding="ascii") as out:
        os.fchmod(fd, 0o644)  # whatever the umask
        out.write(said)
    staged.replace(file)
