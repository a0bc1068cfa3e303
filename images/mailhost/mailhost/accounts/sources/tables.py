"""The tables of a TOML file, read strictly: a mistake is noted and reading goes on, so that one look tells of all."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mailhost.accounts.errors import InputError
from mailhost.accounts.sources.toml_lines import TomlPath, line_of, unknown_key

MOST_SHOWN = 50  # our choice: more mistakes than that are counted


@dataclass(slots=True)
class Mistakes:
    """What is wrong with one file, in the order in which it was found."""

    file: str
    found: list[tuple[TomlPath, str, str]] = field(default_factory=list)  # path, table and key in words, rule

    def note(self, path: TomlPath, at: str, rule: str) -> None:
        """One more: the ``path`` of a table or key, how that is called in words, and the rule."""
        self.found.append((path, at, rule))

    @contextlib.contextmanager
    def noting(self, path: TomlPath, at: str) -> Iterator[None]:
        """Note what is refused within, and go on behind it."""
        try:
            yield
        except InputError as why:
            self.note(path, at, str(why))

    def check(self, lines: dict[TomlPath, int]) -> None:
        """Go on only where there are none; ``lines`` are those of the file (`lines_of`).

        Raises:
            InputError: each with its line, in the order of the file.
        """
        if not self.found:
            return
        each = [InputError(rule, file=self.file, line=line_of(path, lines), field=at) for path, at, rule in self.found]
        raise InputError.of(sorted(each, key=lambda one: one.line), MOST_SHOWN)


@dataclass(frozen=True, slots=True)
class Table:
    """One table: typed access. What is of another type counts as absent, and is noted."""

    mistakes: Mistakes
    path: tuple[str, ...]
    keys: dict[str, Any]

    @property
    def name(self) -> str:
        """The table as TOML writes it, without the brackets."""
        return ".".join(map(bare, self.path))

    def wrong(self, rule: str, key: str = "", *, shown: bool = True) -> None:
        """Note a mistake of this table, or of one of its keys, which is not ``shown`` where the rule quotes it."""
        table = f"[{self.name}]" if self.path else "top level"
        path = (*self.path, key) if key else self.path
        self.mistakes.note(path, f"{table}: {key}" if key and shown else table, rule)

    def only(self, known: Iterable[str]) -> None:
        """Unknown keys are mistakes."""
        for key in self.keys:
            if key not in known:
                self.wrong(unknown_key(key, known), key)

    def table(self, key: str) -> Table:
        """A table within; empty where absent."""
        value = self.keys.get(key, {})
        if not isinstance(value, dict):
            self.wrong("must be a table", key)
            value = {}
        return Table(self.mistakes, (*self.path, key), value)

    def text(self, key: str, check: Callable[[str], object] | None = None) -> str | None:
        """A string, as ``check`` makes it; None where absent."""
        value = self.keys.get(key)
        if value is not None and not isinstance(value, str):
            self.wrong("must be a string", key)
            return None
        return value if value is None or check is None else self.checked(key, value, check)

    def checked(self, key: str, value: str, check: Callable[[str], object]) -> str | None:
        """A value as ``check`` makes it; None where that refuses it."""
        try:
            return str(check(value))
        except InputError as why:
            self.wrong(f"{why.field}: {why.rule}", key)
            return None

    def flag(self, key: str) -> bool:
        """A boolean, False where absent."""
        value = self.keys.get(key, False)
        if not isinstance(value, bool):
            self.wrong("must be true or false", key)
        return value is True

    def texts(self, key: str, check: Callable[[str], object]) -> tuple[str, ...]:
        """A list of strings, or one string, as ``check`` makes each; empty where absent."""
        if key not in self.keys:
            return ()
        value = self.keys[key]
        value = [value] if isinstance(value, str) else value
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.wrong('must be a list of strings, as in ["one", "two"]', key)
            return ()
        made = (self.checked(key, item, check) for item in value)
        return tuple(one for one in made if one is not None)

    def names(self, check: Callable[[str], object], twice: str) -> dict[str, str]:
        """Name -> key, where the keys are names; ``twice`` is the rule for a name that stands there again."""
        found: dict[str, str] = {}
        for key in self.keys:
            try:
                name = str(check(key))
            except InputError as why:
                self.wrong(f"{why.field}: {why.rule}", key, shown=False)
                continue
            if name in found:
                self.wrong(twice, key)
            else:
                found[name] = key
        return found

    def tables(self, check: Callable[[str], object], twice: str) -> dict[str, Table]:
        """Name -> its table, where each key is a name and has one."""
        return {name: self.table(key) for name, key in self.names(check, twice).items()}


def bare(key: str) -> str:
    """A key as TOML writes it."""
    plain = key.isascii() and key.replace("-", "").replace("_", "").isalnum()
    return key if plain else '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'
