"""Scenario files: what is accepted, and the exact words for what is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.popbox import ROOT

from popbox.errors import ScenarioError
from popbox.scenario.load import load, load_all

GOOD = 'title = "t"\n[[step]]\nsend = { from = "a@b", to = ["c@d"] }\n'
SESSION = "[[step]]\ntelnet = { session = 'a', transcript = 'S: x' }\n"

ONE_VERB = (
    "{file}: step 1: a step has exactly one verb of: declare, explain, send, expect-delivered, expect-nothing, "
    "expect-bounce, expect-deferred, expect-retrieved, telnet, maildir, file, write, shell, log, break, heal, "
    "wait-until, restart, hup"
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
    GOOD + "[[step]]\nsend = { to = [] }": (
        "{file}: step 2.send.to: List should have at least 1 item after validation, not 0"
    ),
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
        "{file}: step 2.break.chmod: Dictionary should have at least 1 item after validation, not 0"
    ),
    GOOD + '[[step]]\nbreak = { kill = "smtp", stop = "smtp" }': (
        "{file}: step 2.break: give exactly one of 'stop', 'kill', 'pause', 'partition', 'fill', 'read-only', 'chmod', "
        "'drop-line', 'remove'"
    ),
    GOOD + '[[step]]\nfile = { path = "../etc/passwd", has = "x" }': (
        "{file}: step 2.file.path: a path below the qmail home is wanted: no leading / and no .."
    ),
    GOOD + '[[step]]\nfile = { path = "x" }': (
        "{file}: step 2.file: give at least one of 'has', 'lacks', 'mode', or it could not fail"
    ),
    GOOD + "[[step]]\nlog = { service = 'smtp', says = 'a{9999999999999}' }": (
        "{file}: step 2.log.says: not a regular expression: the repetition number is too large"
    ),
    GOOD + "[[step]]\ntelnet = 'S~ a{9999999999999}'": (
        "{file}: step 2.telnet.transcript: line 1: not a regular expression: the repetition number is too large"
    ),
    "x = " + "[" * 10_000: "{file}: it is nested too deeply",
    GOOD + "within-s = 0": "{file}: step 1.within-s: Input should be greater than 0",
    GOOD + "accounts = 1": "{file}: step 1.accounts: unknown key",
    GOOD.replace("to = [", "sender = 'a@b', to = ["): "{file}: step 1.send.sender: unknown key",
    GOOD.replace('from = "a@b"', "from = 1"): "{file}: step 1.send.from: Input should be a valid string",
    GOOD.replace('from = "a@b", ', ""): "{file}: step 1.send: give 'from' and 'to', or a 'dialogue'",
    GOOD.replace('["c@d"]', '["c@d"], mail = "x", text = "y"'): "{file}: step 1.send: give 'mail' or 'text', not both",
    GOOD.replace('["c@d"]', '["c@d"], dialogue = "S: 220"'): (
        "{file}: step 1.send: a 'dialogue' says it all itself: sender, to cannot stand beside it"
    ),
    GOOD + '[[step]]\nsend = { id = "x", dialogue = "C: QUIT" }': (
        "{file}: step 2.send.dialogue: a transcript needs at least one S: line, or it could not fail"
    ),
    GOOD + '[[step]]\ntelnet = "S: ...\\nC: QUIT"': (
        "{file}: step 2.telnet.transcript: line 1: after 'S: ...' must stand the S line that ends it"
    ),
    GOOD + '[[step]]\ntelnet = "S~ ("': (
        "{file}: step 2.telnet.transcript: line 1: not a regular expression: "
        "missing ), unterminated subpattern at position 0"
    ),
    GOOD + '[[step]]\nlog = { service = "smtp", says = "[" }': (
        "{file}: step 2.log.says: not a regular expression: unterminated character set at position 0"
    ),
    GOOD + '[[step]]\nlog = { service = "imap", says = "x" }': (
        "{file}: step 2.log.service: Input should be 'smtp' or 'pop3'"
    ),
    GOOD + '[[step]]\nfile = { path = "/etc/passwd", has = "x" }': (
        "{file}: step 2.file.path: a path below the qmail home is wanted: no leading / and no .."
    ),
    GOOD + '[[step]]\nwrite = { path = "x", text = "", mode = "600" }': (
        "{file}: step 2.write.mode: String should match pattern '^[0-7]{{4}}$'"
    ),
    GOOD + '[[step]]\nwait-until = { done = "other" }': (
        "{file}: step 2.wait-until.done: 'other' is not sent before; sent: message"
    ),
    GOOD + "[[step]]\nwait-until = {}": "{file}: step 2.wait-until: give exactly one of 'answers', 'silent', 'done'",
    GOOD + '[[step]]\nheal = "x"': "{file}: step 2.heal: 'x' is not broken; broken: nothing",
    GOOD + '[[step]]\nbreak = { id = "x", remove = "y" }\n[[step]]\nheal = "x"': (
        "{file}: step 3.heal: what was removed is gone: put it back with 'write' or 'declare'"
    ),
    GOOD + 2 * '[[step]]\nbreak = { id = "x", chmod = { y = "0600" } }\n': (
        "{file}: step 3.break.id: 'x' is broken already; heal it first, or give this fault an id of its own"
    ),
    GOOD + '[[step]]\nbreak = { kill = "smtp" }': (
        "{file}: step 2.break.kill: needs.own-host must be true: others would see it"
    ),
    GOOD + '[[step]]\nrestart = "smtp"': "{file}: step 2.restart: needs.own-host must be true: others would see it",
    "needs = { own-host = true }\n" + GOOD + '[[step]]\nbreak = { fill = "queue" }': (
        "{file}: step 2.break.fill: needs.own-disk must be true: no other disk is broken on purpose"
    ),
    "needs = { own-disk = true }\n" + GOOD + '[[step]]\nbreak = { read-only = "queue" }': (
        "{file}: step 2.break.read-only: Input should be 'popboxes'"
    ),
    GOOD + SESSION + SESSION.replace("session =", "service = 'smtp', session ="): (
        "{file}: step 3.telnet.service: session 'a' talks to pop3"
    ),
    GOOD + SESSION.replace("session =", "hang-up = true, session =") + SESSION: (
        "{file}: step 3.telnet.session: 'a' was hung up; take another name"
    ),
    GOOD + "[[step]]\ntelnet = { transcript = 'S: x', hang-up = true }": (
        "{file}: step 2.telnet: 'hang-up' is for a 'session'; without one the connection ends with the step"
    ),
    "proves = ['H-37']\n" + GOOD: ("{file}: proves 1: String should match pattern '^H-([1-9]|[12][0-9]|3[0-6])$'"),
    "needs = { host = ['mars'] }\n" + GOOD: "{file}: needs.host 1: Input should be 'local', 'docker' or 'remote'",
    "needs = { own-host = 1 }\n" + GOOD: "{file}: needs.own-host: Input should be a valid boolean",
    GOOD + "[accounts.domains.'d.example'.mailboxes.joe]\n": (
        "{file}: accounts.domains.d.example.mailboxes.joe.crypt: this key is required"
    ),
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
