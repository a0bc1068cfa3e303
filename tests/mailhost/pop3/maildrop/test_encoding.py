"""Files to wire and sizes: the fast code against the slow definition, for any content cut anywhere."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailhost.pop3.maildrop.encoding import Encoder, Measure, encoded, measure

ODD = st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"a", b"\0", b"\xff", b"\n.\n", b"\n\n"]), max_size=14
).map(b"".join)
CUTS = st.lists(st.integers(1, 20), max_size=8)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    found = []
    for cut in cuts:
        found.append(data[:cut])
        data = data[cut:]
    return [piece for piece in [*found, data] if piece]


def standard(data: bytes) -> bytes:
    """The rfc1939 form before dots are doubled: LF alone becomes CR LF, a last line gets its end."""
    wire = re.sub(rb"(?<!\r)\n", b"\r\n", data)
    return wire if not wire or wire.endswith(b"\n") else wire + b"\r\n"


def crlf(data: bytes) -> bytes:
    """qmail's form before dots are doubled."""
    wire = data.replace(b"\n", b"\r\n")
    return wire if not data or data.endswith(b"\n") else wire + b"\r\n"


def stuffed(wire: bytes) -> bytes:
    return re.sub(rb"(?m)^\.", b"..", wire)


def encode(data: bytes, cuts: list[int], flags: int, *, qmail: bool, lines: int | None = None) -> bytes:
    encoder = Encoder(flags, qmail_quirks=qmail, lines=lines)
    wire = b""
    for piece in pieces(data, cuts):
        if not encoder.done:
            wire += encoder.feed(piece)
    return wire + encoder.finish()


def measured(data: bytes, cuts: list[int]) -> tuple[int, int]:
    measure = Measure()
    for piece in pieces(data, cuts):
        measure.feed(piece)
    return measure.result()


@given(ODD, st.booleans(), st.booleans())
def test_a_file_at_once_is_as_in_pieces(data: bytes, known: bool, qmail: bool) -> None:
    flags = measure(data)[1] if known else 0
    assert encoded(data, flags, qmail_quirks=qmail) == encode(data, [], flags, qmail=qmail)


@given(ODD, CUTS, CUTS, st.booleans())
def test_whole_messages(data: bytes, cuts: list[int], others: list[int], known: bool) -> None:
    size, flags = measured(data, others)
    assert size == len(standard(data))
    assert measure(data) == (size, flags)
    used = flags if known else 0
    assert encode(data, cuts, used, qmail=False) == stuffed(standard(data)) + b".\r\n"
    assert encode(data, cuts, 0, qmail=True) == stuffed(crlf(data)) + b"\r\n.\r\n"


def top_lines(data: bytes, count: int, *, qmail: bool) -> bytes:
    """TOP by definition: lines up to and with the first empty one, then ``count`` more."""
    lines = re.findall(rb"[^\n]*\n|[^\n]+\Z", data)
    empty = {b"\n"} if qmail else {b"\n", b"\r\n"}
    end = next((n for n, line in enumerate(lines, 1) if line in empty), len(lines))
    return b"".join(lines[: end + count])


@given(ODD, CUTS, st.integers(0, 5), st.booleans())
def test_top(data: bytes, cuts: list[int], count: int, qmail: bool) -> None:
    shown = top_lines(data, count, qmail=qmail)
    form, end = (crlf, b"\r\n.\r\n") if qmail else (standard, b".\r\n")
    assert encode(data, cuts, 0, qmail=qmail, lines=count) == stuffed(form(shown)) + end


@pytest.mark.parametrize(
    ("data", "sent"),
    [
        (b"S: one\n\n.dot\n..\n" + b"line\n" * 2 + b"x" * 28 + b"\n", 69),
        (b"S: two\n\nno newline", 27),
        (b"Subject: only header\n", 27),
        (b"", 5),
        (b"S: 3\r\n\r\nabcdefg\r\n", 25),
    ],
)
def test_byte_accounting_of_the_fact_sheet(data: bytes, sent: int) -> None:
    """Appendix A.5: octets after the +OK line in the qmail profile."""
    assert len(encode(data, [3], 0, qmail=True)) == sent
