"""The ledger on the real programs: a message that is broken on purpose behind the MTA's back is caught, and named."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.popbox.peer import peer

from popbox.clients.wire import Address
from popbox.hosts.base import Service
from popbox.hosts.local import LocalHost
from popbox.hosts.state import Registry
from popbox.ledger import reconcile
from popbox.ledger.proof import Disposition, LegStatus, Message
from popbox.result import Result, Verdict
from popbox.run.runner import Run, run
from popbox.scenario.load import ScenarioFile
from popbox.scenario.model import Scenario

CRYPT = "DmIMm9e5Hc8ic"  # the HOWTO's: testpw
SEND = {"send": {"from": "paul@example.org", "to": ["joe@{domain}"], "id": "one"}}
DELIVERED = {"expect-delivered": {"message": "one", "mailbox": "joe@{domain}"}}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHost]:
    up = LocalHost.start(Registry(tmp_path_factory.mktemp("state")))
    yield up
    up.close()


def scenario(domain: str, steps: list[dict[str, object]]) -> ScenarioFile:
    boxes = {local: {"login": f"{local}.{domain}", "crypt": CRYPT} for local in ("joe", "eve")}
    table = {"title": "t", "accounts": {"domains": {domain: {"mailboxes": boxes}}}, "step": steps}

    def fill(value: object) -> object:
        if isinstance(value, dict):
            return {key: fill(one) for key, one in value.items()}
        if isinstance(value, list):
            return [fill(one) for one in value]
        return value.replace("{domain}", domain) if isinstance(value, str) else value

    return ScenarioFile(Path("t.toml"), Scenario.model_validate(fill(table)))


def play(host: LocalHost, domain: str, sabotage: Callable[[Path], object], *steps: dict[str, object]) -> Result:
    """Take the steps, then do the damage in the qmail home, then have the ledger drawn up."""
    file = scenario(domain, [*(steps or (SEND, DELIVERED))])
    going = Run(file, host)
    assert going.declare().seen.passed
    for step in file.scenario.step:
        seen = going.take(step)
        assert seen.seen.passed, seen
    box = Path(host.home(), "popboxes", domain.replace(".", "-"), "joe")
    sabotage(box)
    return going.result()


def test_a_password_that_the_scenario_says_opens_the_box_to_the_ledger(host: LocalHost) -> None:
    domain = "said.example"
    boxes = {"joe": {"login": "said", "password": "a secret"}}
    table = {"title": "t", "accounts": {"domains": {domain: {"mailboxes": boxes}}}, "step": [SEND]}
    file = ScenarioFile(Path("t.toml"), Scenario.model_validate(table))
    file.scenario.step[0].spec.to[0] = f"joe@{domain}"
    result = run(file, host)
    assert message(result).ended is Disposition.ONCE, result
    assert "a secret" not in result.model_dump_json()
    assert b"said:$6$" in host.read("users/poppasswd")


def message(result: Result) -> Message:
    assert len(result.messages) == 1
    return result.messages[0]


def its_file(box: Path) -> Path:
    """The file, once it is there."""
    deadline = time.monotonic() + 60
    while not (found := list(box.glob("Maildir/new/*"))):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found[0]


def put(path: Path, octets: bytes, like: Path) -> None:
    """A file that only the ledger can find fault with: owner and mode are right."""
    path.write_bytes(octets)
    path.chmod(0o600)
    os.chown(path, like.stat().st_uid, like.stat().st_gid)


def test_a_sound_message_is_proved_on_every_leg(host: LocalHost) -> None:
    result = play(host, "sound.example", lambda _box: None)
    proof = message(result)
    assert result.verdict is Verdict.PASSED, result.reason
    assert (proof.ended, proof.verdict) == (Disposition.ONCE, LegStatus.PASSED)
    smtp, queue, maildir, pop3 = proof.legs
    assert [leg.verdict for leg in proof.legs] == [LegStatus.PASSED] * 4
    assert smtp.reply.startswith("250 ok ")
    assert "C: DATA" in smtp.transcript
    assert queue.log[-1].startswith("end msg ")
    assert maildir.expected == ("popboxes/sound-example/joe/Maildir",)
    assert [(one.kind, one.mode, one.uid) for one in maildir.copies] == [("maildir", "0600", host.uid)]
    assert [(one.by, one.login, one.number) for one in pop3.retrieved] == [("popbox", "joe.sound.example", 1)]
    times = [leg.at_s for leg in (smtp, maildir, pop3)]
    assert all(at_s is not None and 0 <= at_s < 30 for at_s in times)


def without_token(message: bytes) -> bytes:
    return re.sub(rb"X-Popbox-Token: [^\n]*\n", b"", message)


def to_another_box(box: Path) -> None:
    shutil.move(its_file(box), box.parent / "eve/Maildir/new/moved")


# what is done to the file after the MTA has said "success" -> fate, words of the reason
SABOTAGE: dict[str, tuple[Callable[[Path], object], Disposition, str]] = {
    "lost": (lambda box: its_file(box).unlink(), Disposition.LOST, "success: did 1+0+0, but no file in "),
    "doubled": (
        lambda box: put(box / "Maildir/cur/x:2,", its_file(box).read_bytes(), its_file(box)),
        Disposition.DOUBLED,
        "2 files hold it",
    ),
    "corrupted": (
        lambda box: its_file(box).write_bytes(its_file(box).read_bytes().replace(b"prove", b"PROVE")),
        Disposition.CORRUPTED,
        "does not end with the octets that were sent",
    ),
    "cut": (
        lambda box: os.truncate(its_file(box), its_file(box).stat().st_size - 1),
        Disposition.CORRUPTED,
        "does not end",
    ),
    "doubled-without-token": (
        lambda box: put(
            box / "Maildir/cur/x:2,", re.sub(rb"X-Popbox-[^\n]*\n", b"", its_file(box).read_bytes()), its_file(box)
        ),
        Disposition.DOUBLED,
        "a second copy, without its token in the header: popboxes/",
    ),
    "doubled-with-another": (
        lambda box: put(box / "Maildir/new/y", its_file(box).read_bytes().replace(b": pb-", b": pb-0"), its_file(box)),
        Disposition.DOUBLED,
        "a second copy, without its token in the header: popboxes/",
    ),
    "wrong-mode": (lambda box: its_file(box).chmod(0o640), Disposition.WRONG_MODE, "has mode 0640"),
    "wrong-place": (
        to_another_box,
        Disposition.WRONG_PLACE,
        "it lies in popboxes/wrong-place-example/eve/Maildir, and not",
    ),
}


@pytest.mark.parametrize("fault", SABOTAGE)
def test_what_is_done_behind_the_mtas_back_is_caught(fault: str, host: LocalHost) -> None:
    damage, fate, why = SABOTAGE[fault]
    result = play(host, f"{fault}.example", damage)
    proof = message(result)
    assert (result.verdict, proof.ended, proof.verdict) == (Verdict.FAILED, fate, LegStatus.FAILED)
    assert why in proof.why
    assert proof.legs[2].verdict is LegStatus.FAILED
    assert result.reason.startswith(f"message 'one': {fate.value}: ")
    assert result.logs, "a failed run keeps the logs"


def test_a_copy_that_comes_while_the_first_is_young_is_caught(host: LocalHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes when the boxes have been looked at and the ledger waits, because the first may not be the last."""
    boxes: list[Path] = []

    def waits(seconds: float) -> None:
        (box,) = boxes
        assert 0 < seconds <= reconcile.LATE_S
        put(box / "Maildir/cur/z", its_file(box).read_bytes(), its_file(box))

    monkeypatch.setattr(reconcile, "LATE_S", 600.0)  # young on any machine
    monkeypatch.setattr(reconcile, "time", SimpleNamespace(time=time.time, monotonic=time.monotonic, sleep=waits))
    result = play(host, "late.example", boxes.append)
    proof = message(result)
    assert (result.verdict, proof.ended) == (Verdict.FAILED, Disposition.DOUBLED)
    assert "2 files hold it" in proof.why


