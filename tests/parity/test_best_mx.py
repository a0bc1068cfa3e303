"""Q-REMOTE-1: what qmail-remote and the stand-in report on a host whose nearest server is this machine."""

from __future__ import annotations

import asyncio
import subprocess

import pytest
from tests.parity.real import HOME, MARKS, privately

from mailhost.standin.delivery.mx import before_us, exchangers
from mailhost.standin.delivery.report import Stopped

pytestmark = MARKS


def real(host: str) -> bytes:
    """qmail-remote's report about one host: `D` (permanent) or `Z` (temporary) and a text."""
    (HOME / "control").mkdir(exist_ok=True)
    (HOME / "control/me").write_text("mx.example.net\n")
    argv = [HOME / "bin/qmail-remote", host, "s@a.example", "r@b.example"]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=60)
    return done.stdout.partition(b"\0")[0]


async def _ours(host: bytes) -> bytes:
    try:
        await before_us(await exchangers(host))
    except Stopped as stopped:
        return (b"D" if stopped.permanent else b"Z") + stopped.report().text
    return b""


@pytest.mark.parametrize("host", ["[127.0.0.1]", "[0.0.0.0]"])
def test_the_same_words(host: str) -> None:
    assert asyncio.run(_ours(host.encode())) == privately(lambda: real(host))
