"""A small SMTP server on descriptors 0 and 1, for the tests of starttls: a reply for each line, DATA counted."""

from __future__ import annotations

import sys

REPLIES = {b"EHLO": b"250-fake\r\n250-PIPELINING\r\n250 8BITMIME\r\n", b"QUIT": b"221 bye\r\n", b"XBAD": b"500 no\r\n"}


def say(octets: bytes) -> None:
    sys.stdout.buffer.write(octets)
    sys.stdout.buffer.flush()


def data(lines: object) -> bytes:
    octets = 0
    for line in lines:  # type: ignore[attr-defined]
        if line == b".\r\n":
            break
        octets += len(line)
    return b"250 ok %d\r\n" % octets


def main() -> None:
    greeting = sys.argv[1].encode() if len(sys.argv) > 1 else b"220 fake ESMTP"
    say(greeting + b"\r\n")
    said = []
    for line in sys.stdin.buffer:
        verb = line.split()[0].upper() if line.split() else b""
        said.append(verb.decode("latin-1"))
        if verb == b"DATA":
            say(b"354 go\r\n")
            say(data(sys.stdin.buffer))
        elif verb == b"TELL":
            say(b"250 " + ",".join(said).encode() + b"\r\n")
        elif verb == b"FLOOD":
            say(b"250 " + b"x" * 200_000 + b"\r\n")
        else:
            say(REPLIES.get(verb, b"250 ok\r\n"))
        if verb == b"QUIT":
            return


main()
