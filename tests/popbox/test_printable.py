"""What a peer says never reaches the terminal as it is: in results, in errors, in a test's report."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from popbox.cli.output import echo
from popbox.errors import ConnectionFailed, HostError
from popbox.printable import UNSEEN, plain
from popbox.report.live import screen
from popbox.result import Observation, Result, StepResult, Verdict
from popbox.testing import Unproved

PAINT = "+OK \x1b]0;PWNED\x07\x1b[2J\x1b[1;1HPASSED\r\x9b2K\u202e\u2028\udcff"
PAINTED = r"+OK \x1b]0;PWNED\x07\x1b[2J\x1b[1;1HPASSED\r\x9b2K\u202e\u2028\udcff"


def test_what_cannot_be_seen_is_made_visible_and_the_rest_stays() -> None:
    assert plain(PAINT) == PAINTED
    assert plain("Grüße\tan\nJoe 1\\x1b €") == "Grüße\tan\nJoe 1\\x1b €"
    assert plain("".join(map(chr, range(0xA0)))).isprintable() is False, "TAB and LF stay"
    assert not UNSEEN.search(plain("".join(map(chr, range(0x3000)))))


@pytest.mark.parametrize("error", [HostError("x", PAINT), ConnectionFailed(PAINT), HostError(PAINT)])
def test_an_error_is_plain(error: Exception) -> None:
    assert r"\x1b]0;PWNED" in str(error)
    assert not UNSEEN.search(str(error))


def failed() -> Result:
    seen = Observation(passed=False, said=PAINT, hint=PAINT, transcript=(f"S: {PAINT}",))
    step = StepResult(number=1, name=PAINT, verb="telnet", seen=seen, took_s=0.1)
    return Result(
        scenario="s.toml", title=PAINT, proves=[], host="remote", mta="unknown", verdict=Verdict.FAILED, reason=PAINT,
        steps=(step,), messages=(), logs={"smtp": PAINT}, began=datetime.now(UTC), took_s=0.1,
    )  # fmt: skip


@pytest.mark.parametrize("terminal", [True, False])
def test_a_failed_run_is_shown_plain(
    terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    shown = screen(echo, 1, steps=False)
    shown.result(failed())
    said = capsys.readouterr().out
    assert PAINTED in said
    assert "PWNED\x07" not in said
    assert "\x1b[2J" not in said
    assert "\x9b" not in said


def test_a_failed_proof_in_a_test_is_plain() -> None:
    assert "\x1b" not in str(Unproved(failed().steps[0]))
