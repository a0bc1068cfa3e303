"""What looks like a one-time code in the words of a message."""

from __future__ import annotations

import re

MOST_CODES = 50  # our choice: more are a table of numbers

_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]{0,20}://\S+|\S{1,200}@\S+")
_NUMBER = r"\d{3}[- ]\d{3}|\d{4}[- ]\d{4}|\d{4,8}"
_MIXED = r"(?=[A-Z]*\d)(?=\d*[A-Z])[A-Z0-9]{5,10}|(?=[A-Z-]*\d)[A-Z0-9]{3,5}-[A-Z0-9]{3,5}"
_BEFORE, _BEHIND = r"(?<![\w#$€£.,/:+-])(?:[A-Z]-)?", r"(?![\w/]|[.,:-]\d|-\w| ?[%€£$])"  # G-123456 is Google's
_CODE = re.compile(rf"{_BEFORE}({_NUMBER}|{_MIXED}){_BEHIND}")
_NAMED = re.compile(
    r"\b(?:code|c[oó]digo|codice|kode|pin|tan|otp|passcode|password|verif\w*|confirm\w*|best[aä]tig\w*|one[- ]time)",
    re.IGNORECASE,
)
_YEAR = re.compile(r"(?:19|20)\d\d")


def codes(text: str) -> tuple[str, ...]:
    """Numbers of 4 to 8 digits, in one piece or two (joined here), and capitals with digits; each once.

    First come those behind a word that speaks of a code, in its line or the next, then others in such a line. Numbers
    in addresses, prices, dates and times are left out, and years that stand behind no such word.
    """
    behind: list[str] = []
    beside: list[str] = []
    others: list[str] = []
    named_above = False
    for line in _ADDRESS.sub(" ", text).splitlines():
        named = _NAMED.search(line)
        for one in _CODE.finditer(line):
            code = one[1] if any(letter.isalpha() for letter in one[1]) else re.sub(r"[- ]", "", one[1])
            if (named and one.start() > named.start()) or (named_above and not named):
                behind.append(code)
            elif not _YEAR.fullmatch(code):
                (beside if named else others).append(code)
        if line.strip():
            named_above = named is not None
        if len(behind) + len(beside) + len(others) > MOST_CODES:
            break
    return tuple(dict.fromkeys([*behind, *beside, *others]))[:MOST_CODES]
