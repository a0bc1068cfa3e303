"""A check that cannot fail is a defect: each row of the table against a server that breaks just its rule."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from tests.popbox.conformance.fake import LOGIN, PASSWORD, Faults, err, fake
from tests.popbox.conformance.faults import fault_for
from tests.popbox.conformance.making import says

from popbox.conformance.box import Options
from popbox.conformance.catalogue import CHECKS
from popbox.conformance.check import Check, Need
from popbox.conformance.lock import Lock
from popbox.conformance.profiles import PROFILES
from popbox.conformance.session import Target
from popbox.conformance.suite import chosen, run
from popbox.conformance.verdict import Finding, Status

STRICT = PROFILES["rfc1939"]
MAIL = [b"Subject: %d\n\none\ntwo\nthree\nfour\nfive\n.six\nseven" % n for n in range(3)]


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Path]:
    """An empty Maildir."""
    for part in ("new", "cur", "tmp"):
        (tmp_path / "Maildir" / part).mkdir(parents=True)
    return tmp_path / "Maildir"


@pytest.fixture(scope="module")
def tls() -> ssl.SSLContext:
    """A server's context with a certificate that no client trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    return context


def judged(
    rows: list[Check], box: Path, faults: Faults, tls: ssl.SSLContext | None, timeout_s: float = 1.0
) -> list[Finding]:
    """Findings against the fake; the corpus is placed only where a row needs it."""
    needs = {need for row in rows for need in row.needs}
    if not needs & {Need.CORPUS, Need.CHANGES}:
        for number, octets in enumerate(MAIL):
            (box / "new" / f"{number}.fake").write_bytes(octets)
    placing = box if needs & {Need.CORPUS, Need.CHANGES} else None
    with fake(box, faults, tls) as server:
        options = Options(Target(server.address, timeout_s), LOGIN, PASSWORD, placing, changes=True)
        profile = PROFILES["qmail"] if "qmail" in {name for row in rows for name in row.only} else STRICT
        return run(options, profile, rows)


def with_tls(row: Check) -> bool:
    """Rows about STLS need a server that has it; the one about a server without it does not."""
    return row.area == "STLS" and row.name != "stls-unannounced"


@pytest.mark.parametrize("row", CHECKS, ids=lambda row: row.name)
def test_each_check_is_failed_by_a_fault(row: Check, box: Path, tls: ssl.SSLContext) -> None:
    faults = fault_for(row.name, row.area)
    if row.name == "tls-version":
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # without a certificate no handshake comes about
        faults = Faults()
    assert faults is not None, "no fault proves this check"
    [finding] = judged([row], box, faults, tls if with_tls(row) else None)
    assert finding.status is Status.FAILED or finding.deviation == row.deviation, finding
    assert not finding.said.startswith("cannot connect"), finding


@pytest.mark.parametrize("secure", [False, True])
def test_a_server_that_keeps_the_rules_passes_all(box: Path, tls: ssl.SSLContext, secure: bool) -> None:
    rows = [row for row in chosen(CHECKS, STRICT, (), ()) if with_tls(row) == secure]
    findings = judged(rows, box, Faults(), tls if secure else None, timeout_s=10)
    assert [f for f in findings if f.status is Status.FAILED] == []
    skipped = {f.check for f in findings if f.status is Status.SKIPPED}
    assert skipped <= {"deleted-elsewhere"}, skipped


def test_a_lock_is_no_condition_for_seeing_what_others_marked(box: Path) -> None:
    [row] = [row for row in CHECKS if row.name == "deleted-elsewhere"]
    [finding] = judged([row], box, Faults(frozenset({"no-lock"})), None)
    assert finding.status is Status.PASSED, finding


def test_a_lock_that_lingers_is_not_taken_for_a_refusal(box: Path) -> None:
    names = {"auth-no-nul", "auth-wrong-refused", "auth-other-refused"}
    rows = [row for row in CHECKS if row.name in names]
    findings = judged(rows, box, Faults(frozenset({"auth-any", "lock-lingers"})), None)
    assert {f.check for f in findings if f.status is Status.FAILED or f.deviation} == names, findings


class Later(Lock):
    """A lock as it is when checks have been made for a minute."""

    def __init__(self) -> None:
        super().__init__()
        self._began -= 60.0


@pytest.mark.parametrize("replies", ["[IN-USE]", "no code"])
@pytest.mark.parametrize("before", ["login-after-refusal", "auth-response", "capa-pipelining-login"])
def test_a_lock_that_lingers_after_any_login_of_ours_fails_no_login(
    before: str, replies: str, box: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("popbox.conformance.box.Lock", Later)
    rows = [row for name in (before, "right-login") for row in CHECKS if row.name == name]
    switches = {"lock-lingers"} | ({"no-in-use-code"} if replies == "no code" else set())
    findings = judged(rows, box, Faults(frozenset(switches)), None)
    assert [f.status for f in findings] == [Status.PASSED, Status.PASSED], findings


@pytest.mark.parametrize(
    ("name", "switches"),
    [
        ("pass-before-user", ("pass-first", "any-login")),
        ("pass-not-after-user", ("user-remembered",)),
        ("stls-forgets", ("stls-remembers",)),
    ],
)
def test_a_lock_that_lingers_hides_no_login_that_should_have_failed(
    name: str, switches: tuple[str, ...], box: Path, tls: ssl.SSLContext
) -> None:
    rows = [row for wanted in ("right-login", name) for row in CHECKS if row.name == wanted]
    findings = judged(rows, box, Faults(frozenset({"lock-lingers", *switches})), tls if with_tls(rows[1]) else None)
    assert [f.status for f in findings] == [Status.PASSED, Status.FAILED], findings


@pytest.mark.parametrize("code", ["[IN-USE] ", ""])
def test_a_login_that_is_always_refused_as_locked_fails(code: str, box: Path) -> None:
    [row] = [row for row in CHECKS if row.name == "right-login"]
    [finding] = judged([row], box, says("PASS .*", err(f"{code}another session has this maildrop open")), None)
    assert finding.status is Status.FAILED, finding
