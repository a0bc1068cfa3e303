"""A refusal in qmail's own words: the report of a delivery that bounces or is deferred, and qmail's errno texts."""

from __future__ import annotations

import errno
from dataclasses import dataclass

from mailhost.qmail.errnowords import WORDS

# Errors that may be gone at the next try (Q-DOT-7 "temporary errors").
_TEMPORARY = frozenset(
    {
        errno.EINTR, errno.ENOMEM, errno.ETXTBSY, errno.EIO, errno.ETIMEDOUT, errno.EAGAIN, errno.EDEADLK,
        errno.EBUSY, errno.ENFILE, errno.EMFILE, errno.EFBIG, errno.ENOSPC, errno.ENETDOWN, errno.ENETUNREACH,
        errno.ENETRESET, errno.ECONNABORTED, errno.ECONNRESET, errno.ENOBUFS, errno.ECONNREFUSED, errno.EHOSTDOWN,
        errno.EHOSTUNREACH, errno.EDQUOT, errno.ESTALE, errno.ENOLCK, errno.EUSERS,
        errno.ETOOMANYREFS,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a delivery stops: it bounces when ``permanent``, or is tried again; ``text`` is the report, without LF."""

    permanent: bool
    text: str


def error_text(number: int | None) -> str:
    """The text that qmail prints for an errno value (Q-ERR-1)."""
    return WORDS.get(number or 0, "unknown error")


def is_temporary(number: int | None) -> bool:
    """Whether qmail treats this errno as temporary (Q-DOT-7)."""
    return number in _TEMPORARY
