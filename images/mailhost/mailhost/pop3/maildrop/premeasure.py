"""Sizes measured before any client asks: after a move or a restore, the first LIST of a large box is quick."""

from __future__ import annotations

import os
import time

from mailhost.pop3.maildrop import size_cache
from mailhost.pop3.maildrop.errors import MaildropError, refusal
from mailhost.pop3.maildrop.maildrop import Maildrop
from mailhost.pop3.maildrop.names import RACY_NS


def premeasure(maildir: bytes, *, qmail_quirks: bool) -> int:
    """Scan a large Maildir as a session would, and leave ``popbox-sizes`` in it; messages, 0 where it is a small one.

    A running server sees the file when it next opens the box for the first time. Nothing is locked, and messages stay
    where they are. Run it as the owner of the boxes: a server trusts no other user's file.
    Where mail has just come in it takes 2 s more: only then is it certain that the directories have not changed.

    Raises:
        MaildropError: the Maildir is missing or cannot be read.
    """
    if not _large(maildir):
        return 0
    drop = Maildrop(maildir, qmail_quirks=qmail_quirks, lock=False)
    try:
        for wait_s in (RACY_NS / 1e9, 0):
            for _ in drop.scan():
                pass
            if drop.settled or not wait_s:
                break
            time.sleep(wait_s)
        messages = len(drop.listing().messages)
        drop.remember()
    finally:
        drop.close()
    return messages


def _large(maildir: bytes) -> bool:
    """Whether a server would keep its sizes; counting names costs little."""
    try:
        return sum(len(os.listdir(maildir + folder)) for folder in (b"/new", b"/cur")) >= size_cache.SAVED_FROM
    except FileNotFoundError:
        raise MaildropError("missing", maildir) from None
    except OSError as error:
        raise refusal(error, maildir) from None
