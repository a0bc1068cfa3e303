"""What a run noted for itself, read back: a file that was damaged since is named, and no verdict rests on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from popbox.errors import UnusableError
from popbox.reading import octets_of

MOST_OCTETS = 4 << 30  # our choice: the samples of two weeks with many workers are a tenth of it
_T = TypeVar("_T")


def read_back(path: Path, of: Callable[[str], _T]) -> _T | None:
    """What ``of`` makes of the text of a file that a run has written; None where there is no such file.

    Raises:
        UnusableError: it cannot be read, or ``of`` refused the text; names the file.
    """
    try:
        return of(octets_of(path, MOST_OCTETS).decode())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnusableError(f"{path}: {error.strerror or error}") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise UnusableError(f"{path}: is not as `popbox load run` wrote it") from error