@pytest.mark.needs("root")  # who can give a file away
def test_a_file_of_another_owner_is_caught(host: LocalHost) -> None:
    proof = message(play(host, "owner.example", lambda box: os.chown(its_file(box), 0, 0)))
    assert (proof.ended, proof.verdict) == (Disposition.WRONG_OWNER, LegStatus.FAILED)
    assert "belongs to uid 0, not 888" in proof.why


def test_a_message_delivered_although_no_recipient_was_expected_is_caught(host: LocalHost) -> None:
    """What bounces must be nowhere: a copy that turns up all the same is a fault."""
    unknown = {"send": {"from": "joe@{domain}", "to": ["nobody@{domain}"], "id": "one"}}
    bounced = {"expect-bounce": {"message": "one", "mailbox": "joe@{domain}", "says": "no mailbox here"}}
    result = play(host, "nowhere.example", lambda _box: None, unknown, bounced)
    assert result.verdict is Verdict.PASSED, result.reason
    assert message(result).ended is Disposition.BOUNCED
    assert [one.kind for one in message(result).legs[2].copies] == ["bounce"]

    def turns_up(box: Path) -> None:
        report = its_file(box).read_bytes()
        put(box / "Maildir/cur/x:2,", report[report.index(b"X-Popbox-Token: ") :], its_file(box))

    again = message(play(host, "nowhere2.example", turns_up, unknown, bounced))
    assert (again.ended, again.verdict) == (Disposition.WRONG_PLACE, LegStatus.FAILED)


