"""LIST and UIDL as clients divide them: the usual form in one go is no other than line by line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popbox.clients.listing import rows

WORDS = [b"1", b"22", b"0", b"1" * 18, b"1" * 19, b"x", b"~!", b"\xe9", b"\x0b", b"\x1c", b"", b"1.M2,S=3"]
LINE = st.builds(
    lambda words, blank, end: blank.join(words) + end,
    st.lists(st.sampled_from(WORDS), max_size=3),
    st.sampled_from([b" ", b" ", b"  ", b"\t"]),
    st.sampled_from([b"\r\n", b"\r\n", b"\n", b"\r\r\n"]),
)


@given(st.lists(LINE, max_size=4).map(b"".join))
def test_the_usual_form_is_no_other_than_line_by_line(octets: bytes) -> None:
    assert rows(octets) == rows(b" \n" + octets)  # an empty line is passed over, and is not of the usual form


@pytest.mark.parametrize("octets", [b"1 a\r\n2 b\r\n", b"1 a\n2  b \n"])
def test_rows(octets: bytes) -> None:
    assert rows(octets) == ([(1, "a"), (2, "b")], [])
