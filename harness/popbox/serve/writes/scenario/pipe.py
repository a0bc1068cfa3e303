"""What the server and the process of a run tell each other, over a pipe that no one else has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from popbox.errors import ConnectionFailed, HostError, NotPossibleError, PopboxError, UnusableError

ERRORS: dict[str, type[PopboxError]] = {
    one.__name__: one for one in (ConnectionFailed, HostError, NotPossibleError, UnusableError)
}


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be run: a text, or a file that comes with popbox; and what the host is called."""

    text: str
    path: Path
    shipped: bool
    name: str
    mta: str
    uid: int


@dataclass(frozen=True, slots=True)
class Unusable:
    """The scenario does not run: a sentence, and lines that each name a place and a rule."""

    error: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fit:
    """It runs from here on."""

    title: str
    steps: tuple[str, ...]
    within_s: float


@dataclass(frozen=True, slots=True)
class Begins:
    """A step begins, see ``run.runner.Watcher``."""

    number: int
    name: str
    awaits: str


@dataclass(frozen=True, slots=True)
class Ask:
    """A question about the host; the answer is ``Told`` or ``Raised``."""

    method: str
    said: tuple[Any, ...]
    named: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """What the host's method gave."""

    value: Any


@dataclass(frozen=True, slots=True)
class Raised:
    """What it raised: one of ERRORS, and its arguments."""

    kind: str
    said: tuple[str, ...]

    @classmethod
    def of(cls, error: Exception) -> Raised:
        """The error as it is told. Only texts that popbox or the system wrote are."""
        if isinstance(error, HostError):
            return cls(type(error).__name__ if type(error).__name__ in ERRORS else "HostError", (error.what, error.log))
        if isinstance(error, PopboxError) and type(error).__name__ in ERRORS:
            return cls(type(error).__name__, (str(error),))
        ours = isinstance(error, PopboxError | OSError)
        return cls("HostError", (str(error) if ours else f"popbox has a fault: {type(error).__name__}",))