def test_a_delivery_that_bounces_against_the_rules_fails_the_run(host: LocalHost) -> None:
    """Only the ledger looks at this message: the box breaks after the rules were asked."""
    file = scenario("against.example", [SEND])
    going = Run(file, host)
    going.declare()
    box = Path(host.home(), "popboxes/against-example/joe")
    asked, run = [], host.run

    def broken_after(*argv: str, stdin: bytes = b"") -> object:
        ran = run(*argv, stdin=stdin)
        if argv[0] == "explain" and not asked:
            asked.append(argv)
            shutil.rmtree(box / "Maildir")
        return ran

    host.run = broken_after  # type: ignore[method-assign, assignment]
    try:
        going.take(file.scenario.step[0])
    finally:
        del host.run  # type: ignore[method-assign]
    result = going.result()
    assert (result.verdict, message(result).ended) == (Verdict.FAILED, Disposition.DEFERRED)
    assert "Unable to chdir to maildir" in result.reason
    assert "expected: joe@against.example: delivered, " in result.reason


def test_a_message_in_a_queue_that_is_not_served_is_stuck_there(tmp_path: Path) -> None:
    """The MTA is killed right after the 250: the reason names how it ended. It must not take the drain's time."""
    up = LocalHost.start(Registry(tmp_path))
    try:
        file = scenario("dead.example", [SEND])
        going = Run(file, up)
        going.declare()
        (Path(up.home()) / "popboxes/dead-example/joe/Maildir").rename(tmp_path / "gone")
        going.take(file.scenario.step[0])
        up.kill("smtp")
        proof = message(going.result())
    finally:
        up.close()
    assert proof.ended in (Disposition.QUEUE, Disposition.DEFERRED)
    assert proof.verdict is LegStatus.FAILED or "deferred" in proof.expected


class OtherPop3(LocalHost):
    """A host whose POP3 is a peer that the test scripts."""

    pop3: Address

    def address(self, service: Service) -> Address:
        return self.pop3 if service == "pop3" else super().address(service)


