"""The small parts: rows, the root helper, remembered logins, counters."""

from __future__ import annotations

import gc
import hashlib
import socket
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from mailhost.pop3.auth import passdb, password_check, root_helper
from mailhost.pop3.auth.passdb import LOGIN_OCTETS, Files, Passdb, PassdbError
from mailhost.pop3.auth.password_check import Credentials
from mailhost.pop3.auth.popsecrets import parse as parse_secrets
from mailhost.pop3.protocol import scram
from mailhost.pop3.server.metrics import Count, Counters
from mailhost.poppasswd.crypt import DUMMY_HASH
from mailhost.poppasswd.file import Row

REAL = scram.make(b"pencil")


def users(tmp_path: Path) -> Path:
    (tmp_path / "poppasswd").write_text("joe:DmIMm9e5Hc8ic:popuser:/box/joe\nbad line\nbad:x\n")
    return tmp_path


def test_rows_are_cached_until_the_file_changes(tmp_path: Path) -> None:
    rows = Passdb(users(tmp_path))
    assert rows.cached(b"joe") is None
    row, secret = known(rows, b"joe")
    assert row is not None
    assert secret is None
    assert rows.cached(b"joe") is row
    (tmp_path / "poppasswd").write_text("ann:*:popuser:/box/ann\n")
    assert rows.cached(b"joe") is None
    assert known(rows, b"joe") == (None, None)
    assert known(rows, b"ann")[0] is rows.cached(b"ann") is not None


def known(rows: Passdb, login: bytes) -> tuple[Row | None, bytes | None]:
    answers: list[tuple[Row | None, bytes | None] | PassdbError] = []
    rows.know(login, apop=False, done=answers.append)
    if isinstance(answers[0], PassdbError):
        raise answers[0]
    return answers[0]


def test_logins_that_strangers_name_take_no_memory(tmp_path: Path) -> None:
    rows = Passdb(users(tmp_path))
    known(rows, b"joe")
    for number in range(100):
        assert known(rows, b"%d." % number + b"x" * 9_000) == (None, None)
    assert list(rows._cache) == [b"joe"]


def test_an_answer_from_before_a_change_is_not_kept_after_it(tmp_path: Path) -> None:
    """The look-up is under way while the password is changed and another session looks at the file."""
    posted: list[Callable[[], None]] = []
    rows = Passdb(users(tmp_path), post=posted.append)
    answers: list[object] = []
    rows.cached(b"joe")
    rows.know(b"joe", apop=False, done=answers.append)
    (tmp_path / "poppasswd").write_text("joe:changed:popuser:/box/joe\n")
    assert rows.cached(b"joe") is None
    posted[0]()
    assert answers == [(Row(b"joe", b"DmIMm9e5Hc8ic", b"popuser", b"/box/joe"), None)]
    assert rows.cached(b"joe") is None


def test_a_fault_while_asking_is_an_answer(tmp_path: Path) -> None:
    class Broken(Files):
        def row(self, login: bytes) -> Row | None:
            raise ZeroDivisionError

    with pytest.raises(PassdbError):
        known(Passdb(users(tmp_path), Broken(tmp_path)), b"joe")


def test_a_fault_is_forgotten_once_it_is_answered(tmp_path: Path) -> None:
    """A missing certificate is one every two seconds: each was kept, with its frames, until a garbage collection."""
    kept: list[weakref.ref[object]] = []

    def question() -> None:
        raise PassdbError("missing")

    def done(answer: object) -> None:
        assert isinstance(answer, PassdbError)
        kept.append(weakref.ref(answer))

    gc.disable()
    try:
        Passdb(users(tmp_path)).ask(question, done)
        assert [one() for one in kept] == [None]
    finally:
        gc.enable()


def test_a_line_that_is_no_row_is_the_hosts_fault_for_that_login_only(tmp_path: Path) -> None:
    rows = Passdb(users(tmp_path))
    with pytest.raises(PassdbError):
        known(rows, b"bad")
    assert known(rows, b"joe")[0] is not None
    (tmp_path / "poppasswd").unlink()
    with pytest.raises(PassdbError):
        rows.cached(b"joe")


def test_readable_asks_the_source_and_not_what_is_remembered(tmp_path: Path) -> None:
    class Gone(Files):
        alive = True

        def row(self, login: bytes) -> Row | None:
            if not self.alive:
                raise OSError("the root helper has gone")
            return super().row(login)

    source = Gone(users(tmp_path))
    rows = Passdb(tmp_path, source)
    assert rows.readable()
    source.alive = False
    assert not rows.readable()


