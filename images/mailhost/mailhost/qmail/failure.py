"""A refusal in qmail's own words: what a delivery says when it bounces or is put off, and errno as qmail names it."""

from __future__ import annotations

import errno
from dataclasses import dataclass

from mailhost.qmail.errnowords import WORDS

# Trouble that may be gone at the next try (Q-DOT-7 "temporary errors").
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
    """Why a delivery stops: ``permanent`` bounces, otherwise it is tried again later; ``text`` is the report, no LF."""

    permanent: bool
    text: str


def error_text(number: int | None) -> str:
    """The name qmail prints for an errno value."""
    return WORDS.get(number or 0, "unknown error")


def is_temporary(number: int | None) -> bool:
    """Whether qmail takes this errno for trouble that passes by itself."""
    return number in _TEMPORARY
