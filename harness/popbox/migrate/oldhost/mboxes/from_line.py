"""From_ lines: the forms of their dates that programs have written, and when a message came by them.

The forms are those of c-client's VALID macro (osdep/unix/unix.h), of mutt's is_from (from.c), of RFC 4155, of Eudora
(``From ???@???``), of pipermail (``joe at example.org``) and of UUCP mail (``remote from``). A sender may hold blanks.
Patches begin as git format-patch, public-inbox (``mboxrd@z``) and b4 (``git@z``) write it, with one date for all.
"""

from __future__ import annotations

import calendar
import re
from typing import Literal, NamedTuple

LINE_OCTETS = 4_096  # our choice: no From_ line is longer; qmail's senders have up to 1,002 octets (Q-QUEUE-3)

Kind = Literal["dated", "loose", "git", "undated"]
"""``loose``: it holds a time and a year, in no form that is known; ``git``: as tools for patches write it."""


class FromLine(NamedTuple):
    """``when``: seconds since 1970, by its zone, else as UTC; None where the date cannot be read."""

    kind: Kind
    when: int | None


_MONTHS = b"jan feb mar apr may jun jul aug sep oct nov dec".split()
_MON = rb"(?P<month>jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
_WEEKDAY = rb"(?:mon|tue|wed|thu|fri|sat|sun)[a-z]{0,6},?[ \t]+"
_TIME = rb"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.\d+)?)?"
_ZONE = r"(?P<{0}>[-+]\d\d:?\d\d|(?!remote)[a-z][a-z0-9+-]{{0,8}}(?:[ \t]+dst)?)"
_ZONES = [_ZONE.format(name).encode() for name in ("zone", "late")]
_FORMS = (
    # asctime(3), with a zone before or behind the year: BSD, System V, rn, Solaris; qmail's "moreinfo" may follow
    rb"(?P<weekday>" + _WEEKDAY + rb")?" + _MON + rb"[a-z]{0,6}[ \t]+(?P<day>\d{1,2}),?[ \t]+" + _TIME
    + rb"(?:[ \t]+" + _ZONES[0] + rb")?[ \t]+(?P<year>\d{4}|\d\d)(?:[ \t]+" + _ZONES[1]
    + rb")?(?P<rest>(?:[ \t][^\r\n]*)?)",
    # RFC 822 and 850
    rb"(?:" + _WEEKDAY + rb")?(?P<day>\d{1,2})[ \t-]+" + _MON + rb"[a-z]{0,6}[ \t-]+(?P<year>\d{4}|\d\d),?[ \t]+"
    + _TIME + rb"(?:[ \t]*" + _ZONES[0] + rb")?(?P<rest>(?:[ \t]+\([^\n)]*\))?)",
    # ISO 8601
    rb"(?P<year>\d{4})-(?P<number>\d\d)-(?P<day>\d\d)(?:t|[ \t]+)" + _TIME + rb"(?:[ \t]*" + _ZONES[0]
    + rb")?(?P<rest>)",
)  # fmt: skip
_TAIL = rb"(?:[ \t]+remote[ \t]+from[ \t]+\S+)*[ \t]*\r?\n?"
_DATED = [re.compile(rb"From [^\r\n]*?(?<![^ \t])" + form + _TAIL, re.I) for form in _FORMS]
_CLOCK, _YEAR = re.compile(rb"\d:\d\d"), re.compile(rb"\d{4}")
_GIT = re.compile(rb"From (?:[^@\s]+ Mon Sep 17 00:00:00 2001|(?:mboxrd|git)@z Thu Jan  1 00:00:00 1970)\r?\n?")
_HOURS = {b"est": -5, b"edt": -4, b"cst": -6, b"cdt": -5, b"mst": -7, b"mdt": -6, b"pst": -8, b"pdt": -7,
          b"cet": 1, b"met": 1, b"mez": 1, b"cest": 2, b"mest": 2, b"mesz": 2, b"met dst": 2, b"cet dst": 2,
          b"eet": 2, b"eest": 3, b"msk": 3, b"jst": 9}  # fmt: skip


def parse(line: bytes) -> FromLine | None:
    """What a line is that begins with ``From ``; None where nothing in it looks like a date."""
    if _GIT.fullmatch(line):
        return FromLine("git", _MAGIC if b" 2001" in line else 0)
    for form in _DATED:
        found = form.fullmatch(line)
        if found and (when := _when(found.groupdict(default=b""))) is not None:
            return FromLine("dated", when)
    return FromLine("loose", None) if _is_loose(line) else None


def _is_loose(line: bytes) -> bool:
    """A time with a year somewhere behind it; in two steps, as one expression would try each time with each year."""
    clock = _CLOCK.search(line, len(b"From "))
    return bool(clock and _YEAR.search(line, clock.end())) and b"\r" not in line.removesuffix(b"\n").removesuffix(b"\r")


def _when(said: dict[str, bytes]) -> int | None:
    """None: there is no such date, or words follow what is no whole asctime(3)."""
    if said["rest"].strip(b" \t\r") and "weekday" in said and not said["weekday"]:
        return None
    month = int(said["number"]) if "number" in said else _MONTHS.index(said["month"].lower()) + 1
    day, hour, minute, second = (int(said[name] or b"0") for name in ("day", "hour", "minute", "second"))
    year = int(said["year"])
    if len(said["year"]) == 2:
        year += 1900 if year >= 70 else 2000  # mbox(5) of mutt
    if not (year >= 1900 and 1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second < 62):
        return None
    zone = (said["zone"] or said.get("late", b"")).lower()
    return calendar.timegm((year, month, 1, hour, minute, second)) + (day - 1) * 86_400 - _offset_s(zone)


def _offset_s(zone: bytes) -> int:
    """A name that is not known counts as UTC: only the order of messages depends on it."""
    if zone[:1] in (b"+", b"-"):
        digits = zone[1:].replace(b":", b"")
        return (int(digits[:2]) * 3_600 + int(digits[2:]) * 60) * (-1 if zone[:1] == b"-" else 1)
    return _HOURS.get(b" ".join(zone.split()), 0) * 3_600


_MAGIC = calendar.timegm((2001, 9, 17, 0, 0, 0))  # the date that git writes, whatever the patch's
