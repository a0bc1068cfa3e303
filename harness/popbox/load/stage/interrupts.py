"""What Ctrl-C, TERM and HUP do to a run: some parts of it they cut short, and the others go on to their end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self

from popbox.hosts.process import ENDS


class Interrupts:
    """Hears the signals that end us, while it is entered. None that comes between two parts is forgotten.

    Outside of the main thread, where Python allows no handler, nothing is heard.
    """

    def __init__(self) -> None:
        """Nothing is heard before it is entered."""
        self._before: dict[int, object] = {}
        self._cuttable = False
        self._pending = 0  # signals of a part that goes on, which the next part that may be cut hears of

    def __enter__(self) -> Self:
        """Hear each signal that is not ignored."""
        if threading.current_thread() is threading.main_thread():
            self._before = {one: was for one in ENDS if (was := signal.getsignal(one)) is not signal.SIG_IGN}
            for number in self._before:
                signal.signal(number, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        """As it was."""
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    @contextmanager
    def cuttable(self) -> Iterator[None]:
        """A part that a signal ends by KeyboardInterrupt, at once where it came just before."""
        before, self._cuttable = self._cuttable, True
        try:
            if self.taken():
                raise KeyboardInterrupt
            yield
        finally:
            self._cuttable = before

    def taken(self) -> bool:
        """Whether a signal came in a part that goes on; it is done with then."""
        came, self._pending = self._pending > 0, 0
        return came

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        """The second signal in a part that goes on ends all at once."""
        if not self._cuttable:
            self._pending += 1
        if self._cuttable or self._pending > 1:
            raise KeyboardInterrupt