def test_the_file_is_looked_at_once_a_round(tmp_path: Path) -> None:
    rows = Passdb(users(tmp_path))
    assert rows.cached(b"joe", 0.0) is None
    row, _ = known(rows, b"joe")
    assert rows.cached(b"joe", 1.0) is row is not None
    (tmp_path / "poppasswd").write_text("ann:*:popuser:/box/ann\n")
    assert rows.cached(b"joe", 1.0) is row
    assert rows.cached(b"joe", 2.0) is None


def test_an_apop_secret_is_told_where_it_is_asked_for_and_there_is_a_row(tmp_path: Path) -> None:
    (tmp_path / "popsecrets").write_bytes(b"joe:apop:tanstaaf\nghost:apop:x\nann:scram:" + REAL + b"\n")
    rows = Passdb(users(tmp_path))
    told: list[object] = []
    for login, apop in ((b"joe", False), (b"joe", True), (b"ghost", True)):
        rows.know(login, apop=apop, done=told.append)
    row = Row(b"joe", b"DmIMm9e5Hc8ic", b"popuser", b"/box/joe")
    assert told == [(row, None), (row, b"tanstaaf"), (None, None)]
    assert (rows.secret(b"ghost", b"apop"), rows.scram(b"ann")) == (b"x", REAL)
    assert rows.scram(b"ghost").startswith(scram.PREFIX), "made up"
    assert [rows.offers(kind) for kind in (b"apop", b"scram", b"other")] == [True, True, False]


def test_rows_are_kept_up_to_a_number_and_then_from_the_start_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passdb, "CACHED_ROWS", 2)
    names = [b"a", b"b", b"c"]
    (tmp_path / "poppasswd").write_bytes(b"".join(name + b":*:popuser:/box\n" for name in names))
    rows = Passdb(tmp_path)
    kept = []
    for name in names:
        rows.cached(name)
        known(rows, name)
        kept.append(sorted(rows._cache))
    assert kept == [[b"a"], [b"a", b"b"], [b"c"]]


@pytest.mark.parametrize(("octets", "asked"), [(LOGIN_OCTETS, b"n" * LOGIN_OCTETS), (LOGIN_OCTETS + 1, None)])
def test_of_a_name_longer_than_any_a_digest_is_asked_for(tmp_path: Path, octets: int, asked: bytes | None) -> None:
    seen: list[bytes] = []

    class Noting(Files):
        def secret(self, login: bytes, kind: bytes) -> bytes | None:
            seen.append(login)
            return None

    assert Passdb(users(tmp_path), Noting(tmp_path)).scram(b"n" * octets) == b""
    assert seen == [asked or b"\0" + hashlib.sha256(b"n" * octets).digest()]


def test_the_reason_is_said_as_the_source_said_it(tmp_path: Path) -> None:
    with pytest.raises(PassdbError, match=r"^\[Errno 2\] No such file"):
        known(Passdb(tmp_path), b"joe")


def test_a_source_that_cannot_tell_is_the_hosts_fault_in_every_question(tmp_path: Path) -> None:
    class Broken(Files):
        def fail(self, *_: bytes) -> None:
            raise OSError("the root helper has gone")

        row = secret = holds = upgrade = fail  # type: ignore[assignment]

    rows = Passdb(users(tmp_path), Broken(tmp_path))
    asked: list[Callable[[], object]] = [
        lambda: rows.row(b"joe"),
        lambda: rows.secret(b"joe", b"apop"),
        lambda: rows.scram(b"joe"),
        lambda: rows.upgrade(b"joe", b"pw"),
    ]
    for ask in asked:
        with pytest.raises(PassdbError, match=r"^the root helper has gone$"):
            ask()
    assert [rows.offers(b"apop", before) for before in (True, False)] == [True, False]
    assert Passdb(tmp_path).offers(b"apop") is False


def test_the_helper_answers_for_one_login_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "popsecrets").write_bytes(
        b"joe:apop:tanstaaf\n# x\njoe:apop:second\njoe:other:z\nann:scram:" + REAL + b"\n"
    )
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    thread = threading.Thread(target=root_helper.serve, args=([theirs], Files(users(tmp_path))))
    thread.start()
    helper = root_helper.HelperClient(ours)
    theirs.send(b"+ a stale answer that no one waits for")
    assert helper.row(b"joe") == Row(b"joe", b"DmIMm9e5Hc8ic", b"popuser", b"/box/joe")
    assert helper.row(b"nobody") is None
    assert helper.row(b"x" * 5000) is None
    assert helper.secret(b"joe", b"apop") == b"tanstaaf"
    assert helper.secret(b"ann", b"scram") == REAL
    assert helper.secret(b"joe", b"scram") == Files(tmp_path).secret(b"joe", b"scram") != REAL, "made up, and the same"
    assert helper.holds(b"scram")
    with pytest.raises(OSError, match="cannot use the file"):
        helper.row(b"bad")
    ours.close()
    thread.join(60)
    assert not thread.is_alive()


