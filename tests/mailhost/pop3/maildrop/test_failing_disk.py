"""Disks that fail, and files that change under a session: no reply may pass for a message that it is not."""

from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.mailhost.pop3.chain_programs import converse, end, program
from tests.mailhost.pop3.support import HOWTO_HASH, WITHIN_S, Box, Client, Running, eventually, owner

from mailhost.pop3.maildrop import size_cache
from mailhost.pop3.maildrop.encoding import CHUNK_OCTETS
from mailhost.pop3.maildrop.errors import MaildropError
from mailhost.pop3.maildrop.maildrop import Maildrop
from mailhost.pop3.maildrop.open_maildrops import apply
from mailhost.pop3.maildrop.snapshot import Snapshot
from mailhost.pop3.maildrop.transfer import begin
from mailhost.pop3.protocol.events import Reply, Transmit, Update
from mailhost.pop3.protocol.listing import Listing

Serve = Callable[..., Running]
LARGE = b"Subject: large\n\n" + b"a line of thirty-two octets ....\n" * 600_000
MISSING = Reply(b"-ERR\r\n", ok=False)


@pytest.fixture
def drop(box: Box) -> Iterator[Maildrop]:
    """A box with one small message and a large one of three pieces, scanned."""
    box.put("1.small", b"Subject: small\n\nhello\n", age_s=30)
    box.put("2.large", b"x" * (2 * CHUNK_OCTETS) + b"\nend\n", age_s=20)
    drop = scanned(box)
    yield drop
    drop.close()


def scanned(
    box: Box, snapshot: Snapshot | None = None, *, qmail_quirks: bool = False, now: float | None = None
) -> Maildrop:
    drop = Maildrop(os.fsencode(box.maildir), qmail_quirks=qmail_quirks, lock=False, snapshot=snapshot)
    for _ in drop.scan(now):
        pass
    return drop


def names(drop: Maildrop) -> list[bytes]:
    return [message.path for message in drop.listing().messages]


def asked(drop: Maildrop, number: int, lines: int | None = None) -> Transmit:
    return Transmit(drop.listing().messages[number - 1], lines, b"+OK\r\n", MISSING)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def failing(call: str, code: int, after: int = 0, path: bytes | None = None) -> Callable[..., object]:
    """``os.call`` that fails with ``code``: from call ``after`` on, or for this one ``path``."""
    real, count = getattr(os, call), [0]

    def work(first: object, *arguments: object, **keywords: object) -> object:
        if path is None or first == path:
            count[0] += 1
            if count[0] > after:
                raise OSError(code, os.strerror(code))
        return real(first, *arguments, **keywords)

    return work


@pytest.mark.parametrize("lines", [None, 0, 10_000])
@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize(
    ("call", "code"),
    [("open", errno.EACCES), ("open", errno.EMFILE), ("fstat", errno.ESTALE), ("read", errno.EIO)],
)
def test_what_fails_before_the_first_octet_is_an_error_reply_and_costs_no_descriptor(
    drop: Maildrop, monkeypatch: pytest.MonkeyPatch, call: str, code: int, number: int, lines: int | None
) -> None:
    event, before = asked(drop, number, lines), descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing(call, code))
        with pytest.raises(OSError, match=os.strerror(code)):
            begin(drop, event)
    assert descriptors() == before
    assert begin(drop, event)[0].startswith(b"+OK\r\n")


def shortened(path: Path) -> None:
    os.truncate(path, CHUNK_OCTETS)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def rewritten(path: Path) -> None:
    """Other octets, as many as before."""
    stamp = path.stat().st_mtime
    path.write_bytes(b"y" * path.stat().st_size)
    os.utime(path, (stamp, stamp + 1))


@pytest.mark.parametrize("change", [shortened, emptied, rewritten])
def test_a_message_that_changes_while_it_is_sent_never_gets_its_end(
    box: Box, drop: Maildrop, change: Callable[[Path], None]
) -> None:
    wire, transfer = begin(drop, asked(drop, 2))
    assert transfer is not None
    change(box.maildir / "new" / "2.large")

    def rest() -> None:
        nonlocal wire
        while not transfer.done:
            wire += transfer.piece()

    with pytest.raises(OSError, match="the message"):
        rest()
    transfer.close()
    assert not wire.endswith(b"\r\n.\r\n")


