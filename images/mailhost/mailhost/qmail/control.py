"""qmail's control files as one value, and whether qmail-smtpd accepts a recipient. Source: facts §5, Q-RCPT-1..11."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Flag, auto

from mailhost.qmail.cdb.reader import Cdb, CdbError
from mailhost.qmail.controlfile import ControlError, Home, Line, Table, first_line, map_table, number, read, set_table

__all__ = ["ControlError", "Controls", "Decision", "Line", "Reader", "Table", "accepts", "badmailfrom", "load"]

NOT_ALLOWED = b"553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)"
BAD_SENDER = b"553 sorry, your envelope sender is in my badmailfrom list (#5.7.1)"
DEFAULT_DELIVERY = b"./Mailbox"  # qmail-start's first argument in the stock set-up
MOST_DELIVERIES = 120  # conf-spawn of the stock build; larger concurrency files are cut to it (Q-SEND-15)


class Reader(Flag):
    """Which program's files to read: a program cannot fail on a file that it never opens."""

    SMTPD = auto()
    SEND = auto()
    REMOTE = auto()
    ALL = SMTPD | SEND | REMOTE


@dataclass(frozen=True, slots=True)
class Controls:
    """The control files for receiving and local delivery, with defaults filled in, under the files' names.

    ``None`` means "no such file and no default": without rcpthosts every domain is accepted, without ``me``
    there is no greeting. Times are seconds, sizes octets. ``defaultdelivery``: for a box without .qmail (Q-DEF-1).
    """

    home: Home
    me: bytes | None
    # qmail-smtpd
    rcpthosts: Table | None
    morercpthosts: Cdb | None
    badmailfrom: Table | None
    smtpgreeting: bytes | None
    localiphost: bytes | None
    databytes: int
    timeoutsmtpd: int
    # qmail-send
    locals: Table | None
    virtualdomains: Table
    percenthack: Table
    envnoathost: bytes
    bouncefrom: bytes
    bouncehost: bytes
    doublebounceto: bytes
    doublebouncehost: bytes
    queuelifetime: int
    concurrencylocal: int
    concurrencyremote: int
    defaultdelivery: bytes
    # qmail-remote
    helohost: bytes | None
    smtproutes: Table
    timeoutconnect: int
    timeoutremote: int


@dataclass(frozen=True, slots=True)
class Decision:
    """qmail-smtpd's answer to RCPT. ``file`` (below home), ``line`` and ``key`` decided; ``reply`` is the refusal.

    ``line`` is 0 when no single line decided: an absent file, a cdb, a recipient without ``@``.
    """

    accepted: bool
    file: str
    line: int = 0
    key: bytes = b""
    reply: bytes = b""


class _Files:
    """Reads control files for the wanted programs; a file of any other program counts as absent."""

    def __init__(self, home: Home, wanted: Reader) -> None:
        self.home = home
        self.wanted = wanted
        self.me = first_line(read(home, "control/me"))

    def text(self, reader: Reader, name: str) -> bytes | None:
        return read(self.home, f"control/{name}") if reader & self.wanted else None

    def line(self, reader: Reader, name: str) -> bytes | None:
        value = first_line(self.text(reader, name))
        return self.me if value is None else value

    def word(self, reader: Reader, name: str) -> bytes:
        value = self.line(reader, name)
        return name.encode() if value is None else value

    def plain(self, reader: Reader, name: str, default: bytes) -> bytes:
        value = first_line(self.text(reader, name))
        return default if value is None else value

    def count(self, reader: Reader, name: str, default: int) -> int:
        return number(self.text(reader, name), default)

    def names(self, reader: Reader, name: str) -> Table | None:
        text = self.text(reader, name)
        return None if text is None else set_table(f"control/{name}", text)

    def pairs(self, reader: Reader, name: str) -> Table:
        return map_table(f"control/{name}", self.text(reader, name))


