"""Whose deviations are expected: data, looked up by the name of the deviation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Profile:
    """A personality. ``expected`` maps a deviation's name to its source; ``may`` are those that need not show.

    What is in ``expected`` always shows on such a server (``--exact`` fails where it does not); what is in ``may``
    depends on how the server was set up, and on its password checker.
    """

    name: str
    about: str
    expected: Mapping[str, str] = field(default_factory=dict)
    may: Mapping[str, str] = field(default_factory=dict)

    def source(self, deviation: str) -> str | None:
        """Where the deviation is known from, or None where it is not expected."""
        return self.expected.get(deviation) or self.may.get(deviation)


MEASURED = "measured, see README"
RFC1939 = Profile(
    "rfc1939",
    "the standards, and nothing else",
    may={"one-login-per-connection": "RFC 1939 §4 allows the server to close"},
)
QMAIL = Profile(
    "qmail",
    "qmail-popup, a checkpassword and qmail-pop3d",
    expected={
        "noop-before-login": "Q-POPUP-8",
        "one-login-per-connection": "Q-POPUP-12, E-81",
        "no-capa": "Q-POPUP-16, Q-POP3-19",
        "sizes-not-as-sent": "Q-POP3-6, Q-POP3-13",
        "stat-counts-deleted": "Q-POP3-7, E-71",
        "empty-line-added": "Q-POP3-13, E-74",
        "crlf-doubled": "Q-POP3-13",
        "user-remembered": "qmail-popup; " + MEASURED,
        "renamed-lost": "qmail-pop3d opens the name it has listed; " + MEASURED,
        "twins-share-id": "Q-POP3-9",
        "top-crlf": "Q-POP3-12: CR alone is no empty line",
        "no-exclusive-lock": "Q-POP3-20",
        "retr-extra-argument": "Q-POP3-11, E-72",
        "top-without-count": "Q-POP3-11, E-73",
        "top-word-count": "Q-POP3-11",
        "top-negative-count": "Q-POP3-11",
        "top-extra-argument": "Q-POP3-10",
        "list-extra-argument": "Q-POP3-10",
        "uidl-extra-argument": "Q-POP3-10",
        "list-number-junk": "Q-POP3-10",
        "uidl-number-junk": "Q-POP3-10",
        "retr-number-junk": "Q-POP3-10",
        "top-number-junk": "Q-POP3-10",
        "dele-number-junk": "Q-POP3-10",
        "stat-takes-argument": MEASURED,
        "noop-takes-argument": MEASURED,
        "rset-takes-argument": MEASURED,
        "quit-takes-argument": MEASURED,
    },
    may={
        "apop-offered-not-taken": "Q-POPUP-7: the checkpassword decides",
        "login-case-folded": "Q-CPW-5: the checkpassword decides",
        "password-tail-ignored": "Q-CPW-7: DES crypt reads 8 octets",
        "password-ends-at-nul": "the arguments of qmail-popup are C strings; " + MEASURED,
        "nul-in-keyword": "commands are C strings; " + MEASURED,
        "list-number-wraps-64": "numbers are machine words; " + MEASURED,
        "uidl-number-wraps-64": "numbers are machine words; " + MEASURED,
        "retr-number-wraps-64": "numbers are machine words; " + MEASURED,
        "top-number-wraps-64": "numbers are machine words; " + MEASURED,
        "dele-number-wraps-64": "numbers are machine words; " + MEASURED,
    },
)
DOVECOT = Profile(
    "dovecot",
    "Dovecot 2.3 with its defaults",
    expected={
        "first-dot-not-doubled": MEASURED,
        "empty-message-changed": MEASURED,
        "added-end-not-counted": MEASURED,
        "user-without-name": MEASURED,
        "password-ends-at-nul": MEASURED,
        "nul-in-keyword": MEASURED,
        "stat-takes-argument": MEASURED,
        "noop-takes-argument": MEASURED,
        "rset-takes-argument": MEASURED,
        "quit-takes-argument": MEASURED,
        "capa-takes-argument": MEASURED,
        "capa-less-after-login": MEASURED,
        "user-remembered": MEASURED,
        "twins-share-id": "one of the two is not shown; " + MEASURED,
        "auth-long-line": MEASURED,
    },
    may={
        "no-exclusive-lock": "pop3_lock_session = no is the default",
        "login-case-folded": "auth_username_format = %Lu is the default",
        "stls-takes-argument": MEASURED,
    },
)
COURIER = Profile(
    "courier",
    "courierpop3d 1.0.16, measured behind qmail-popup",
    may=dict.fromkeys(
        (
            "added-end-not-counted",
            "crlf-doubled",
            "cut-quit-removes",
            "dele-number-junk",
            "dele-number-plus",
            "dele-number-wraps-32",
            "empty-message-changed",
            "first-dot-not-doubled",
            "leading-space",
            "list-extra-argument",
            "list-number-junk",
            "list-number-plus",
            "list-number-wraps-32",
            "no-exclusive-lock",
            "noop-takes-argument",
            "nul-in-keyword",
            "quit-takes-argument",
            "retr-extra-argument",
            "retr-number-junk",
            "retr-number-plus",
            "retr-number-wraps-32",
            "rset-takes-argument",
            "sizes-not-as-sent",
            "stat-takes-argument",
            "top-crlf",
            "top-extra-argument",
            "top-negative-count",
            "top-no-header",
            "top-number-junk",
            "top-number-plus",
            "top-number-wraps-32",
            "top-word-count",
            "uidl-extra-argument",
            "uidl-number-junk",
            "uidl-number-plus",
            "uidl-number-wraps-32",
        ),
        MEASURED,
    )
    | dict.fromkeys(
        (
            "no-capa",
            "user-remembered",
            "noop-before-login",
            "apop-offered-not-taken",
            "password-ends-at-nul",
            "one-login-per-connection",
        ),
        "of qmail-popup in front of it; " + MEASURED,
    ),
)

PROFILES = {profile.name: profile for profile in (RFC1939, QMAIL, DOVECOT, COURIER)}
