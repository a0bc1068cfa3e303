"""Where popbox finds its own files and keeps its state. Only the front doors build this from the environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from popbox.environment import handed_on
from popbox.errors import UnusableError

HostName = Literal["auto", "local", "docker"]
MtaName = Literal["auto", "qmail", "standin"]


def unsaid(_line: str) -> None:
    """Drop the line: the default of ``Settings.say``."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Paths and choices that come from outside; every field has one environment variable or none."""

    assets: Path  # holds compose.yaml, images/, scenarios/
    state: Path  # one file per host that is up
    qmail_base: str | None  # image with /var/qmail, QMAIL_BASE
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)  # what children may get of it
    say: Callable[[str], None] = unsaid  # prints a line about slow work, such as a first build

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], say: Callable[[str], None] = unsaid) -> Settings:
        """Read XDG_STATE_HOME and QMAIL_BASE; everything has a default.

        A relative XDG_STATE_HOME is not used (XDG Base Directory): each directory would have hosts of its own.

        Raises:
            UnusableError: there is no place for state: a user without a home, and none is named.
        """
        try:
            state_home = Path(environ.get("XDG_STATE_HOME", ""))
            if not state_home.is_absolute():
                state_home = Path.home().absolute() / ".local" / "state"
        except RuntimeError:
            raise UnusableError("this user has no home directory: set HOME or XDG_STATE_HOME") from None
        return cls(
            assets=find_assets(),
            state=state_home / "popbox",
            qmail_base=environ.get("QMAIL_BASE") or None,
            environ=handed_on(environ),
            say=say,
        )


def find_assets() -> Path:
    """The directory with compose.yaml: the checkout, or the copy inside an installed wheel."""
    package = Path(__file__).resolve().parent
    for place in (package / "_assets", package.parents[1]):
        if (place / "compose.yaml").is_file():
            return place
    return package.parents[1]