def test_a_small_message_cut_short_between_look_and_read_is_not_sent_as_if_whole(
    box: Box, drop: Maildrop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is sent then is the file as it is now, whole: it is opened and looked at again."""
    place, real = box.maildir / "new" / "1.small", os.read

    def late(fd: int, octets: int) -> bytes:
        if place.stat().st_size != 8:
            os.truncate(place, 8)
        return real(fd, octets)

    monkeypatch.setattr(os, "read", late)
    assert begin(drop, asked(drop, 1)) == (b"+OK\r\nSubject:\r\n.\r\n", None)
    assert drop.snapshot.found.messages == [], "the next login measures again"


def another(box: Box, login: str) -> None:
    """An empty box of its own for ``login``, password testpw."""
    place = box.box.parent / login
    for name in ("new", "cur", "tmp"):
        (place / "Maildir" / name).mkdir(parents=True)
    for path in (place, place / "Maildir", *(place / "Maildir").iterdir()):
        os.chown(path, *owner())
    with (box.home / "users" / "poppasswd").open("a") as rows:
        rows.write(f"{login}:{HOWTO_HASH}:popuser:{place}\n")


def slow(server: Running) -> Client:
    """A client whose side takes little before it reads."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    sock.settimeout(WITHIN_S)
    sock.connect(("127.0.0.1", server.ports["pop3"]))
    return Client(0, sock=sock)


@pytest.mark.parametrize("profile", ["rfc1939", "qmail"])
@pytest.mark.parametrize("command", [b"RETR 1", b"TOP 1 9999999"])
def test_the_server_cuts_the_connection_and_others_go_on(box: Box, serve: Serve, profile: str, command: bytes) -> None:
    place = box.put("1.large", LARGE)
    another(box, "second")
    server = serve("--profile", profile)
    reader, bystander = slow(server), server.client()
    assert bystander.login(b"second").startswith(b"+OK")
    assert reader.login().startswith(b"+OK")
    reader.send(command + b"\r\nDELE 1\r\nQUIT\r\n")
    assert reader.line().startswith(b"+OK")
    os.truncate(place, len(LARGE) // 2)
    received = reader.end()
    assert len(received) < len(LARGE)
    assert b"\r\n.\r\n" not in received
    assert eventually(lambda: "message could not be read" in server.log())
    assert bystander.ask(b"NOOP").startswith(b"+OK")
    assert box.files() == ["new/1.large"], "what came behind it in the pipe was not done"
    assert server.client().login().startswith(b"+OK"), "its lock has gone with it"


@pytest.mark.needs("popuser's Python")
def test_pop3d_breaks_off_without_a_word(box: Box) -> None:
    """popup would add ``-ERR`` to what stands in the middle of a message if it ended with another code than 0."""
    place = box.put("1.large", LARGE)
    uid, gid = owner()
    ids = {"user": uid, "group": gid, "extra_groups": []} if os.geteuid() == 0 else {}
    client, process = converse([program(box.home, "pop3d"), str(box.maildir)], **ids)
    assert client.line() == b"+OK \r\n"
    client.send(b"RETR 1\r\nQUIT\r\n")
    assert client.line() == b"+OK \r\n"
    os.truncate(place, len(LARGE) // 2)
    assert b"\r\n.\r\n" not in client.end()
    assert end(client, process) == (0, "")


@pytest.mark.parametrize("qmail_quirks", [False, True], ids=["rfc1939", "qmail"])
def test_without_descriptors_or_memory_no_message_is_left_out(
    box: Box, monkeypatch: pytest.MonkeyPatch, qmail_quirks: bool
) -> None:
    for number in range(3):
        box.put(f"{number}.h", b"x\n", age_s=30 - number)
    snapshot, call, code = Snapshot(), *(("stat", errno.ENOMEM) if qmail_quirks else ("open", errno.EMFILE))
    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing(call, code, path=b"new/1.h"))
        with pytest.raises(MaildropError) as error:
            scanned(box, snapshot, qmail_quirks=qmail_quirks, now=box.settle())
    assert error.value.kind == "unavailable"
    drop = scanned(box, snapshot, qmail_quirks=qmail_quirks)
    assert names(drop) == [b"new/0.h", b"new/1.h", b"new/2.h"]
    drop.close()


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.ESTALE])
@pytest.mark.parametrize("lives", [1, 2], ids=["same server", "after a restart"])
def test_a_message_that_could_not_be_read_is_there_again_when_it_can(
    box: Box, monkeypatch: pytest.MonkeyPatch, code: int, lives: int
) -> None:
    """The directory has not changed since, as after a chown or when a disk has come to itself."""
    monkeypatch.setattr(size_cache, "SAVED_FROM", 2)
    for number in range(3):
        box.put(f"{number}.h", b"x\n", age_s=30 - number)
    snapshot, later = Snapshot(), box.settle()
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", failing("open", code, path=b"new/1.h"))
        drop = scanned(box, snapshot, now=later)
        assert names(drop) == [b"new/0.h", b"new/2.h"], "one bad file hides none of the others"
        drop.remember()
        drop.close()
    drop = scanned(box, snapshot if lives == 1 else None, now=later)
    assert names(drop) == [b"new/0.h", b"new/1.h", b"new/2.h"]
    drop.close()


