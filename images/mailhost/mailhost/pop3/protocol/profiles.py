"""The two personalities: what one state table says to a client of RFC 1939 and to one of the old qmail host.

``rfc1939`` is what the standards ask; ``qmail`` repeats what qmail-popup and qmail-pop3d said, reply for reply
(facts Q-POPUP-*, Q-POP3-*, E-71 to E-86), so that a moved box looks the same to its client.
"""

from __future__ import annotations

from dataclasses import dataclass

from mailhost.pop3.protocol.events import Reply


def ok(text: bytes) -> Reply:
    """A one-line ``+OK`` reply (RFC 1939 §3)."""
    return Reply(b"+OK " + text + b"\r\n")


def err(text: bytes) -> Reply:
    """A one-line ``-ERR`` reply (RFC 1939 §3)."""
    return Reply(b"-ERR " + text + b"\r\n", ok=False)


@dataclass(frozen=True, slots=True)
class Texts:
    """Every fixed reply of one profile."""

    user: Reply
    user_first: Reply
    empty_argument: Reply
    logged_in: Reply
    bye: Reply
    done: Reply
    reset: Reply
    deleted: Reply
    refused: Reply
    temporary: Reply
    unusable: Reply
    unavailable: Reply
    in_use: Reply
    no_maildir: Reply
    not_now: Reply
    unknown: Reply
    too_long: Reply
    bad_number: Reply
    zero_number: Reply
    high_number: Reply
    gone_number: Reply
    missing: Reply
    unlink_failed: Reply
    too_many: Reply

    def maildrop(self, kind: str) -> Reply:
        """What the client is told when its maildrop cannot be opened (RFC 1939 §4), see ``MaildropError``."""
        return {"missing": self.no_maildir, "busy": self.in_use, "unavailable": self.unavailable}.get(
            kind, self.unusable
        )


@dataclass(frozen=True, slots=True)
class Profile:
    """One personality. Times in seconds, lengths in octets.

    ``verbs`` are answered from the table, all others as unknown. ``qmail_quirks`` is qmail's form of a message and of
    sizes; ``locks`` the exclusive lock on the maildrop; ``single_login`` one authentication per connection.
    """

    name: str
    verbs: frozenset[bytes]
    texts: Texts
    qmail_quirks: bool
    locks: bool
    single_login: bool
    idle_s: float
    line_octets: int

    def listed(self, count: int) -> bytes:
        """The first line of a LIST or UIDL reply with ``count`` messages (RFC 1939 §5)."""
        return self.texts.done.data if self.qmail_quirks else b"+OK %d messages\r\n" % count


_COMMON = b"USER PASS QUIT NOOP STAT LIST UIDL DELE RETR RSET TOP APOP".split()
_QUIET = Reply(b"+OK \r\n")

RFC1939 = Profile(
    name="rfc1939",
    verbs=frozenset([*_COMMON, *b"CAPA AUTH STLS UTF8 LANG".split()]),
    texts=Texts(
        user=ok(b"send PASS"),
        user_first=err(b"USER first"),
        empty_argument=err(b"syntax: an argument is missing"),
        logged_in=ok(b"maildrop ready"),
        bye=ok(b"bye"),
        done=ok(b"done"),
        reset=ok(b"no message is marked deleted"),
        deleted=ok(b"message marked deleted"),
        refused=err(b"[AUTH] login or password is wrong"),
        temporary=err(b"[SYS/TEMP] try again later"),
        unusable=err(b"[SYS/PERM] this maildrop cannot be opened"),
        unavailable=err(b"[SYS/TEMP] this maildrop cannot be opened now"),
        in_use=err(b"[IN-USE] another session has this maildrop open"),
        no_maildir=err(b"[SYS/PERM] this login has no maildrop"),
        not_now=err(b"not in this state"),
        unknown=err(b"unknown command"),
        too_long=err(b"line too long"),
        bad_number=err(b"syntax: a message number is 1 to 10 digits"),
        zero_number=err(b"messages are counted from 1"),
        high_number=err(b"no such message"),
        gone_number=err(b"message is marked deleted"),
        missing=err(b"[SYS/TEMP] message cannot be read"),
        unlink_failed=err(b"[SYS/TEMP] some deleted messages were not removed"),
        too_many=err(b"[SYS/TEMP] too many errors, closing"),
    ),
    qmail_quirks=False,
    locks=True,
    single_login=False,
    idle_s=600,  # RFC 1939 §3: at least 10 minutes
    line_octets=512,  # RFC 2449 §4 asks for 255; long logins with long domains pass too
)

QMAIL = Profile(
    name="qmail",
    verbs=frozenset([*_COMMON, b"LAST"]),
    texts=Texts(
        user=_QUIET,
        user_first=err(b"USER first"),
        empty_argument=err(b"syntax error"),
        logged_in=_QUIET,
        bye=_QUIET,
        done=_QUIET,
        reset=_QUIET,
        deleted=_QUIET,
        refused=err(b"authorization failed"),
        temporary=err(b"authorization failed"),
        unusable=err(b"unable to scan $HOME/Maildir"),
        unavailable=err(b"unable to scan $HOME/Maildir"),
        in_use=err(b"authorization failed"),
        no_maildir=err(b"this user has no $HOME/Maildir"),
        not_now=err(b"authorization first"),
        unknown=err(b"unimplemented"),
        too_long=err(b"syntax error"),
        bad_number=err(b"syntax error"),
        zero_number=err(b"messages are counted from 1"),
        high_number=err(b"not that many messages"),
        gone_number=err(b"already deleted"),
        missing=err(b"unable to open that message"),
        unlink_failed=err(b"unable to unlink all deleted messages"),
        too_many=err(b"authorization failed"),
    ),
    qmail_quirks=True,
    locks=False,
    single_login=True,
    idle_s=1200,  # Q-POPUP-15, Q-POP3-18
    line_octets=102_400,  # qmail has no limit; 100 kB is what was seen to pass (Q-SMTP-5)
)

PROFILES = {profile.name: profile for profile in (RFC1939, QMAIL)}
