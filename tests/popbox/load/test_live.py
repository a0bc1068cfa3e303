"""What a run shows while it lasts: lines in a pipe, a few that are written over on a terminal."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from dataclasses import replace

from popbox.load.report.live import EACH_S, Screen
from popbox.load.stage.processes import Tick

TICK = Tick(at_s=12.4, users=20, workers=2, requests=900, failed=3, accepted=640, seen=600, late=0.01)
SHOW = """
from popbox.load.report.live import screen
from popbox.load.stage.processes import Tick
with screen(print, 60.0) as shown:
    shown.say("kill smtp at 3.0 s \\x1b[31m")
    for at in (1.0, 2.0):
        shown.tick(Tick(at, 20, 2, 9, 0, int(at), 0, 0.0, "kill smtp"))
        shown._live.refresh() if hasattr(shown, "_live") else None
print("over")
"""


def test_in_a_pipe_there_is_one_plain_line_each_few_seconds() -> None:
    lines: list[str] = []
    with Screen(lines.append, 60.0) as screen:
        for second in range(int(2 * EACH_S) + 1):
            screen.tick(replace(TICK, at_s=float(second)))
    assert len(lines) == 3
    assert lines[-1] == (
        "  10 of 60 s, 20 users in 2 workers, accepted 640, seen 600, backlog 40, 900 requests, 3 failed"
    )


def test_what_is_broken_and_a_generator_that_is_late_are_said() -> None:
    lines: list[str] = []
    Screen(lines.append, 60.0).tick(replace(TICK, broken="fill queue", late=0.06))
    assert "now: fill queue" in lines[0]
    assert "late for 6% of its time" in lines[0]


def test_on_a_terminal_the_lines_are_written_over_and_gone_at_the_end() -> None:
    ours, theirs = pty.openpty()
    environ = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    done = subprocess.run([sys.executable, "-c", SHOW], stdout=theirs, env=environ, check=True)
    assert done.returncode == 0
    os.close(theirs)
    said = b""
    while piece := _read(ours):
        said += piece
    text = said.decode()
    assert "accepted 1, seen 0, backlog 1" in text
    assert "now: kill smtp" in text
    assert "\x1b[31m" not in text  # what others say is shown as text
    assert screen_after(text) == ["  kill smtp at 3.0 s \\x1b[31m", "over"]


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # its other end is closed
        return b""


def screen_after(text: str) -> list[str]:
    """The lines that a terminal shows at the end, by the few codes that there are: cursor up, erase the line."""
    rows, row = [""], 0
    for code, char in re.findall(r"\x1b\[([0-9;?]*[A-Za-z])|(.)", text, re.DOTALL):
        if code.endswith("A"):
            row -= int(code[:-1])
        elif code == "2K":
            rows[row] = ""
        elif char == "\n":
            row += 1
            rows += [""] * (row + 1 - len(rows))
        elif char and char != "\r":
            rows[row] += char
    return [one for one in rows if one.strip()]
