"""Scenario files: what is accepted, and the exact words for what is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.popbox import ROOT

from popbox.errors import ScenarioError
from popbox.scenario.load import load, load_all, parse

GOOD = 'title = "t"\n[[step]]\nsend = { from = "a@b", to = ["c@d"] }\n'
SESSION = "[[step]]\ntelnet = { session = 'a', transcript = 'S: x' }\n"

VERBS = (
    "declare, explain, send, expect-delivered, expect-nothing, expect-bounce, expect-deferred, expect-retrieved, "
    "telnet, maildir, file, write, shell, log, break, heal, wait-until, restart, hup"
)
IN_A_FILE, IN_A_STEP = "known here: title, proves, needs, accounts, step", f"known here: name, within-s, {VERBS}"
ONE_VERB = f"{{file}}: line 2: step 1: a step has exactly one verb of: {VERBS}"

MALFORMED = {
    "title = ": "{file}: not TOML: Invalid value (at end of document)",
    'title = "t"\nx = '
    + "9" * 5000: "{file}: not TOML: Exceeds the limit (4300 digits) for integer string conversion: "
    "value has 5000 digits; use sys.set_int_max_str_digits() to increase the limit",
    'title = "t"': "{file}: step: this key is required",
    'title = "t"\nstep = []': "{file}: line 2: step: List should have at least 1 item after validation, not 0",
    GOOD + "nmae = 1": "{file}: line 4: step 1.nmae: unknown key; did you mean 'name'? " + IN_A_STEP,
    'titel = "t"\n[[step]]\n'
    + GOOD.partition("\n")[2].partition("\n")[2]: "{file}: line 1: titel: unknown key; did you mean 'title'? "
    + IN_A_FILE,
    'colour = "red"\n' + GOOD: "{file}: line 1: colour: unknown key; " + IN_A_FILE,
    'title = "t"\n[[step]]\nname = "x"': ONE_VERB,
    GOOD + 'telnet = "S: +OK"': ONE_VERB,
    GOOD + "[[step]]\nsend = { to = [] }": (
        "{file}: line 5: step 2.send.to: List should have at least 1 item after validation, not 0"
    ),
    GOOD + '[[step]]\ntelnet = "S: +OK\\nX"': (
        "{file}: line 5: step 2.telnet.transcript: line 2: 'X' starts with none of 'C: ', 'S: ', 'S~ ', '#'"
    ),
    GOOD + GOOD.partition("\n")[2]: "{file}: line 5: step 2.send.id: 'message' is sent twice",
    GOOD + '[[step]]\nexpect-delivered = { message = "other", mailbox = "c@d" }': (
        "{file}: line 5: step 2.expect-delivered.message: 'other' is not sent before; sent: message"
    ),
    GOOD.replace('["c@d"]', '["c@d"], mail = "gone.eml"'): "{file}: mail 'gone.eml': No such file or directory",
    GOOD.replace(
        '["c@d"]', '["c@d\\n"]'
    ): "{file}: line 3: step 1.send.to 1: String should match pattern '^[^\\x00-\\x1f<>]*$'",
    GOOD + '[[step]]\nbreak = { kill = "smtp", chmod = {} }': (
        "{file}: line 5: step 2.break.chmod: Dictionary should have at least 1 item after validation, not 0"
    ),
    GOOD + '[[step]]\nbreak = { kill = "smtp", stop = "smtp" }': (
        "{file}: line 5: step 2.break: give exactly one of 'stop', 'kill', 'pause', 'partition', 'fill', 'read-only', "
        "'chmod', 'drop-line', 'remove'"
    ),
    GOOD + '[[step]]\nfile = { path = "../etc/passwd", has = "x" }': (
        "{file}: line 5: step 2.file.path: a path below the qmail home is wanted: no leading / and no .."
    ),
    GOOD + '[[step]]\nfile = { path = "x" }': (
        "{file}: line 5: step 2.file: give at least one of 'has', 'lacks', 'mode', or it could not fail"
    ),
    GOOD + "[[step]]\nlog = { service = 'smtp', says = 'a{9999999999999}' }": (
        "{file}: line 5: step 2.log.says: not a regular expression: the repetition number is too large"
    ),
    GOOD + "[[step]]\ntelnet = 'S~ a{9999999999999}'": (
        "{file}: line 5: step 2.telnet.transcript: line 1: not a regular expression: the repetition number is too large"
    ),
    "x = " + "[" * 10_000: "{file}: it is nested too deeply",
    GOOD + "within-s = 0": "{file}: line 4: step 1.within-s: Input should be greater than 0",
    GOOD + "accounts = 1": "{file}: line 4: step 1.accounts: unknown key; " + IN_A_STEP,
    GOOD.replace(
        "to = [", "sender = 'a@b', to = ["
    ): "{file}: line 3: step 1.send.sender: unknown key; known here: from, to, mail, text, dialogue, id, refused",
    GOOD.replace('from = "a@b"', "from = 1"): "{file}: line 3: step 1.send.from: Input should be a valid string",
    GOOD.replace('from = "a@b", ', ""): "{file}: line 3: step 1.send: give 'from' and 'to', or a 'dialogue'",
    GOOD.replace(
        '["c@d"]', '["c@d"], mail = "x", text = "y"'
    ): "{file}: line 3: step 1.send: give 'mail' or 'text', not both",
    GOOD.replace('["c@d"]', '["c@d"], dialogue = "S: 220"'): (
        "{file}: line 3: step 1.send: a 'dialogue' says it all itself: from, to cannot stand beside it"
    ),
    GOOD + '[[step]]\nsend = { id = "x", dialogue = "C: QUIT" }': (
        "{file}: line 5: step 2.send.dialogue: a transcript needs at least one S: line, or it could not fail"
    ),
    GOOD + '[[step]]\ntelnet = "S: ...\\nC: QUIT"': (
        "{file}: line 5: step 2.telnet.transcript: line 1: after 'S: ...' must stand the S line that ends it"
    ),
    GOOD + '[[step]]\ntelnet = "S~ ("': (
        "{file}: line 5: step 2.telnet.transcript: line 1: not a regular expression: "
        "missing ), unterminated subpattern at position 0"
    ),
    GOOD + '[[step]]\nlog = { service = "smtp", says = "[" }': (
        "{file}: line 5: step 2.log.says: not a regular expression: unterminated character set at position 0"
    ),
    GOOD + '[[step]]\nlog = { service = "imap", says = "x" }': (
        "{file}: line 5: step 2.log.service: Input should be 'smtp' or 'pop3'"
    ),
    GOOD + '[[step]]\nfile = { path = "/etc/passwd", has = "x" }': (
        "{file}: line 5: step 2.file.path: a path below the qmail home is wanted: no leading / and no .."
    ),
    GOOD + '[[step]]\nwrite = { path = "x", text = "", mode = "600" }': (
        "{file}: line 5: step 2.write.mode: String should match pattern '^[0-7]{{4}}$'"
    ),
    GOOD + '[[step]]\nwait-until = { done = "other" }': (
        "{file}: line 5: step 2.wait-until.done: 'other' is not sent before; sent: message"
    ),
    GOOD
    + "[[step]]\nwait-until = {}": "{file}: line 5: step 2.wait-until: give exactly one of 'answers', 'silent', 'done'",
    GOOD + '[[step]]\nheal = "x"': "{file}: line 5: step 2.heal: 'x' is not broken; broken: nothing",
    GOOD + '[[step]]\nbreak = { id = "x", remove = "y" }\n[[step]]\nheal = "x"': (
        "{file}: line 7: step 3.heal: what was removed is gone: put it back with 'write' or 'declare'"
    ),
    GOOD + 2 * '[[step]]\nbreak = { id = "x", chmod = { y = "0600" } }\n': (
        "{file}: line 7: step 3.break.id: 'x' is broken already; heal it first, or give this fault an id of its own"
    ),
    GOOD + '[[step]]\nbreak = { kill = "smtp" }': (
        "{file}: line 5: step 2.break.kill: needs.own-host must be true: others would see it"
    ),
    GOOD
    + '[[step]]\nrestart = "smtp"': "{file}: line 5: step 2.restart: needs.own-host must be true: others would see it",
    "needs = { own-host = true }\n" + GOOD + '[[step]]\nbreak = { fill = "queue" }': (
        "{file}: line 6: step 2.break.fill: needs.own-disk must be true: no other disk is broken on purpose"
    ),
    "needs = { own-disk = true }\n" + GOOD + '[[step]]\nbreak = { read-only = "queue" }': (
        "{file}: line 6: step 2.break.read-only: Input should be 'popboxes'"
    ),
    GOOD + SESSION + SESSION.replace("session =", "service = 'smtp', session ="): (
        "{file}: line 7: step 3.telnet.service: session 'a' talks to pop3"
    ),
    GOOD + SESSION.replace("session =", "hang-up = true, session =") + SESSION: (
        "{file}: line 7: step 3.telnet.session: 'a' was hung up; take another name"
    ),
    GOOD + "[[step]]\ntelnet = { transcript = 'S: x', hang-up = true }": (
        "{file}: line 5: step 2.telnet: 'hang-up' is for a 'session'; without one the connection ends with the step"
    ),
    "proves = ['H-37']\n" + GOOD: (
        "{file}: line 1: proves 1: String should match pattern '^H-([1-9]|[12][0-9]|3[0-6])$'"
    ),
    "needs = { host = ['mars'] }\n"
    + GOOD: "{file}: line 1: needs.host 1: Input should be 'local', 'docker' or 'remote'",
    "needs = { own-host = 1 }\n" + GOOD: "{file}: line 1: needs.own-host: Input should be a valid boolean",
    GOOD + "[accounts.domains.'d.example'.mailboxes.joe]\n": (
        "{file}: line 4: accounts.domains.d.example.mailboxes.joe: give 'crypt' or 'password', and one of them only"
    ),
}


@pytest.mark.parametrize(("text", "golden"), MALFORMED.items())
def test_a_malformed_file_names_file_step_and_key(tmp_path: Path, text: str, golden: str) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(text)
    with pytest.raises(ScenarioError) as caught:
        load(file)
    assert str(caught.value) == golden.format(file=file)


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(
        """titel = "t"
