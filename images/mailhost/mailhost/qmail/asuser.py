"""Read files as another user: a function runs in a forked child that has become that user."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def as_user(uid: int, gid: int, look: Callable[[], Result]) -> Result:
    """What ``look`` returns when run as ``uid``, with ``gid`` as the only group, as qmail-lspawn sets them (Q-LSP-11).

    Only root can become another user; without root, ``look`` runs as the caller.

    Raises:
        OSError: the child could not become that user.
        Exception: whatever ``look`` raised.
    """
    if os.geteuid() != 0:
        return look()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _child(uid, gid, look, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    if not answer:
        raise OSError(f"could not become uid {uid}, gid {gid}")
    ok, result = pickle.loads(answer)  # noqa: S301 - our own child wrote it
    if not ok:
        raise result
    return result  # type: ignore[no-any-return]


def _child(uid: int, gid: int, look: Callable[[], Result], writer: int) -> None:
    """The child: become the user, run ``look``, send its result and exit, whatever happens."""
    try:
        os.setgroups([gid])
        os.setgid(gid)
        os.setuid(uid)
        try:
            answer = pickle.dumps((True, look()))
        except Exception as error:
            answer = pickle.dumps((False, error))
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(answer)
    finally:
        os._exit(0)
