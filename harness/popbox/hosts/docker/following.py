"""Following a container's log with `docker logs --follow`: the engine reads its files once, and sends what comes."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping

from popbox.hosts.following import LogLine
from popbox.hosts.process import undisturbed

READ_OCTETS = 1 << 18  # our choice: of one read; the pipe holds less
AGAIN_S = 1.0  # our choice: the program ends with the container, and is started again no sooner
REPLACED = "the container was replaced by another, and its log went with it"
ROTATED = "the engine removed the old part of the log before it was read"


class ContainerFollower:
    """See ``hosts.following.Follower``. The engine's program listens until ``close``, also while no one reads.

    A position is the container's id, the engine's time of the last line, and how many lines have that very time.
    """

    def __init__(self, container: Callable[[], str], env: Mapping[str, str], position: str = "") -> None:
        """``container`` gives the id of the container as it is now; it may raise HostError."""
        self._container, self._env, self.gap = container, env, ""
        at: tuple[str, str, int] = json.loads(position) if position else ("", "", 0)
        self._id, self._stamp, self._same = at
        self._known = 0  # lines that the engine shows again, since it was asked for those from _stamp on
        self._child: subprocess.Popen[bytes] | None = None
        self._waiting: deque[bytes] = deque()
        self._torn, self._again_at = b"", 0.0

    @property
    def position(self) -> str:
        """See Follower."""
        return json.dumps((self._id, self._stamp, self._same))

    def close(self) -> None:
        """See Follower."""
        if self._child:
            self._child.kill()
            self._child.communicate()
        self._child, self._torn = None, b""
        self._waiting.clear()

    def lines(self) -> Iterator[LogLine]:
        """See Follower."""
        self.gap = ""
        if self._child is None and not self._listen():
            return
        while self._waiting or self._read():
            stamp, _, text = self._waiting[0].decode("utf-8", "replace").partition(" ")
            if self._known and stamp == self._stamp:
                self._known -= 1
                self._waiting.popleft()
                continue
            if self._known:
                self.gap, self._known = ROTATED, 0
                return
            self._waiting.popleft()
            self._same = self._same + 1 if stamp == self._stamp else 1
            self._stamp = stamp
            yield LogLine(text, f"{self._id[:12]}.{stamp}.{self._same}")

    def _listen(self) -> bool:
        """Start the program, from the last line on; False where it is too early or where there is a gap to tell."""
        if time.monotonic() < self._again_at:
            return False
        self._again_at = time.monotonic() + AGAIN_S
        current = self._container()
        if self._id and current != self._id:
            self._id, self._stamp, self._same, self._again_at, self.gap = current, "", 0, 0.0, REPLACED
            return False
        self._id, self._known = current, self._same
        since = ["--since", self._stamp] if self._stamp else []
        with undisturbed():
            self._child = subprocess.Popen(
                ["docker", "logs", "--follow", "--timestamps", *since, current],
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        assert self._child.stdout is not None
        os.set_blocking(self._child.stdout.fileno(), False)
        return True

    def _read(self) -> bool:
        """Take what the pipe holds; whether a whole line came. At the program's end it is let go of."""
        while self._child and self._child.stdout:
            try:
                octets = os.read(self._child.stdout.fileno(), READ_OCTETS)
            except BlockingIOError:
                return False
            if not octets:
                self._child.wait()
                self._child.stdout.close()
                self._child, self._torn = None, b""
                return False
            *whole, self._torn = (self._torn + octets).split(b"\n")
            self._waiting.extend(whole)
            if whole:
                return True
        return False
