"""Looking for mail inside a container: the program that runs there, and what its lines mean here."""

from __future__ import annotations

import base64
import json

from popbox.hosts.base import Entry, Found

# One program, one exec: every regular file below the folders of ``top`` that holds one of the needles (read from stdin,
# a line each) or cannot be read, as JSON with its octets. What another session moves away meanwhile is left out.
FIND = """
import base64, json, os, stat, sys
top, *folders = sys.argv[1:]
needles = sys.stdin.buffer.read().splitlines(keepends=True)
walk = [os.path.join(place, name) for one in folders for place, _, names in os.walk(f"{top}/{one}") for name in names]
for path in sorted(walk):
    try:
        found = os.lstat(path)
        if not stat.S_ISREG(found.st_mode):
            continue
        with open(path, "rb") as file:
            octets, readable = file.read(), True
    except FileNotFoundError:
        continue
    except PermissionError:
        octets, readable = b"", False
    if not needles or not readable or any(needle in octets for needle in needles):
        entry = [os.path.relpath(path, top), found.st_mode & 0o7777, *found[4:7], found.st_mtime]
        print(json.dumps([entry, base64.b64encode(octets).decode(), readable]))
"""


def found_in(lines: bytes) -> list[Found]:
    """The files that FIND's output names."""
    return [
        Found(Entry(*entry), base64.b64decode(octets), ok) for entry, octets, ok in map(json.loads, lines.splitlines())
    ]
