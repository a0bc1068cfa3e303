"""The one account all boxes belong to (the system's ``popuser``, or the HOWTO's 888:888), and how root is given up."""

from __future__ import annotations

import os
import pwd

NAME = "popuser"
ID = 888
"""uid and gid where the system has no account of that name (a container needs none)."""


def account(name: str = NAME) -> tuple[int, int, str]:
    """uid, gid and shell of ``name``.

    Raises:
        KeyError: the system has no such account, and it is not popuser.
    """
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        if name != NAME:
            raise
        return ID, ID, "/bin/sh"
    return entry.pw_uid, entry.pw_gid, entry.pw_shell or "/bin/sh"


def become(uid: int, gid: int) -> None:
    """Give up root for good: its own group alone, and no saved id to return by (setgroups(2), setresuid(2)).

    Raises:
        OSError: root could not be given up; then nothing may be served.
    """
    os.setgroups([gid])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if os.getresuid() != (uid, uid, uid):
        raise OSError("the uid has not changed")