LOGIN = [b"+OK hi\r\n", b"+OK\r\n", b"+OK\r\n"]
OTHER = b"+OK\r\nX-Popbox-Token: %s\r\nSubject: x\r\n\r\nnot what was sent\r\n.\r\n"


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ([*LOGIN, b"+OK 1 9\r\n", OTHER], "RETR 1 handed out 66 octets that are not those"),
        ([*LOGIN, b"+OK 0 0\r\n"], "but POP3 lists 0 messages there and none is it"),
    ],
)
def test_a_pop3_that_hands_out_something_else_is_caught(
    script: list[bytes], why: str, host: LocalHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = scenario(f"pop{len(script)}.example", [SEND, DELIVERED])
    going = Run(file, host)
    going.declare()
    assert all(going.take(step).seen.passed for step in file.scenario.step)
    token = going.context.sent["one"].token.encode()
    with peer([part.replace(b"%s", token) for part in script]) as other:
        monkeypatch.setattr(host, "__class__", OtherPop3)
        monkeypatch.setattr(host, "pop3", other.address, raising=False)
        result = going.result()
        monkeypatch.undo()
    proof = message(result)
    assert (result.verdict, proof.ended) == (Verdict.FAILED, Disposition.POP3)
    assert why in proof.why
    assert [leg.verdict.value for leg in proof.legs] == ["passed", "passed", "passed", "failed"]


def test_a_password_that_is_refused_is_no_fault_but_not_looked_at(
    host: LocalHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    with peer([b"+OK hi\r\n", b"+OK\r\n", b"-ERR no\r\n"]) as other:
        monkeypatch.setattr(host, "__class__", OtherPop3)
        monkeypatch.setattr(host, "pop3", other.address, raising=False)
        result = play(host, "refused.example", lambda _box: None)
        monkeypatch.undo()
    assert result.verdict is Verdict.PASSED, result.reason
    leg = message(result).legs[3]
    assert (leg.verdict, leg.said) == (LegStatus.NOT_LOOKED_AT, "joe.refused.example over POP3: PASS ********: -ERR no")


def test_mail_that_a_session_deleted_is_not_lost(host: LocalHost) -> None:
    take = "S: +OK...\nC: USER joe.{domain}\nS: +OK...\nC: PASS testpw\nS: +OK...\nC: RETR 1\nS: +OK...\nS: ...\nS: .\n"
    take += "C: DELE 1\nS: +OK...\nC: QUIT\nS: +OK...\n"
    result = play(host, "taken.example", lambda _box: None, SEND, DELIVERED, {"telnet": take})
    proof = message(result)
    assert (proof.ended, proof.why) == (Disposition.ONCE, "taken away by step 3 over POP3"), result.reason
    assert proof.legs[3].retrieved[0].login == "joe.taken.example"


def test_two_recipients_in_one_box_are_two_copies(host: LocalHost) -> None:
    both = {"send": {"from": "paul@example.org", "to": ["joe@{domain}", "anyone@{domain}"], "id": "one"}}
    catchall = {"declare": {"argv": ["catchall", "set", "{domain}", "joe@{domain}"]}}
    proof = message(play(host, "both.example", lambda _box: None, catchall, both))
    assert (proof.ended, len(proof.legs[2].copies)) == (Disposition.ONCE, 2), proof
    lost = message(play(host, "both2.example", lambda box: its_file(box).unlink(), catchall, both))
    assert lost.ended is Disposition.LOST


def test_a_refused_message_must_be_nowhere(host: LocalHost) -> None:
    refused = {"send": {"from": "a@b.example", "to": ["joe@elsewhere.example"], "id": "one", "refused": "553"}}
    proof = message(play(host, "refuses.example", lambda _box: None, refused))
    assert (proof.ended, proof.verdict) == (Disposition.SMTP, LegStatus.PASSED)

    file = scenario("refuses2.example", [refused])
    going = Run(file, host)
    going.declare()
    going.take(file.scenario.step[0])
    stray = Path(host.home(), "popboxes/refuses2-example/joe/Maildir/cur/x:2,")
    stray.write_bytes(going.context.offered[0].octets)
    proof = message(going.result())
    assert (proof.ended, proof.verdict) == (Disposition.WRONG_PLACE, LegStatus.FAILED)
    assert "and yet it lies in popboxes/refuses2-example/joe/" in proof.why
