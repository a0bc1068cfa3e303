"""Reading scenario files: TOML to Scenario, with errors that name file, step and key."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from popbox.errors import ScenarioError
from popbox.scenario.model import Scenario
from popbox.scenario.references import broken_references


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
            return (self.path.parent / name).read_bytes()
        except OSError as error:
            raise ScenarioError(str(self.path), f"mail {name!r}", error.strerror or str(error)) from error


def load(path: Path) -> ScenarioFile:
    """Read one file.

    Raises:
        ScenarioError: it cannot be read, or a key in it does not fit; names file, step and key.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ScenarioError(str(path), "", error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise ScenarioError(str(path), "", f"not TOML: {error}") from error
    file = parse(text, path)
    for step in file.scenario.step:
        if step.send and step.send.mail:
            file.message(step.send.mail)
    return file


def parse(text: str, path: Path) -> ScenarioFile:
    """Read the text of a file; no file is looked at, nor those that it names. ``path`` is what errors call it.

    Raises:
        ScenarioError: it is no TOML, or a key in it does not fit; names step and key, or line and column.
    """
    try:
        file = ScenarioFile(path, Scenario.model_validate(tomllib.loads(text)))
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(str(path), "", f"not TOML: {error}") from error
    except RecursionError as error:
        raise ScenarioError(str(path), "", "it is nested too deeply") from error
    except ValidationError as error:
        raise ScenarioError(str(path), *first_rule(error)) from error
    for where, rule in broken_references(file.scenario):
        raise ScenarioError(str(path), where, rule)
    return file


def load_all(paths: list[Path]) -> list[ScenarioFile]:
    """Read files and directories (their ``*.toml``, sorted).

    Raises:
        ScenarioError: a file cannot be used, or there is none.
    """
    files = [file for path in paths for file in (sorted(path.glob("*.toml")) if path.is_dir() else [path])]
    if not files:
        raise ScenarioError(", ".join(map(str, paths)), "", "no scenario file here (*.toml)")
    return [load(file) for file in files]


def first_rule(error: ValidationError) -> tuple[str, str]:
    """Where in the file, and the rule that is broken there; a misspelt key before a missing one."""
    details = min(
        error.errors(), key=lambda one: one["type"] != "extra_forbidden"
    )  # a misspelt key, before a missing one
    return _where(details), _rule(details)


def _where(details: ErrorDetails) -> str:
    """``("step", 2, "send", "to")`` reads ``step 3.send.to``: people count from one."""
    words = ""
    for key in details["loc"]:
        words += f" {key + 1}" if isinstance(key, int) else f".{key}"
    return words.strip(".")


def _rule(details: ErrorDetails) -> str:
    if details["type"] == "extra_forbidden":
        return "unknown key"
    if details["type"] == "missing":
        return "this key is required"
    return details["msg"].removeprefix("Value error, ")
