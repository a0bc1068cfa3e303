"""One fault for each check: what the fake server must do wrong so that the check fails. Data for the meta test."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.popbox.conformance.fake import Exchange, Faults, err, ok

Say = Callable[[Exchange], bytes]


def does(*switches: str) -> Faults:
    """The server does something wrong."""
    return Faults(frozenset(switches))


def says(pattern: str, say: Say | bytes, when: Callable[[Exchange], bool] = lambda _: True) -> Faults:
    """The reply to lines that match is another one."""
    form = re.compile(pattern.encode(), re.IGNORECASE)

    def reply(exchange: Exchange) -> bytes:
        if not form.fullmatch(exchange.line) or not when(exchange):
            return exchange.reply
        return say if isinstance(say, bytes) else say(exchange)

    return Faults(reply=reply)


def swap_in(old: str, new: str, count: int = 0) -> Say:
    """A regular expression replaced in the reply."""
    form = re.compile(old.encode())
    return lambda exchange: form.sub(new.encode(), exchange.reply, count=count)


def swap(pattern: str, old: str, new: str, count: int = 0) -> Faults:
    """A regular expression replaced in the reply to lines that match."""
    return says(pattern, swap_in(old, new, count))


def accepts(pattern: str) -> Faults:
    """+OK where -ERR is due."""
    return says(pattern, ok())


def refuses(pattern: str) -> Faults:
    """-ERR where +OK is due."""
    return says(pattern, err("no"))


def greets(change: Callable[[bytes], bytes]) -> Faults:
    """Another greeting."""
    return Faults(greeting=change)


def spoils(old: bytes, new: bytes) -> Faults:
    """The file is not what is sent."""
    return Faults(spoil=lambda octets: re.sub(old, new, octets))


def every_other() -> Say:
    """A number that changes."""
    calls = iter(range(1, 10**6))
    return lambda exchange: exchange.reply.replace(b"\r\n", b"%d\r\n" % next(calls), 1)


def drifting() -> Say:
    """A line more at the end, another one each time; it reads as a scan listing too."""
    calls = iter(range(1000, 10**6))
    return lambda exchange: re.sub(rb"(?<=\n)(?=\.\r\n\Z)", b"%d 1\r\n" % next(calls), exchange.reply)


def by_session(exchange: Exchange) -> bytes:
    """Ids that are new in each session."""
    salt = str(id(exchange.session) % 9973).encode()
    return re.sub(rb"([0-9a-f]{16})\r\n", rb"\g<1>" + salt + b"\r\n", exchange.reply)


class _Reads:
    """Notes that a session has retrieved something."""

    def __init__(self) -> None:
        self.seen: set[int] = set()

    def note(self, exchange: Exchange, verb: str) -> bool:
        if exchange.verb == verb:
            self.seen.add(id(exchange.session))
        return id(exchange.session) in self.seen


def after(verb: str, pattern: str, say: Say) -> Faults:
    """Another reply, once the session has used ``verb``."""
    reads, form = _Reads(), re.compile(pattern.encode(), re.IGNORECASE)

    def reply(exchange: Exchange) -> bytes:
        noted = reads.note(exchange, verb)
        return say(exchange) if noted and form.fullmatch(exchange.line) else exchange.reply

    return Faults(reply=reply)


def twice(exchange: Exchange) -> bytes:
    """Two replies."""
    return exchange.reply * 2


def big_shout(exchange: Exchange) -> bytes:
    """Refuse by sending a line far too long."""
    return exchange.reply.rstrip(b"\r\n") + b" " + b"x" * 600 + b"\r\n"


REPLIES: dict[str, Faults] = {
    "greeting-ok": greets(lambda line: b"HELLO\r\n"),
    "greeting-crlf": greets(lambda line: line.replace(b"\r\n", b"\n")),
    "greeting-one-line": greets(lambda line: line + b"welcome\r\n"),
    "greeting-length": greets(lambda line: b"+OK " + b"x" * 600 + b"\r\n"),
    "greeting-space": greets(lambda line: b"+OK-ready\r\n"),
    "greeting-printable": greets(lambda line: b"+OK gr\xfc\xdf <1.2@x>\r\n"),
    "greeting-stamp-new": greets(lambda line: b"+OK <1.2@x>\r\n"),
    "greeting-stamp-form": greets(lambda line: b"+OK <1 2 3>\r\n"),
    "status-capitals": swap("STAT", r"\+OK", "+ok"),
    "replies-crlf": swap("NOOP", "\r\n", "\n"),
    "replies-length": says("NO-SUCH-COMMAND", big_shout),
    "replies-printable": swap("STAT", "\r\n", "\t\r\n"),
    "one-reply": says("RSET", twice),
    "terminator": swap("LIST", "\r\n\\.\r\n", "\r\n.\n"),
    "keyword-case": does("case-matters"),
    "login-keyword-case": does("case-matters"),
    "unknown-before-login": accepts("XYZZY"),
    "unknown-after-login": accepts("XYZZY"),
    "empty-line-before-login": accepts(""),
    "empty-line-after-login": accepts(""),
    "keyword-whole": accepts("STATX"),
    "keyword-not-cut": accepts("STA"),
    "leading-space": accepts(" STAT"),
    "eight-bit-command": accepts("ST.T"),
    "nul-command": does("nul-ends-line"),
    "stat-argument": does("ignores-arguments"),
    "noop-argument": does("ignores-arguments"),
    "rset-argument": does("ignores-arguments"),
    "quit-argument": does("ignores-arguments"),
    "line-of-255": refuses("USER u+"),
    "line-too-long": does("splits-long-lines"),
    "octet-by-octet": refuses("STAT"),
    "several-at-once": does("reads-one-line"),
    "noop": refuses("NOOP"),
    "rset-unmarked": refuses("RSET"),
    "many-errors": says("XYZZY", ok(), lambda exchange: exchange.session.errors > 60),
    "pass-not-after-user": does("user-remembered"),
    "pass-before-user": does("pass-first", "any-login"),
    "user-is-no-login": says("STAT", ok("0 0")),
    "quit-before-login": refuses("QUIT"),
    "quit-before-login-closes": does("quit-stays"),
    "quit-after-user": says("QUIT", err("no"), lambda exchange: exchange.session.user is not None),
    "second-user": does("one-user"),
    "user-after-login": accepts("USER .*"),
    "pass-after-login": accepts("PASS nothing"),
    "apop-after-login": accepts("APOP .*"),
    "auth-after-login": says("AUTH PLAIN", b"+ \r\n"),
    "stls-after-login": accepts("STLS"),
}
LOGINS: dict[str, Faults] = {
    "wrong-refused": does("any-password"),
    "unknown-refused": does("any-login"),
    "case-refused": does("password-case"),
    "login-case-refused": does("login-case"),
    "shorter-refused": does("password-prefix"),
    "longer-refused": does("password-tail"),
    "space-refused": does("password-trim"),
    "nul-refused": does("nul-ends-line"),
    "right-login": refuses("PASS .*"),
    "user-discloses-nothing": does("user-discloses"),
    "refusal-discloses-nothing": does("refusal-discloses"),
    "login-after-refusal": does("stuck-after-refusal"),
    "open-after-refusal": does("closes-after-refusal"),
    "user-without-name": accepts("USER"),
    "pass-without-password": accepts("PASS"),
    "apop-wrong": does("apop-any"),
    "apop-replay": does("apop-any"),
    "apop-right": does("apop-refused"),
    "apop-no-digest": does("apop-any"),
}
LISTS: dict[str, Faults] = {
    "stat-form": swap("STAT", r"\+OK (\d+) ", r"+OK  \1 "),
    "stat-bare": swap("STAT", "\r\n", " octets\r\n"),
    "stat-count": swap("STAT", r"\+OK (\d+)", r"+OK 1\1"),
    "stat-octets": swap("STAT", r"(\d+)\r\n", r"1\1\r\n"),
    "stat-again": says("STAT", every_other()),
    "list-ok": refuses("LIST"),
    "list-form": swap("LIST", r"\n(\d+) ", r"\n\1  "),
    "list-bare": swap("LIST", r"(\n\d+ \d+)", r"\1 octets"),
    "list-numbers": swap("LIST", r"\n1 ", r"\n7 "),
    "list-again": says("LIST", drifting()),
    "list-one-form": swap(r"LIST \d+", r"\+OK \d+ ", "+OK "),
    "list-one-agrees": swap(r"LIST \d+", r"(\d+)\r\n", r"1\1\r\n"),
    "sizes-as-sent": does("file-sizes"),
    "uidl-supported": refuses("UIDL"),
    "uidl-form": swap("UIDL", r"\n(\d+) ", r"\n\1  "),
    "uid-length": swap("UIDL", r"(\n\d+ )", rf"\g<1>{'x' * 80}"),
    "uid-octets": swap("UIDL", r"(\n\d+ )", r"\1a\\x7fb".replace(r"\\x7f", "\x7f")),
    "uid-unique": swap("UIDL", r"\n(\d+) \S+", r"\n\1 same"),
    "uidl-numbers": swap("UIDL", r"\n1 ", r"\n9 "),
    "uidl-one-form": swap(r"UIDL \d+", r"\+OK \d+ ", "+OK "),
    "uidl-one-agrees": swap(r"UIDL \d+", r"\r\n", "x\r\n"),
    "uid-persists": says("UIDL", by_session),
    "uid-after-read": after("RETR", "UIDL", by_session),
}
MESSAGES: dict[str, Faults] = {
    "retr-ok": refuses(r"RETR \d+"),
    "retr-each": refuses(r"RETR 2"),
    "retr-line-ends": Faults(wire=lambda body: body.replace(b"\r\n", b"\n", 1)),
    "retr-again": says(r"RETR \d+", drifting()),
    "retr-keeps": does("retr-deletes"),
    "top-supported": refuses("TOP .*"),
    "top-none": says(r"TOP \d+ 0", lambda exchange: exchange.reply[:-3] + b"one\r\n.\r\n"),
    "top-one": says(r"TOP \d+ 1", lambda exchange: exchange.reply[:-3] + b"two\r\n.\r\n"),
    "top-three": says(r"TOP \d+ 3", lambda exchange: exchange.reply[:-3] + b"four\r\n.\r\n"),
    "top-all": says(r"TOP \d+ \d{4,}", lambda exchange: exchange.reply[:-3] + b"more\r\n.\r\n"),
    "top-then-retr": after("TOP", r"RETR \d+", drifting()),
    "retr-extra": says(r"RETR \d+ 1", ok() + b"x\r\n.\r\n"),
    "list-extra": accepts(r"LIST \d+ 1"),
    "uidl-extra": accepts(r"UIDL \d+ 1"),
}
for _name in ("top-without-count", "top-negative-count", "top-word-count", "top-extra"):
    MESSAGES[_name] = says(r"TOP \d+( -1| all| 0 0)?", ok() + b"x\r\n.\r\n")
DOTS = Faults(wire=lambda body: re.sub(rb"^\.(?=[^\r])", b"", body, flags=re.MULTILINE))
CRLF = spoils(rb"\r\n", b"\r\r\n")
WRAPPED = spoils(rb"([^\n]{900})", rb"\1\n")
ENDS = Faults(spoil=lambda octets: octets + b"\n" if octets and b"\n\n" not in octets else octets)
CONTENT: dict[str, Faults] = {
    "exact-plain": spoils(b"one\n", b""),
    "exact-dot-lines": DOTS,
    "exact-dot-first": DOTS,
    "exact-only-dots": spoils(rb"\A\.\n", b""),
    "exact-dot-crlf": CRLF,
    "exact-no-final-newline": spoils(rb"\n[^\n]+\Z", b"\n"),
    "exact-crlf-file": CRLF,
    "exact-mixed-ends": CRLF,
    "exact-lone-cr": spoils(rb"\r(?!\n)", b""),
    "exact-nul": spoils(rb"\0", b""),
    "exact-eight-bit": spoils(rb"[\x80-\xff]", b"?"),
    "exact-controls": spoils(rb"[\x01-\x08\x7f]", b"?"),
    "exact-utf-8": spoils(rb"[\x80-\xff]", b"?"),
    "exact-empty": Faults(spoil=lambda octets: octets or b"\n"),
    "exact-header-only": ENDS,
    "exact-header-and-end": spoils(rb"(-and-end\n)\n", rb"\1"),
    "exact-no-header": spoils(rb"\A\n", b""),
    "exact-unended": spoils(rb"\A(token-unended)\Z", rb"\1\n\n"),
    "exact-blank-lines": spoils(rb"\n+\Z", b"\n"),
    "exact-only-blank": spoils(rb"\n+\Z", b"\n"),
    "exact-trailing-spaces": spoils(rb"[ \t]+\n", b"\n"),
    "exact-from-lines": spoils(rb"\n(>*From )", rb"\n>\1"),
    "exact-line-998": WRAPPED,
    "exact-long-line": WRAPPED,
    "exact-many-lines": spoils(rb"\n4321\n", rb"\n"),
    "exact-big": Faults(spoil=lambda octets: octets[:1_000_000]),
    "nothing-added": Faults(spoil=lambda octets: octets + b"\n"),
    "dots-doubled": DOTS,
    "first-dot-doubled": DOTS,
    "top-dots-doubled": DOTS,
    "top-blank": swap(r"TOP \d+ 1", r"(\r\n)+\.\r\n\Z", "\r\n.\r\n"),
    "top-header-only": swap(r"TOP \d+ 0", r"(\r\n)+\.\r\n\Z", "\r\nmore\r\n.\r\n"),
    "top-crlf": says(r"TOP \d+ 0", lambda exchange: exchange.reply[:-3] + b"one\r\n.\r\n"),
    "top-big": says(r"TOP \d+ 0", lambda exchange: exchange.reply[:-3] + b"one\r\n.\r\n"),
    "top-long-line": swap(r"TOP \d+ 1", "z{1000,}", "zzz"),
    "top-no-header": says(r"TOP \d+ 0", lambda exchange: exchange.reply[:-3] + b"one\r\n.\r\n"),
    "all-there": swap("LIST", r"\n34 \d+\r", "\n.\r", 1),
}
for _at in ("dot-at-1024", "dot-at-4096", "dot-at-8192", "dot-at-65536"):
    CONTENT[f"exact-{_at}"] = DOTS
for _at in ("split-at-4096", "split-at-65536"):
    CONTENT[f"exact-{_at}"] = CRLF
SESSIONS: dict[str, Faults] = {
    "arrival-invisible": does("arrivals-appear"),
    "arrival-visible-next": does("hides-new"),
    "renamed": does("names-listed"),
    "twins": does("twins-share-id"),
    "vanished": does("dies-on-vanished"),
    "exclusive-lock": does("no-lock"),
    "second-login": does("no-lock", "kicks-first"),
    "lock-released": does("lock-stays"),
    "lost-in-retr": does("retr-deletes", "lost-removes"),
    "reading-changes-nothing": does("retr-deletes", "lost-removes"),
    "many-connections": does("few-connections"),
    "silent-client": does("one-at-a-time"),
    "half-closed": does("never-closes"),
    "endless-line": does("greets-endless-line"),
    "garbage": says(r"(?s).*", ok(), lambda exchange: len(exchange.line) > 100 or b"\0" in exchange.line),
}
CAPA: dict[str, Faults] = {
    "capa-supported": refuses("CAPA"),
    "capa-after-login": says("CAPA", err("no"), lambda exchange: exchange.logged_in),
    "capa-both-states": says("CAPA", swap_in("UIDL\r\n", ""), lambda exchange: exchange.logged_in),
    "capa-form": swap("CAPA", "IMPLEMENTATION", "IMPLEMENTATION:"),
    "capa-once": swap("CAPA", "TOP", "UIDL"),
    "capa-argument": does("ignores-arguments"),
    "capa-top": swap("CAPA", "TOP\r\n", ""),
    "capa-uidl": swap("CAPA", "UIDL\r\n", ""),
    "capa-user": swap("CAPA", "USER\r\n", ""),
    "capa-pipelining": does("reads-one-line"),
    "capa-pipelining-login": does("reads-one-line"),
    "capa-login-delay": swap("CAPA", "LOGIN-DELAY 0", "LOGIN-DELAY soon"),
    "capa-expire": swap("CAPA", "EXPIRE NEVER", "EXPIRE LATER"),
    "capa-sasl": swap("CAPA", "SASL PLAIN", "SASL"),
    "capa-implementation": swap("CAPA", "IMPLEMENTATION fake", "IMPLEMENTATION"),
    "resp-codes-form": swap("LIST 999999", "-ERR", "-ERR [no such/]"),
    "in-use-code": does("no-in-use-code"),
    "auth-code": swap("PASS .*", r"\[AUTH\] ", ""),
    "capa-is-no-login": says("STAT", ok("0 0")),
    "auth-initial": refuses("AUTH PLAIN .*"),
    "auth-challenge": says("AUTH PLAIN", b"+\r\n"),
    "auth-response": says(".*", err("no"), lambda exchange: exchange.verb == "SASL"),
    "auth-cancel": says(r"\*", ok()),
    "auth-unknown": says("AUTH X-NONE", b"+ \r\n"),
    "auth-bad-base64": says("!!!.*", ok()),
    "auth-lower-case": does("mechanism-case"),
    "auth-empty": does("auth-any"),
    "auth-same-authzid": refuses("AUTH PLAIN .*"),
    "auth-no-nul": does("auth-any"),
    "auth-wrong-refused": does("auth-any"),
    "auth-other-refused": does("auth-any"),
    "auth-long": does("short-sasl-lines", "splits-long-lines"),
    "stls": does("stls-fails"),
    "stls-not-twice": swap("CAPA", r"UIDL\r\n", "UIDL\r\nSTLS\r\n"),
    "stls-not-after-login": does("stls-after-login"),
    "stls-refused-within": does("stls-twice"),
    "stls-forgets": does("stls-remembers"),
    "stls-injection": does("stls-injection"),
    "stls-argument": does("ignores-arguments"),
    "stls-unannounced": accepts("STLS"),
    "utf8": refuses("UTF8"),
    "utf8-after-login": accepts("UTF8"),
    "lang-list": swap("LANG", "en English", "en"),
    "lang-unknown": accepts("LANG x-.*"),
    "lang-default": refuses(r"LANG \*"),
    "lang-after-login": says("LANG", err("no"), lambda exchange: exchange.logged_in),
}
CHANGES: dict[str, Faults] = {
    "dele-ok": refuses(r"DELE \d+"),
    "deleted-dele": does("deleted-answers"),
    "deleted-retr": does("deleted-answers"),
    "deleted-top": does("deleted-answers"),
    "deleted-list-one": does("deleted-answers"),
    "deleted-uidl-one": does("deleted-answers"),
    "deleted-list": does("lists-deleted"),
    "deleted-uidl": does("lists-deleted"),
    "deleted-stat-count": does("lists-deleted"),
    "deleted-stat-octets": does("lists-deleted"),
    "deleted-other": does("marks-next"),
    "rset-list": does("rset-keeps"),
    "rset-stat": does("rset-keeps"),
    "rset-retr": does("rset-keeps"),
    "rset-one-reply": says("RSET", twice),
    "deleted-elsewhere": does("dele-at-once", "no-lock"),
    "deleted-on-disk": does("dele-at-once"),
    "deleted-batch": does("reads-one-line"),
    "quit-ok": refuses("QUIT"),
    "quit-closes": does("quit-stays"),
    "quit-after-dele": says("QUIT", twice),
    "quit-removes": does("quit-takes-next"),
    "quit-removed": does("quit-keeps"),
    "quit-keeps-ids": does("uid-by-path"),
    "quit-renumbers": says("LIST", swap_in(r"\n2 ", r"\n3 "), lambda exchange: len(exchange.session.files) == 2),
    "quit-keeps": does("quit-takes-all"),
    "quit-moves-quietly": does("uid-by-path"),
    "quit-keeps-names": does("quit-swaps-messages"),
    "quit-after-retr": does("retr-deletes"),
    "quit-after-rset": does("rset-keeps"),
    "lost-after-dele": does("lost-removes"),
    "half-closed-after-dele": does("lost-removes"),
    "cut-quit": does("cut-quit"),
    "batch-quit": does("reads-one-line"),
    "quit-frees": does("lock-stays"),
    "empty-box": says("STAT", ok("empty"), lambda exchange: exchange.reply == ok("0 0")),
    "empty-box-retr": says("RETR 1", ok(), lambda exchange: not exchange.session.files),
    "quit-vanished": does("gives-up"),
    "quit-leaves-files": does("quit-touches-files"),
}
GOLDEN: dict[str, Faults] = {
    "qmail-login-space": does("login-trim"),
    "qmail-pass-first": says("PASS .*", err("no")),
    "qmail-pass-empty": says("PASS", err("no")),
}
FAULTS = {**REPLIES, **LOGINS, **LISTS, **MESSAGES, **CONTENT, **SESSIONS, **CAPA, **CHANGES, **GOLDEN}
LENIENT_NUMBERS = does("lenient-numbers")
RIGHT = Faults()


def fault_for(name: str, area: str) -> Faults | None:
    """The fault that this check must catch; None where there is none."""
    if name in FAULTS:
        return FAULTS[name]
    if area == "message numbers":
        return LENIENT_NUMBERS if not name.endswith("-missing") else accepts("(RETR|TOP|DELE)")
    if name.startswith("size-"):
        return swap("LIST", r"(\n\d+ \d+)", r"\g<1>1")
    if name.endswith("-before-login"):
        return accepts(r"(STAT|LIST|UIDL|RETR|DELE|NOOP|RSET|TOP).*")
    if area == "qmail":
        return RIGHT  # a server that keeps the RFC is not qmail
    return None
