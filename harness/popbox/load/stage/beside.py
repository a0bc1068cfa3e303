"""What works beside the users: a thread that begins and ends with the load."""

from __future__ import annotations

import threading
import time


class Beside:
    """One such thread; what it does is ``_run``, which returns soon after ``_over`` is set."""

    def __init__(self, name: str) -> None:
        """Nothing happens before ``start``."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._guarded, name=name)
        self.trouble = ""  # why it ended too soon: its file could not be written

    def start(self) -> None:
        """The load begins now."""
        self._began = time.monotonic()
        self._thread.start()

    def end(self) -> None:
        """The load has ended; returns when the thread has."""
        self._over.set()
        self._thread.join()

    def _at(self) -> float:
        """Seconds since the begin of the load."""
        return time.monotonic() - self._began

    def _guarded(self) -> None:
        try:
            self._run()
        except OSError as error:
            self.trouble = f"the {self._thread.name} ended at {self._at():.0f} s: {error.strerror or error}"

    def _run(self) -> None:
        raise NotImplementedError