def test_secrets_of_another_form_are_skipped() -> None:
    assert parse_secrets(b"joe:apop:\njoe:des:x\njoe\njoe:apop:a:b\n") == {(b"joe", b"apop"): b"a:b"}


def judged(memory: Credentials, row: Row | None, password: bytes) -> bool:
    verdict: list[bool] = []
    memory.check(row, password, verdict.append)
    return verdict[0]


def test_a_remembered_login_is_void_when_its_hash_changes() -> None:
    memory = Credentials(lambda work: work(), lambda work: work())
    row = Row(b"joe", b"DmIMm9e5Hc8ic", b"popuser", b"/")
    assert not memory.known(row, b"testpw")
    assert not judged(memory, row, b"wrong")
    assert not memory.known(row, b"wrong"), "only what was right is remembered"
    assert judged(memory, row, b"testpw")
    assert memory.known(row, b"testpw")
    assert not memory.known(row, b"wrong")
    assert not memory.known(Row(b"joe", b"$6$x$y", b"popuser", b"/"), b"testpw")
    assert b"testpw" not in repr(memory._good).encode()


def remembering(monkeypatch: pytest.MonkeyPatch, logins: int) -> Credentials:
    """Credentials that remember so many logins, for which every password but ``wrong`` is right."""
    monkeypatch.setattr(password_check, "CACHED_LOGINS", logins)
    monkeypatch.setattr(password_check, "verify", lambda password, _stored: password != b"wrong")
    return Credentials(lambda work: work(), lambda work: work())


def test_logins_are_remembered_up_to_a_number_and_then_from_the_start_again(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = remembering(monkeypatch, 2)
    one, two, three = (Row(b"joe%d" % n, b"$6$x$y", b"popuser", b"/") for n in range(3))
    assert judged(memory, one, b"pw")
    assert judged(memory, two, b"pw")
    assert [memory.known(row, b"pw") for row in (one, two, three)] == [True, True, False]
    assert judged(memory, three, b"pw")
    assert [memory.known(row, b"pw") for row in (one, two, three)] == [False, False, True]


def test_a_weak_hash_is_replaced_by_who_proved_its_password_and_not_remembered_yet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[bytes, bytes]] = []
    memory = remembering(monkeypatch, 9)
    memory._upgrade = lambda login, password: asked.append((login, password))
    weak, strong = (Row(b"joe", crypt, b"popuser", b"/") for crypt in (b"DmIMm9e5Hc8ic", b"$6$salt$" + b"x" * 86))
    assert not judged(memory, weak, b"wrong")
    assert not judged(memory, None, b"pw")
    assert judged(memory, strong, b"pw")
    assert (asked, memory.known(strong, b"pw")) == ([], True)
    assert judged(memory, weak, b"pw")
    assert (asked, memory.known(weak, b"pw")) == ([(b"joe", b"pw")], False), "the next login tries again"


def test_an_unknown_login_is_hashed_too_and_never_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []
    monkeypatch.setattr("mailhost.pop3.auth.password_check.verify", lambda _, stored: bool(seen.append(stored)) or True)
    assert not judged(Credentials(lambda work: work(), lambda work: work()), None, b"x")
    assert seen == [DUMMY_HASH]


def test_a_hash_that_counts_for_a_time_is_not_remembered() -> None:
    memory, said = Credentials(lambda work: work(), lambda work: work()), list[bool]()
    for password in (b"testpw", b"wrong"):
        memory.once(b"DmIMm9e5Hc8ic", password, said.append)
    assert said == [True, False]
    assert not memory.known(Row(b"joe", b"DmIMm9e5Hc8ic", b"popuser", b"/"), b"testpw")


def test_a_check_that_breaks_is_no_login(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread ends with an answer, or the client would wait without one."""

    def breaks(_password: bytes, _stored: bytes) -> bool:
        raise MemoryError

    monkeypatch.setattr(password_check, "verify", breaks)
    memory, said = Credentials(lambda work: work(), lambda work: work()), list[bool]()
    assert not judged(memory, Row(b"joe", b"DmIMm9e5Hc8ic", b"popuser", b"/"), b"testpw")
    memory.once(b"DmIMm9e5Hc8ic", b"testpw", said.append)
    assert said == [False]


def test_counters_of_all_workers_add_up() -> None:
    counters = Counters(3)
    for worker in range(3):
        counters.row(worker)[Count.LOGINS] += worker
    assert counters.totals()[Count.LOGINS] == 3
    assert b"popbox_pop3_logins_total 3\n" in counters.render()
