"""Driving the real qmail-lspawn directly, as qmail-send would (facts, appendix C)."""

from __future__ import annotations

import os
import pwd
import subprocess

from tests.parity.real import HOME

MESSAGE = b"0/4"
WAVE = 60  # deliveries in flight: below the 120 the stock build allows
# Stands in for bin/qmail-local: says its arguments and the uid, gid and groups it runs with, divided by 0x1f.
PRINTER = """#!/bin/sh
for each; do printf '%s\\037' "$each"; done
while read -r name value rest; do
  case $name in Uid: | Gid:) printf '%s\\037' "$value" ;; Groups:) printf '%s\\037' "$value${rest:+ }$rest" ;; esac
done </proc/self/status
"""


def put_message(text: bytes = b"Subject: x\n\nbody\n") -> None:
    """A message in the private queue that qmail-lspawn will accept."""
    path = HOME / "queue/mess" / MESSAGE.decode()
    path.write_bytes(text)
    os.chown(path, pwd.getpwnam("qmailq").pw_uid, -1)


def print_instead_of_delivering() -> None:
    """Replace the private bin/qmail-local by the printer."""
    path = HOME / "bin/qmail-local"
    path.unlink()
    path.write_text(PRINTER)
    path.chmod(0o755)


def deliver(addresses: list[bytes], default: bytes = b"./Mailbox", sender: bytes = b"s@x.org") -> list[bytes]:
    """The report for each address, in order: K, Z or D and the text."""
    reports: list[bytes] = []
    for start in range(0, len(addresses), WAVE):
        reports += _wave(addresses[start : start + WAVE], default, sender)
    return reports


def _wave(addresses: list[bytes], default: bytes, sender: bytes) -> list[bytes]:
    jobs = b"".join(
        bytes((number,)) + MESSAGE + b"\0" + sender + b"\0" + address + b"\0"
        for number, address in enumerate(addresses)
    )
    done = subprocess.run(
        [HOME / "bin/qmail-lspawn", default], input=jobs, capture_output=True, check=True, cwd=HOME, timeout=60
    )
    assert done.stdout[:1] == b"\x78", "the first byte is the limit of 120 (Q-LSP-1)"
    answers: dict[int, bytes] = {}
    rest = done.stdout[1:]
    while rest:
        number = rest[0]
        answers[number], _, rest = rest[1:].partition(b"\0")
    return [answers[number] for number in range(len(addresses))]
