"""Reading scenario files: TOML to Scenario, with errors that name file, step and key."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from popbox.errors import ScenarioError
from popbox.reading import octets_of
from popbox.scenario.mistakes import MOST_SHOWN, dotted, refused
from popbox.scenario.model import Scenario
from popbox.scenario.references import broken_references
from popbox.scenario.toml_lines import line_of, lines_of

MOST_OCTETS = 16 << 20  # our choice: of a TOML file


@dataclass(frozen=True, slots=True)
class ScenarioFile:
    """A scenario and the file it came from; message files are found beside that file."""

    path: Path
    scenario: Scenario

    def message(self, name: str) -> bytes:
        """Octets of a message file.

        Raises:
            ScenarioError: it cannot be read.
        """
        try:
            return octets_of(self.path.parent / name)
        except OSError as error:
            raise ScenarioError(str(self.path), f"mail {name!r}", error.strerror or str(error)) from error


def load(path: Path) -> ScenarioFile:
    """Read one file.

    Raises:
        ScenarioError: it cannot be read, or keys in it do not fit; names file, line, step and key of each.
    """
    file = parse(text_of(path), path)
    gone = list(_unreadable(file))
    if gone:
        raise ScenarioError.of(gone, MOST_SHOWN)
    return file


def text_of(path: Path) -> str:
    """The text of a TOML file.

    Raises:
        ScenarioError: it cannot be read.
    """
    try:
        return octets_of(path, MOST_OCTETS).decode("utf-8-sig")
    except OSError as error:
        raise ScenarioError(str(path), "", error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise ScenarioError(str(path), "", f"not TOML: {error}") from error


def table_of(text: str, path: Path) -> dict[str, Any]:
    """A TOML file's text as a table.

    Raises:
        ScenarioError: it is no TOML; names line and column.
    """
    try:
        return tomllib.loads(text)
    except ValueError as error:  # also a number of more digits than Python takes
        raise ScenarioError(str(path), "", f"not TOML: {error}") from error
    except RecursionError as error:
        raise ScenarioError(str(path), "", "it is nested too deeply") from error


def parse(text: str, path: Path) -> ScenarioFile:
    """Read the text of a file; no file is looked at, nor those that it names. ``path`` is what errors call it.

    Raises:
        ScenarioError: it is no TOML, or keys in it do not fit; names line, step and key of each.
    """
    table = table_of(text, path)
    try:
        file = ScenarioFile(path, Scenario.model_validate(table))
    except ValidationError as error:
        raise refused(error, Scenario, table, text, str(path)) from error
    if broken := list(broken_references(file.scenario)):
        lines = lines_of(text)
        each = [ScenarioError(str(path), dotted(at), rule, line_of(at, lines)) for at, rule in broken]
        raise ScenarioError.of(each, MOST_SHOWN)
    return file


def _unreadable(file: ScenarioFile) -> Iterator[ScenarioError]:
    """Each message file of a step that cannot be read."""
    for step in file.scenario.step:
        if step.send and step.send.mail:
            try:
                file.message(step.send.mail)
            except ScenarioError as error:
                yield error


def load_all(paths: list[Path]) -> list[ScenarioFile]:
    """Read files and directories (their ``*.toml``, sorted).

    Raises:
        ScenarioError: a file cannot be used, or there is none.
    """
    files = [file for path in paths for file in (sorted(path.glob("*.toml")) if path.is_dir() else [path])]
    if not files:
        raise ScenarioError(", ".join(map(str, paths)), "", "no scenario file here (*.toml)")
    return [load(file) for file in files]
