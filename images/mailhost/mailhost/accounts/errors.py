"""What can go wrong while declaring, and the exit code each kind has."""

from __future__ import annotations


class AccountsError(Exception):
    """The base of this package's errors; ``exit_code`` is the one `mailhost` ends with."""

    exit_code = 1


class InputError(AccountsError):
    """Something given or found in a file cannot be used: which file, which line, which field, which rule."""

    exit_code = 2

    def __init__(self, rule: str, *, file: str = "", line: int = 0, field: str = "") -> None:
        """``file`` as the operator knows it (relative to the home, or his own file); ``line`` from 1, 0 for none."""
        where = [file] if file else []
        where += [f"line {line}"] if line else []
        where += [field] if field else []
        super().__init__(": ".join([*where, rule]))
        self.rule, self.file, self.line, self.field = rule, file, line, field


class HostError(AccountsError):
    """The host's files are not as they must be for this change; the text says what to mend."""


class BusyError(AccountsError):
    """It cannot be done now, later perhaps: another writer holds the lock, a directory is missing, the disk is full."""

    exit_code = 111