def load(home: Home, reader: Reader = Reader.ALL) -> Controls:
    """Read the control files of ``home`` that ``reader`` reads. Source: qmail-control(5).

    Raises:
        ControlError: a file is there and cannot be read.
    """
    files = _Files(home, reader)
    smtpd, send, remote = Reader.SMTPD, Reader.SEND, Reader.REMOTE
    rcpthosts = files.names(smtpd, "rcpthosts")
    return Controls(
        home=home,
        me=files.me,
        rcpthosts=rcpthosts,
        morercpthosts=None if rcpthosts is None else _open_cdb(home, "control/morercpthosts.cdb"),
        badmailfrom=files.names(smtpd, "badmailfrom"),
        smtpgreeting=files.line(smtpd, "smtpgreeting"),
        localiphost=files.line(smtpd, "localiphost"),
        databytes=files.count(smtpd, "databytes", 0),
        timeoutsmtpd=_at_least_one(files.count(smtpd, "timeoutsmtpd", 1200)),
        locals=_locals(files),
        virtualdomains=files.pairs(send, "virtualdomains"),
        percenthack=files.names(send, "percenthack") or Table("control/percenthack"),
        envnoathost=files.word(send, "envnoathost"),
        bouncefrom=files.plain(send, "bouncefrom", b"MAILER-DAEMON"),
        bouncehost=files.word(send, "bouncehost"),
        doublebounceto=files.plain(send, "doublebounceto", b"postmaster"),
        doublebouncehost=files.word(send, "doublebouncehost"),
        queuelifetime=files.count(send, "queuelifetime", 604800),
        concurrencylocal=min(files.count(send, "concurrencylocal", 10), MOST_DELIVERIES),
        concurrencyremote=min(files.count(send, "concurrencyremote", 20), MOST_DELIVERIES),
        defaultdelivery=_default_delivery(files),
        helohost=files.line(remote, "helohost"),
        smtproutes=files.pairs(remote, "smtproutes"),
        timeoutconnect=files.count(remote, "timeoutconnect", 60),
        timeoutremote=files.count(remote, "timeoutremote", 1200),
    )


def _locals(files: _Files) -> Table | None:
    """control/locals, else ``me`` alone; None without either: qmail-send does not start (Q-SEND-7)."""
    table = files.names(Reader.SEND, "locals")
    if table is None and files.me is not None:
        return Table("control/me", (Line(files.me, b"", 1),))
    return table


def _default_delivery(files: _Files) -> bytes:
    """What the qmail image's run script passes to qmail-start, as sh reads it: without NULs and final line ends."""
    text = files.text(Reader.SEND, "defaultdelivery")
    return text.replace(b"\0", b"").rstrip(b"\n") if text else DEFAULT_DELIVERY


def _at_least_one(seconds: int) -> int:
    """Timeouts are signed in qmail-smtpd: one that is not positive becomes one second (Q-SMTP-13)."""
    return seconds if 0 < seconds < 1 << 31 else 1


def _open_cdb(home: Home, file: str) -> Cdb | None:
    try:
        return Cdb(home / file)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ControlError(file, f"cannot be read: {error.strerror}") from error


def host_of(address: bytes) -> bytes | None:
    """The text after the last ``@``; None without one."""
    _, at, host = address.rpartition(b"@")
    return host if at else None


def suffixes(host: bytes) -> list[bytes]:
    """The keys tried for a host, in order: itself, then from each ``.`` on; none for an empty host (facts B.2)."""
    return [host[i:] for i in range(len(host)) if i == 0 or host[i : i + 1] == b"."]


def accepts(controls: Controls, rcpt: bytes, relayclient: bytes | None = None) -> Decision:
    """Whether qmail-smtpd accepts this recipient, and which line decided; ``relayclient``: the variable RELAYCLIENT.

    Source: qmail-smtpd(8), Q-RCPT-1..8.

    Raises:
        ControlError: morercpthosts.cdb is corrupt (Q-SMTP-4).
    """
    file = "control/rcpthosts"
    if relayclient is not None:
        return Decision(accepted=True, file="RELAYCLIENT")
    host = host_of(rcpt)
    if host is None or controls.rcpthosts is None:
        return Decision(accepted=True, file=file)
    keys = suffixes(host.lower())
    for key in keys:
        line = controls.rcpthosts.find(key)
        if line is not None:
            return Decision(accepted=True, file=file, line=line.number, key=line.key)
    return _accepts_more(controls, keys)


def _accepts_more(controls: Controls, keys: list[bytes]) -> Decision:
    """The second list, as qmail-newmrh built it."""
    file = "control/morercpthosts.cdb"
    try:
        for key in keys if controls.morercpthosts is not None else ():
            if controls.morercpthosts is not None and controls.morercpthosts.get(key) is not None:
                return Decision(accepted=True, file=file, key=key)
    except CdbError as error:
        raise ControlError(file, str(error)) from error
    return Decision(accepted=False, file="control/rcpthosts", reply=NOT_ALLOWED)


def badmailfrom(controls: Controls, sender: bytes) -> Line | None:
    """The badmailfrom line that bars this envelope sender, or None; BAD_SENDER is the reply to RCPT (Q-RCPT-9)."""
    if controls.badmailfrom is None:
        return None
    host = host_of(sender)
    return controls.badmailfrom.find(sender) or (None if host is None else controls.badmailfrom.find(b"@" + host))
