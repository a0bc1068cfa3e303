"""What can go wrong while declaring, and the exit code each kind has."""

from __future__ import annotations

from collections.abc import Sequence


class AccountsError(Exception):
    """The base of this package's errors; ``exit_code`` is the one `mailhost` ends with."""

    exit_code = 1


class InputError(AccountsError):
    """Something given or found in a file cannot be used: which file, which line, which field, which rule."""

    exit_code = 2

    def __init__(self, rule: str, *, file: str = "", line: int = 0, field: str = "") -> None:
        """``file`` as the operator knows it (relative to the home, or his own file); ``line`` from 1, 0 for none.

        Names of files and fields are one line in the text, whatever is in them: a line that someone else made up would
        pass for one of ours.
        """
        where = [file, f"line {line}" if line else "", field]
        super().__init__(": ".join([*(part.replace("\n", r"\n") for part in where if part), rule]))
        self.rule, self.file, self.line, self.field = rule, file, line, field

    @classmethod
    def of(cls, each: Sequence[InputError], most: int) -> InputError:
        """One error for several: a line for each of the first ``most``; its fields are those of the first."""
        first = each[0]
        made = cls(first.rule, file=first.file, line=first.line, field=first.field)
        more = [f"{first.file}: and {len(each) - most:,} more"] if len(each) > most else []
        made.args = ("\n".join([*map(str, each[:most]), *more]),)
        return made


class HostError(AccountsError):
    """The host's files are not as they must be for this change; the text says what to mend."""


class BusyError(AccountsError):
    """It cannot be done now, later perhaps: another writer holds the lock, a directory is missing, the disk is full."""

    exit_code = 111
