"""users/assign from end to end: what a line means, how users/cdb is made and how it is searched."""

from __future__ import annotations

from mailhost.qmail.assigntext import AssignmentLine, NewuError, end_characters, parse, parse_line
from mailhost.qmail.lookup import Assignment, accounts_of, find_account, getpw, locate, lookup, resolve, split
from mailhost.qmail.newu import newmrh, newu

__all__ = [
    "Assignment",
    "AssignmentLine",
    "NewuError",
    "accounts_of",
    "end_characters",
    "find_account",
    "getpw",
    "locate",
    "lookup",
    "newmrh",
    "newu",
    "parse",
    "parse_line",
    "resolve",
    "split",
]
