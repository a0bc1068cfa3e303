"""kill -9 in RETR, DELE and QUIT loses and doubles nothing: at every single change on disk, and at any moment."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest
from tests.mailhost.pop3.support import Box, Running

from mailhost.pop3.maildrop import maildrop
from mailhost.pop3.maildrop.maildrop import Maildrop
from mailhost.pop3.maildrop.open_maildrops import apply
from mailhost.pop3.protocol.events import Update

Serve = Callable[..., Running]


def text_of(number: int) -> bytes:
    return b"Subject: %d\n\n" % number + b"line %d\n" % number * 3000


def killed_before_change(box: Box, number: int) -> None:
    """A child makes QUIT's changes, every other message deleted, and is killed before its change ``number``."""
    drop = Maildrop(os.fsencode(box.maildir), qmail_quirks=False, lock=True)
    for _ in drop.scan():
        pass
    messages = drop.listing().messages
    pid = os.fork()
    if pid == 0:
        left = iter(range(number))
        change = {"unlink": os.unlink, "rename": maildrop.rename_new}

        def counted(name: str) -> Callable[..., None]:
            def work(*arguments: object, **keywords: object) -> None:
                if next(left, None) is None:
                    os.kill(os.getpid(), signal.SIGKILL)
                change[name](*arguments, **keywords)

            return work

        os.unlink, maildrop.rename_new = counted("unlink"), counted("rename")
        apply(drop, Update(messages[::2], messages[1::2]))
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) == (number < len(messages))
    drop.close()


@pytest.mark.parametrize("number", range(7))
def test_killed_before_each_change_of_quit(box: Box, number: int) -> None:
    for message in range(6):
        box.put(f"{message}.h", text_of(message), age_s=100 - message)
    killed_before_change(box, number)
    gone = set([0, 2, 4][:number])
    moved = set([1, 3, 5][: max(0, number - 3)])
    left = {f"cur/{m}.h:2," if m in moved else f"new/{m}.h" for m in set(range(6)) - gone}
    assert set(box.files()) == left
    for name in left:
        assert (box.maildir / name).read_bytes() == text_of(int(name[4]))
    again = Maildrop(os.fsencode(box.maildir), qmail_quirks=False, lock=True)  # the lock died with its owner
    again.close()


@pytest.mark.parametrize("delay_s", [0, 0.001, 0.003, 0.006, 0.01, 0.02])
@pytest.mark.parametrize("moment", ["RETR", "DELE", "QUIT"])
def test_the_server_killed_at_any_moment(box: Box, serve: Serve, moment: str, delay_s: float) -> None:
    """A client that got no +OK to QUIT finds each message once, octet for octet, except those it had deleted."""
    many = 200
    for message in range(many):
        box.put(f"{message:03}.h", text_of(message), age_s=900 - message)
    server = serve()
    client = server.client()
    assert client.login().startswith(b"+OK")
    deletes = b"".join(b"DELE %d\r\n" % number for number in range(1, many, 2))
    client.send({"RETR": b"RETR 1\r\n" * 50, "DELE": deletes, "QUIT": deletes + b"QUIT\r\n"}[moment])
    if moment == "QUIT":
        for _ in range(many // 2):
            assert client.line() == b"+OK message marked deleted\r\n"
    time.sleep(delay_s)
    server.process.kill()
    server.process.wait()
    numbers = [int(name[4:7]) for name in box.files()]
    assert len(numbers) == len(set(numbers)), "no message lies in two places"
    kept = set(range(1, many, 2)) if moment == "QUIT" else set(range(many))
    assert kept <= set(numbers), "no message is lost that was not marked"
    for name in box.files():
        assert (box.maildir / name).read_bytes() == text_of(int(name[4:7]))
    again = serve().client()
    assert again.login().startswith(b"+OK")
    assert again.ask(b"STAT").startswith(b"+OK %d " % len(numbers))
