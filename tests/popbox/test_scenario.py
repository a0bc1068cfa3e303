"""Scenario files: what is accepted, and the exact words for what is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.popbox import ROOT

from popbox.errors import ScenarioError
from popbox.scenario import load, load_all

GOOD = 'title = "t"\n[[step]]\nsend = { from = "a@b", to = ["c@d"] }\n'

ONE_VERB = (
    "{file}: step 1: a step has exactly one verb of: declare, explain, send, expect-delivered, expect-nothing, "
    "expect-bounce, expect-deferred, telnet, maildir, file, write, log, break, restart, hup"
)

MALFORMED = {
    "title = ": "{file}: not TOML: Invalid value (at end of document)",
    'title = "t"': "{file}: step: this key is required",
    'title = "t"\nstep = []': "{file}: step: List should have at least 1 item after validation, not 0",
    GOOD + "nmae = 1": "{file}: step 1.nmae: unknown key",
    'titel = "t"\n[[step]]\n' + GOOD.partition("\n")[2].partition("\n")[2]: "{file}: titel: unknown key",
    'colour = "red"\n' + GOOD: "{file}: colour: unknown key",
    'title = "t"\n[[step]]\nname = "x"': ONE_VERB,
    GOOD + 'telnet = "S: +OK"': ONE_VERB,
    GOOD + "[[step]]\nsend = { to = [] }": "{file}: step 2.send.from: this key is required",
    GOOD + '[[step]]\ntelnet = "S: +OK\\nX"': (
        "{file}: step 2.telnet.transcript: line 2: 'X' starts with none of 'C: ', 'S: ', 'S~ ', '#'"
    ),
    GOOD + GOOD.partition("\n")[2]: "{file}: step 2.send.id: 'message' is sent twice",
    GOOD + '[[step]]\nexpect-delivered = { message = "other", mailbox = "c@d" }': (
        "{file}: step 2.expect-delivered.message: 'other' is not sent before; sent: message"
    ),
    GOOD.replace('["c@d"]', '["c@d"], mail = "gone.eml"'): "{file}: mail 'gone.eml': No such file or directory",
    GOOD.replace(
        '["c@d"]', '["c@d\\n"]'
    ): "{file}: step 1.send.to 1: String should match pattern '^[^\\x00-\\x1f<>]*$'",
    GOOD + '[[step]]\nbreak = { kill = "smtp", chmod = {} }': (
        "{file}: step 2.break: give exactly one of 'kill', 'chmod', 'drop-line', 'remove'"
    ),
    GOOD + '[[step]]\nfile = { path = "../etc/passwd", has = "x" }': (
        "{file}: step 2.file.path: a path below the qmail home is wanted: no leading / and no .."
    ),
    GOOD + '[[step]]\nfile = { path = "x" }': (
        "{file}: step 2.file: give at least one of 'has', 'lacks', 'mode', or it could not fail"
    ),
    GOOD + "within-s = 0": "{file}: step 1.within-s: Input should be greater than 0",
}


@pytest.mark.parametrize(("text", "golden"), MALFORMED.items())
def test_a_malformed_file_names_file_step_and_key(tmp_path: Path, text: str, golden: str) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(text)
    with pytest.raises(ScenarioError) as caught:
        load(file)
    assert str(caught.value) == golden.format(file=file)


def test_the_good_one_is_good(tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text(GOOD)
    assert load(tmp_path / "good.toml").scenario.step[0].verb == "send"


def test_an_empty_directory_and_a_missing_file_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="no scenario file here"):
        load_all([tmp_path])
    with pytest.raises(ScenarioError, match=r"gone\.toml: No such file"):
        load_all([tmp_path / "gone.toml"])


def test_all_scenarios_that_come_with_popbox_are_readable_and_named_for_their_area() -> None:
    files = load_all([ROOT / "scenarios"])
    assert files
    assert all("-" in file.path.stem for file in files)
