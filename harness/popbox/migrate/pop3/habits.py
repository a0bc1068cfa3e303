"""How servers count a message in LIST: the habits that its size tells them by."""

from __future__ import annotations

from popbox.migrate.pop3.host import Profile

KNOWN: tuple[Profile, ...] = ("rfc1939", "qmail", "dovecot")


def listed(profile: str, octets: int, lines: int) -> tuple[int, ...]:
    """The sizes that LIST may give for what RETR sent: ``octets``, byte-stuffing undone, with ``lines`` line ends.

    qmail-pop3d lists the file: LF line ends, no extra line, and perhaps no newline at the end (Q-POP3-6, Q-POP3-13).
    Dovecot and courier add a missing line end and do not count it (conformance/README.md, ``added-end-not-counted``).
    """
    if profile == "qmail":
        return (octets - lines - 1, octets - lines - 2)
    return (octets, octets - 2) if profile in ("dovecot", "courier") else (octets,)