[accounts.domains."d.example".mailboxes.joe]
passwrd = "x"
[[step]]
sned = { from = "a@b", to = "c@d" }
[[step]]
send = { from = 1, to = [
  "c@d",
  2 ] }
[[step]]
break.kil = "smtp"
"""
    )
    with pytest.raises(ScenarioError) as caught:
        load(file)
    box = "accounts.domains.d.example.mailboxes.joe"
    fault = "id, stop, kill, pause, partition, fill, read-only, chmod, drop-line, remove"
    told = [
        f"line 1: titel: unknown key; did you mean 'title'? {IN_A_FILE}",
        f"line 3: {box}.passwrd: unknown key; did you mean 'password'? known here: login, crypt, password, extensions",
        f"line 5: step 1.sned: unknown key; did you mean 'send'? {IN_A_STEP}",
        "line 7: step 2.send.from: Input should be a valid string",
        "line 7: step 2.send.to 2: Input should be a valid string",
        f"line 11: step 3.break.kil: unknown key; did you mean 'kill'? known here: {fault}",
    ]
    assert caught.value.mistakes == tuple(told)
    assert str(caught.value) == "\n".join(f"{file}: {one}" for one in told)


def test_all_steps_that_name_what_is_not_there_and_all_message_files_are_told(tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(GOOD + '[[step]]\nheal = "x"\n[[step]]\nheal = "y"')
    with pytest.raises(ScenarioError) as caught:
        load(file)
    assert [one.partition(" is")[0] for one in caught.value.mistakes] == [
        "line 5: step 2.heal: 'x'",
        "line 7: step 3.heal: 'y'",
    ]
    send = '[[step]]\nsend = { from = "", to = "c@d", mail = "%s", id = "%s" }\n'
    file.write_text('title = "t"\n' + send % ("a.eml", "a") + send % ("b.eml", "b"))
    with pytest.raises(ScenarioError) as caught:
        load(file)
    assert caught.value.mistakes == tuple(f"mail '{one}.eml': No such file or directory" for one in "ab")


def test_one_string_stands_for_a_list_of_one(tmp_path: Path) -> None:
    file = tmp_path / "one.toml"
    forward = "[accounts.domains.'d.example'.forwards]\nsales = 'a@b'\n"
    file.write_text("proves = 'H-1'\nneeds = { host = 'local' }\n" + GOOD.replace('["c@d"]', '"c@d"') + forward)
    read = load(file).scenario
    assert (read.proves, read.needs.host, read.step[0].spec.to) == (["H-1"], ["local"], ["c@d"])
    assert read.accounts.domains["d.example"].forwards == {"sales": ["a@b"]}
    with pytest.raises(ScenarioError, match=r"line 3: step 1\.send\.to: "):
        parse(GOOD.replace('["c@d"]', "1"), file)


@pytest.mark.parametrize(
    ("said", "rule"), [("'a\\nb'", None), ('"a\\nb"', "one line of printable"), ("''", "at least 1")]
)
def test_a_password_is_one_line(tmp_path: Path, said: str, rule: str | None) -> None:
    text = GOOD + f"[accounts.domains.'d.example'.mailboxes.joe]\npassword = {said}\n"
    if rule is None:
        assert "a\\nb" not in repr(parse(text, tmp_path))
        return
    with pytest.raises(ScenarioError, match=rule):
        parse(text, tmp_path)


def test_a_byte_order_mark_is_no_part_of_it(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert load(path).scenario.title == "t"


def test_the_finder_of_lines_is_the_one_of_mailhost() -> None:
    """popbox and mailhost import nothing of each other, and both name lines of TOML: one text, kept twice."""
    ours, theirs = "harness/popbox/scenario/toml_lines.py", "images/mailhost/mailhost/accounts/sources/toml_lines.py"
    assert (ROOT / ours).read_text() == (ROOT / theirs).read_text()


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
