"""What an error from the disk means for a maildrop: no such thing, not for this uid, or not now."""

from __future__ import annotations

import errno
import os

# For an administrator to mend; trying again does not help.
_FOR_GOOD = frozenset({errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})

_GONE = frozenset({errno.ENOENT, errno.ELOOP, errno.ENXIO})
"""A file that was listed a moment ago: removed, or a link or socket in its place."""

_STARVED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


class MaildropError(Exception):
    """The maildrop cannot be opened; ``kind`` is ``missing``, ``unusable``, ``busy``, or ``unavailable`` (for now)."""

    def __init__(self, kind: str, path: bytes) -> None:
        super().__init__(f"{kind}: {os.fsdecode(path)}")
        self.kind = kind


def refusal(error: OSError, path: bytes) -> MaildropError:
    """The maildrop at ``path`` cannot be read for this reason."""
    return MaildropError("unusable" if error.errno in _FOR_GOOD else "unavailable", path)


def skipped(error: OSError, path: bytes) -> bool:
    """One message could not be looked at: True where it has gone, False where it is there all the same.

    Raises:
        MaildropError: this process or machine is short of descriptors or memory: that is no reason to skip any.
    """
    if error.errno in _STARVED:
        raise refusal(error, path) from None
    return error.errno in _GONE
