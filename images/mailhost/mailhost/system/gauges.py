"""Gauges of the machine in Prometheus' text form: the room of volumes, and when a certificate ends."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from mailhost.system.expiry import PEM_OCTETS, not_after
from mailhost.system.reading import read_given

VOLUMES = ("control", "users", "alias", "queue", "popboxes")
"""Of a mail host, as compose.yaml has them."""

LOG = Path("/var/log/popbox")
"""The one outside of its home."""

Samples = Iterable[tuple[str, float]]
"""Labels in braces, or empty; the value."""


def gauge(name: str, text: str, samples: Samples) -> str:
    """One family; nothing where there is no sample."""
    lines = [f"{name}{labels} {int(value) if value == int(value) else value}\n" for labels, value in samples]
    return f"# HELP {name} {text}\n# TYPE {name} gauge\n{''.join(lines)}" if lines else ""


def volumes(folders: Iterable[Path]) -> str:
    """What is free for users other than root on the file system of each folder, under the folder's name.

    A folder that is missing, or cannot be asked, is left out; inodes also where the file system counts none (btrfs).
    """
    found: dict[str, os.statvfs_result] = {}
    for folder in folders:
        try:
            found[f'{{volume="{"log" if folder == LOG else folder.name}"}}'] = os.statvfs(folder)
        except OSError:
            continue
    counted = {label: disk for label, disk in found.items() if disk.f_files}
    return "".join(
        gauge(f"popbox_volume_{name}", text, samples)
        for name, text, samples in (
            ("free_bytes", "Free on the volume.", [(at, d.f_bavail * d.f_frsize) for at, d in found.items()]),
            ("size_bytes", "Size of the volume.", [(at, d.f_blocks * d.f_frsize) for at, d in found.items()]),
            ("free_inodes", "Inodes free on the volume.", [(at, d.f_favail) for at, d in counted.items()]),
            ("inodes", "Inodes of the volume.", [(at, d.f_files) for at, d in counted.items()]),
            ("read_only", "1 where it is read-only.", [(at, bool(d.f_flag & os.ST_RDONLY)) for at, d in found.items()]),
        )
    )


def certificate(name: str, chain: Path) -> str:
    """When the first certificate of a file ends, seconds since 1970; nothing where there is none that can be read."""
    try:
        end = not_after(read_given(chain, PEM_OCTETS))
    except (OSError, ValueError):
        return ""
    return gauge(name, "When the certificate file's first one ends.", [("", end)])
