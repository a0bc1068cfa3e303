"""The file that a declaration was read from, for what is found wrong with it later, beside the host."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from mailhost.accounts import names
from mailhost.accounts.model import Accounts
from mailhost.accounts.sources import accounts_toml
from mailhost.accounts.sources.tables import Mistakes
from mailhost.accounts.sources.toml_lines import TomlPath, lines_of


@dataclass(frozen=True)
class Declaration:
    """A text of an accounts.toml; password files are relative to its folder."""

    file: Path
    octets: bytes

    def accounts(self) -> Accounts:
        """What it declares.

        Raises:
            InputError: as `accounts_toml.load`.
        """
        return accounts_toml.decode(self.octets, self.file)

    def refuse(self, mistakes: Mistakes) -> None:
        """Go on only where there are none; their paths have names as `accounts` gives them.

        Raises:
            InputError: each with its line, in the order of the file.
        """
        if mistakes.found:
            mistakes.check(self._lines)

    @functools.cached_property
    def _lines(self) -> dict[TomlPath, int]:
        return {_folded(path): line for path, line in lines_of(self.octets.decode("utf-8-sig")).items()}


def _folded(path: TomlPath) -> TomlPath:
    """A path with names as they go into files, upper case in none."""
    if len(path) < 2 or path[0] != "domains":
        return path
    return (path[0], names.domain(str(path[1])), *(str(part).lower() for part in path[2:]))
