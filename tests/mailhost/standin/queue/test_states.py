"""Every crash point that README.md lists: what a process that dies there leaves, and what the next one does."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.mailhost.standin.support import Home

from mailhost.qmail.control import Reader, load
from mailhost.standin.delivery import maildir
from mailhost.standin.delivery.report import Outcome, Report
from mailhost.standin.log import Log
from mailhost.standin.queue import store as queue
from mailhost.standin.queue.format import Journal, QueueRecord, Recipient, record_done, record_failed
from mailhost.standin.queue.group_commit import Committer
from mailhost.standin.queue.message_reader import Stored
from mailhost.standin.queue.store import Queue, Trace
from mailhost.standin.sending.sender import Sender
from mailhost.standin.sending.work import Work

TO = (Recipient(True, b"p-joe@d.com"),)


class Crash(BaseException):
    """The process dies; no code in it may catch this."""


class Disk:
    """Counts the calls that change the disk, in order, and dies before the chosen one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int = -1) -> None:
        self.calls: list[str] = []
        self._at = at
        for name in ("open", "write", "fsync", "rename", "link", "unlink"):
            monkeypatch.setattr(os, name, self._wrapped(name, getattr(os, name)))

    def _wrapped(self, name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            what = self._what(name, args)
            if what is not None:
                if len(self.calls) == self._at:
                    raise Crash
                self.calls.append(what)
            return real(*args, **kwargs)

        return call

    @staticmethod
    def _what(name: str, args: tuple[object, ...]) -> str | None:
        if name == "open":
            made = isinstance(args[1], int) and args[1] & os.O_CREAT
            return f"create {_place(args[0])}" if made else None
        if name in ("write", "fsync"):
            return f"{name} {_place(os.fsencode(Path(f'/proc/self/fd/{args[0]}').readlink()))}"
        return f"{name} {' '.join(map(_place, args))}"


def _place(path: object) -> str:
    """``tmp/N``, ``msg/N``, ``new/N``: the directory, and N for whatever the file is called."""
    name = Path(os.fsdecode(path))  # type: ignore[arg-type]
    return name.name if name.name in ("msg", "new", "tmp", "state") else f"{name.parent.name}/N"


def store(home: Home) -> Queue:
    return Queue(queue.make(home.path))


def put(store: Queue, to: tuple[Recipient, ...] = TO) -> QueueRecord:
    (record,) = store.commit([draft(store, to)])
    assert isinstance(record, QueueRecord)
    return record


def draft(store: Queue, to: tuple[Recipient, ...] = TO) -> queue.Draft:
    made = store.draft(b"s@d.com", to, Trace(b"from network", 888))
    made.write(b"Subject: x\n\nhello\n")
    return made


COMMIT = ["create tmp/N", "write tmp/N", "fsync tmp/N", "rename tmp/N msg/N", "fsync msg"]


def test_250_stands_on_these_calls_in_this_order(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    accepting = store(home)
    disk = Disk(monkeypatch)
    put(accepting)
    assert disk.calls == COMMIT


@pytest.mark.parametrize("at", range(len(COMMIT)))
def test_s1_s2_s3_a_crash_before_250(home: Home, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    accepting = store(home)
    with monkeypatch.context() as dying:
        Disk(dying, at)
        with pytest.raises(Crash):
            accepting.commit([draft(accepting)])
    again = store(home)
    again.sweep()
    assert home.queued("tmp") == []
    found = [one for _, one in again.load()]
    assert len(found) == (1 if at > COMMIT.index("rename tmp/N msg/N") else 0)
    assert not [one for one in found if isinstance(one, Exception)], "half a message"


DELIVERY = [
    "create tmp/N",
    "write tmp/N",
    "fsync tmp/N",
    "link tmp/N new/N",
    "unlink tmp/N",
    "fsync new",
    "unlink msg/N",
]


def work(home: Home, accepting: Queue) -> tuple[Work, Committer]:
    committer = Committer(accepting)
    controls = load(home.path, Reader.SEND)
    return Work(home.path, accepting, committer, controls, lambda _entry: None, programs=False), committer


@pytest.mark.parametrize("at", range(len(DELIVERY) + 1))
def test_s4_s5_a_crash_in_delivery(home: Home, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Never lost; delivered twice only if the crash came between the link into new/ and the end of the queue file."""
    home.box("joe")
    accepting = store(home)
    record = put(accepting)
    working, committer = work(home, accepting)
    monkeypatch.setattr(os, "geteuid", lambda: owner_uid(home))
    with monkeypatch.context() as dying:
        disk = Disk(dying, at)
        try:
            report = working.local(record, record.sender, TO[0].address, journal=False)
            assert report == Report(Outcome.SUCCESS, b"did 1+0+0\n")
            assert disk.calls == DELIVERY
        except Crash:
            assert disk.calls == DELIVERY[:at]
    again = store(home)
    left = [one for _, one in again.load() if not isinstance(one, Exception)]
    linked, ended = at > DELIVERY.index("link tmp/N new/N"), at >= len(DELIVERY)
    assert (len(home.mail()), len(left)) == (1 if linked else 0, 0 if ended else 1)
    if not ended:
        next_one, closing = work(home, again)
        next_one.local(left[0][0], record.sender, TO[0].address)
        closing.close()
        assert len(home.mail()) == (2 if linked else 1)
    committer.close()


def owner_uid(home: Home) -> int:
    """The uid in users/assign: root gets no mail, so these tests run as if they were popuser."""
    return int((home.path / "users/assign").read_text().split(":")[2])


def test_s6_what_is_on_record_is_not_tried_again(home: Home) -> None:
    accepting = store(home)
    record = put(accepting, (*TO, Recipient(True, b"p-b@d.com"), Recipient(True, b"p-c@d.com")))
    accepting.add_to_journal(record.number, record_done(0))
    accepting.add_to_journal(record.number, record_failed(1, b"no\n"))
    with (home.path / "queue/standin/state" / str(record.number)).open("ab") as cut:
        cut.write(b"K 2")
    ((_, found),) = store(home).load()
    assert found == (record, Journal({0, 1}, {1: b"no\n"}, {}))


def test_s7_the_bounce_is_accepted_before_its_message_ends(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    accepting = store(home)
    record = put(accepting)
    working, committer = work(home, accepting)
    disk = Disk(monkeypatch)
    bounced = working.bounce(record, [(TO[0].address, b"no\n")])
    assert disk.calls == COMMIT, "the message itself is untouched until then"
    assert store(home).numbers() == [record.number, bounced]
    committer.close()


@pytest.mark.parametrize("at", [0, 1])
def test_s8_a_crash_at_the_end(home: Home, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    accepting = store(home)
    record = put(accepting)
    accepting.add_to_journal(record.number, record_done(0))
    with monkeypatch.context() as dying:
        disk = Disk(dying, at)
        with pytest.raises(Crash):
            accepting.remove(record.number)
        assert disk.calls == ["unlink msg/N"][:at]
    again = store(home)
    assert again.sweep() == at
    left = [one[1].done for _, one in again.load() if not isinstance(one, Exception)]
    assert left == [{0}][at:], "a message without its journal would be sent again"


def test_a_maildir_that_cannot_be_synced_is_not_delivered(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    box = home.box("joe")
    accepting = store(home)
    fd = accepting.open(put(accepting).number)
    monkeypatch.setattr(os, "fsync", lambda _fd: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    with pytest.raises(Exception, match="Temporary error") as caught:
        maildir.deliver(os.fsencode(box / "Maildir"), b"", Stored(fd, 0))
    os.close(fd)
    assert home.mail() == []
    report = caught.value.report()  # type: ignore[attr-defined]
    assert report.cause.endswith("Input/output error")
    assert "/Maildir/tmp/" in report.cause


def test_e_50_trouble_of_our_own_defers_and_frees_its_place(home: Home) -> None:
    class Broken:
        controls = load(home.path, Reader.SEND)

        def local(self, *_args: object, **_kwargs: object) -> None:
            raise RuntimeError("a fault")

        async def remote(self, *_args: object) -> None:
            raise ValueError("another")

        @property
        def queue(self) -> Queue:
            return accepting

    accepting = store(home)
    said = home.path / "said"

    async def run() -> None:
        fd = os.open(said, os.O_WRONLY | os.O_CREAT)
        sender = Sender(Broken(), None, Log(fd))  # type: ignore[arg-type]
        sender.add(put(accepting, (*TO, Recipient(False, b"x@y"))))
        while said.read_text().count("deferral") < 2:
            await asyncio.sleep(0.01)
        await asyncio.wait_for(sender.drain(), 60)
        await asyncio.sleep(0)
        os.close(fd)

    asyncio.run(run())
    text = said.read_text()
    assert "deferral: Internal_trouble:_RuntimeError('a_fault')._(#4.3.0)/" in text
    assert "deferral: Internal_trouble:_ValueError('another')._(#4.3.0)/" in text
    assert text.endswith("status: exiting\n")
    assert len(accepting.numbers()) == 1
