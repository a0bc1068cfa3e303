"""Random and half-right input to the protocol core: ``python tests/bench/pop3/fuzz.py [SECONDS]``.

Exit 1 with the input that made it raise, leave a line without CR LF, or store more than its limit.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))
from tests.mailhost.pop3.io_layer import IoLayer

from mailhost.pop3.protocol.line_reader import LineReader
from mailhost.pop3.protocol.profiles import PROFILES
from mailhost.pop3.protocol.session import KNOWN_VERBS
from mailhost.pop3.protocol.state import SASL_LINE_OCTETS, Features

VERBS = sorted(KNOWN_VERBS)
WORDS = [b"joe", b"pw", b"1", b"2", b"3", b"0", b"4294967296", b"9" * 30, b"-1", b" ", b"PLAIN", b"SCRAM-SHA-256"]
WORDS += [b"AGpvZQBwdw==", b"biwsbj1qb2Uscj14", b"=", b"*", b"\0", b"\xff", b"\r", b"x" * 600, b"x" * 13_000]
ENDS = [b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"", b"\r\r\n", b"\0\n"]


def piece(dice: random.Random) -> bytes:
    """Something that a client, or a stranger, may send."""
    if dice.random() < 0.15:
        return dice.randbytes(dice.randrange(60))
    words = [dice.choice(VERBS), *dice.choices(WORDS, k=dice.randrange(4))]
    line = b" ".join(words) + dice.choice(ENDS)
    if dice.random() < 0.1 and line:
        place = dice.randrange(len(line))
        line = line[:place] + dice.randbytes(1) + line[place + 1 :]
    return line


def session(dice: random.Random) -> list[bytes]:
    """One session's input; half of them log in."""
    start = [b"USER joe\r\nPASS pw\r\n"] if dice.random() < 0.5 else []
    return start + [piece(dice) for _ in range(dice.randrange(60))]


def run(data: list[bytes], name: str) -> None:
    """Feed it and look at what comes out."""
    layer = IoLayer(PROFILES[name], Features(tls=True, scram=True, apop=True))
    for part in data:
        out = layer.feed(part)
        if any(line and not line.endswith(b"\r") for line in out.split(b"\n")):
            raise ValueError("a line without CR LF")
        if layer.closed:
            return
        lines: LineReader = layer.session._lines
        if len(lines._data) - lines._start > max(SASL_LINE_OCTETS, PROFILES[name].line_octets) + len(part) + 2:
            raise ValueError("too much is stored")


def main() -> None:
    """Until the time is over."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 600
    seed = random.SystemRandom().randrange(1 << 32)
    dice, deadline, count = random.Random(seed), time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        data, name = session(dice), dice.choice(sorted(PROFILES))
        try:
            run(data, name)
        except Exception:
            print(f"seed {seed}, session {count}, profile {name}: {data!r}"[:5000], file=sys.stderr)
            raise
        count += 1
    print(f"{count} sessions in {seconds:.0f} s, seed {seed}: no uncaught exception")


if __name__ == "__main__":
    main()