@pytest.mark.parametrize(
    ("code", "kind"),
    [(errno.ENOENT, "missing"), (errno.EACCES, "unusable"), (errno.EMFILE, "unavailable"), (errno.EIO, "unavailable")],
)
def test_what_passes_is_not_said_to_last(box: Box, monkeypatch: pytest.MonkeyPatch, code: int, kind: str) -> None:
    monkeypatch.setattr(os, "open", failing("open", code))
    with pytest.raises(MaildropError) as error:
        scanned(box)
    assert error.value.kind == kind


def test_a_box_that_cannot_be_locked_for_want_of_locks_is_not_in_use(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    before = descriptors()

    def refuse(_fd: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(MaildropError) as error:
        Maildrop(os.fsencode(box.maildir), qmail_quirks=False, lock=True)
    assert error.value.kind == "unavailable"
    assert descriptors() == before


@pytest.mark.parametrize("code", [errno.EROFS, errno.EIO, errno.EACCES])
def test_quit_on_a_disk_that_takes_no_change_says_so_and_loses_nothing(
    box: Box, drop: Maildrop, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(os, "unlink", failing("unlink", code))
    monkeypatch.setattr("mailhost.pop3.maildrop.maildrop.rename_new", failing("rename", code))
    delete, keep = drop.listing().messages
    assert apply(drop, Update((delete,), (keep,))) == 1
    assert box.files() == ["new/1.small", "new/2.large"]


def test_a_full_disk_leaves_the_old_sizes_and_no_descriptor(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file may not grow beyond 64 octets here: that fails in the write itself, as where the disk is full."""
    monkeypatch.setattr(size_cache, "SAVED_FROM", 2)
    for number in range(3):
        box.put(f"{number}.h", b"x\n", age_s=30 - number)
    drop, before = scanned(box), descriptors()
    drop.listing()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
    try:
        drop.remember()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert descriptors() == before
    assert list(box.maildir.glob("popbox-sizes*")) == list((box.maildir / "tmp").iterdir()) == []
    drop.snapshot.looked = 3
    drop.remember()
    assert (box.maildir / "popbox-sizes").exists()
    drop.close()


def test_a_directory_whose_date_is_put_back_in_the_tick_of_a_delivery(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by tar, rsync -t or touch -r. The clock here ticks once a test: ctimes do not tell the two changes apart."""
    box.put("1.h", b"x\n")
    real, stood = Maildrop._stamps, (box.maildir / "new").stat().st_ctime_ns

    def coarse(drop: Maildrop) -> tuple[int, ...]:
        new, _, new_inode, cur, _, cur_inode = real(drop)
        return new, stood, new_inode, cur, stood, cur_inode

    monkeypatch.setattr(Maildrop, "_stamps", coarse)
    snapshot, old = Snapshot(), 1_700_000_000

    def listing() -> Listing:
        for folder in ("new", "cur"):
            os.utime(box.maildir / folder, (old, old))
        drop = scanned(box, snapshot, now=stood / 1e9 + 1)
        drop.close()
        return drop.listing()

    assert len(listing().messages) == 1
    box.put("2.h", b"x\n")
    assert len(listing().messages) == 2
