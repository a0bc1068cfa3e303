"""``popbox pop3-check`` as a user meets it: exit codes, what it never does, what it shows and writes."""

from __future__ import annotations

import json
import socket
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from click.testing import CliRunner, Result
from tests.popbox.conformance.fake import LOGIN, PASSWORD, Fake, Faults, err, fake
from tests.popbox.conformance.making import says

from popbox.cli.pop3_check import pop3_check
from popbox.conformance.catalogue import CHECKS
from popbox.conformance.profiles import PROFILES
from popbox.conformance.report import SCHEMA


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """A Maildir with three messages."""
    for part in ("new", "cur", "tmp"):
        (tmp_path / "Maildir" / part).mkdir(parents=True)
    for number in range(3):
        (tmp_path / "Maildir" / "new" / f"{number}.mine").write_bytes(
            b"Subject: %d\n\nbody\n.dot\nthree\nfour\n" % number
        )
    return tmp_path / "Maildir"


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    """A file with the password."""
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    return file


@pytest.fixture
def server(box: Path) -> Iterator[Fake]:
    """A server without faults."""
    with fake(box) as up:
        yield up


def check(server: Fake | str, password_file: Path | str, *more: str, standard_input: str = "") -> tuple[int, Result]:
    """The exit code as ``popbox`` would give it, and the output."""
    address = server if isinstance(server, str) else str(server.address)
    arguments = [address, "--login", LOGIN, "--password-file", str(password_file), *more]
    result = CliRunner().invoke(pop3_check, arguments, standalone_mode=False, input=standard_input)
    if result.exception is not None:
        assert type(result.exception).__module__.startswith("click"), result.exception
        return 2, result
    return int(result.return_value), result


def tree(box: Path) -> dict[str, bytes]:
    """All files below a Maildir."""
    return {str(path.relative_to(box)): path.read_bytes() for path in box.rglob("*") if path.is_file()}


def test_a_good_server_passes_and_its_box_is_left_as_it_was(server: Fake, box: Path, password_file: Path) -> None:
    before = tree(box)
    code, result = check(server, password_file)
    assert code == 0, result.output
    assert result.output.splitlines()[-1].endswith("0 failed, 115 skipped"), result.output.splitlines()[-1]
    assert tree(box) == before
    said = {verb for logged_in, verb in server.heard if logged_in}
    assert "RETR" in said
    assert not said & {"DELE", "QUIT"}


def test_with_a_maildir_the_corpus_comes_and_goes(server: Fake, box: Path, password_file: Path) -> None:
    before = tree(box)
    code, result = check(server, password_file, "--maildir", str(box), "--only", "content")
    assert (code, "43 passed" in result.output) == (0, True), result.output
    assert tree(box) == before


def test_changes_touch_only_what_the_check_has_placed(server: Fake, box: Path, password_file: Path) -> None:
    before = sorted(tree(box).values())
    code, result = check(
        server,
        password_file,
        "--maildir",
        str(box),
        "--allow-changes",
        "--only",
        "QUIT and UPDATE",
        "--skip",
        "quit-ok",
    )
    assert code == 0, result.output
    assert sorted(tree(box).values()) == before


def test_without_a_maildir_changes_delete_the_last_messages(server: Fake, box: Path, password_file: Path) -> None:
    code, result = check(server, password_file, "--allow-changes", "--only", "quit-removes")
    assert code == 0, result.output
    assert len(tree(box)) == 2


def test_a_fault_is_a_failure_with_its_conversation_and_no_password(box: Path, password_file: Path) -> None:
    with fake(
        box, Faults(reply=lambda e: e.reply if e.verb != "STAT" else b"+OK " + PASSWORD.encode() + b"\r\n")
    ) as bad:
        code, result = check(bad, password_file, "--only", "stat-form")
    assert code == 1
    assert "stat-form" in result.output
    assert "| C: PASS ********" in result.output
    assert PASSWORD not in result.output


def test_a_deviation_counts_as_passed_where_the_profile_expects_it(box: Path, password_file: Path) -> None:
    with fake(box, Faults(frozenset({"no-lock"}))) as server:
        assert check(server, password_file, "--only", "exclusive-lock")[0] == 1
        code, result = check(server, password_file, "--only", "exclusive-lock", "--profile", "qmail")
    assert code == 0
    assert "deviation exclusive-lock [no-exclusive-lock]" in result.output
    assert "expected: Q-POP3-20" in result.output


def test_exact_wants_the_deviations_that_the_profile_expects(server: Fake, password_file: Path) -> None:
    arguments = ("--only", "exclusive-lock", "--profile", "qmail")
    assert check(server, password_file, *arguments)[0] == 0
    code, result = check(server, password_file, *arguments, "--exact")
    assert code == 1
    assert "qmail is known for 'no-exclusive-lock', and it does not show" in result.output


def test_json_has_the_documented_shape(server: Fake, password_file: Path, tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    code, _ = check(server, password_file, "--only", "greeting", "--json", str(file))
    found: dict[str, Any] = json.loads(file.read_text())
    assert code == 0
    assert list(found) == [
        "schema", "server", "tls", "profile", "began", "took_s", "summary", "deviations", "checks"
    ]  # fmt: skip
    assert (found["schema"], found["server"], found["profile"]) == (SCHEMA, str(server.address), "rfc1939")
    assert found["summary"] == {"passed": 8, "deviation": 0, "failed": 0, "skipped": 0}
    assert set(found["checks"][0]) == {
        "check", "area", "source", "statement", "status", "said", "deviation", "transcript", "took_s"
    }  # fmt: skip


def test_json_on_standard_output_is_alone_there(server: Fake, password_file: Path) -> None:
    _, result = check(server, password_file, "--only", "greeting", "--json", "-")
    assert json.loads(result.output)["summary"]["passed"] == 8


def test_the_password_may_come_by_standard_input(server: Fake) -> None:
    assert check(server, "-", "--only", "right-login", standard_input=f"{PASSWORD}\n")[0] == 0


def test_a_refused_login_is_unusable_input(server: Fake, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong\n")
    code, result = check(server, wrong)
    assert code == 2
    assert "login refused: '-ERR [AUTH] refused" in result.output


def test_a_refused_login_that_says_the_password_back_is_shown_without_it(box: Path, password_file: Path) -> None:
    with fake(box, says("PASS .*", err(f"no such password: {PASSWORD}"))) as server:
        code, result = check(server, password_file)
    assert (code, PASSWORD in result.output) == (2, False), result.output
    assert "no such password: ********" in result.output


def test_nothing_listening_is_unreachable(password_file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    code, result = check(address, password_file)
    assert (code, "cannot connect to" in result.output) == (3, True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nohost"], "is not HOST:PORT"),
        (["[::1]:0"], "is not HOST:PORT"),
        (["127.0.0.1:1", "--only", "no-such"], "no check, area or deviation has that name"),
        (["127.0.0.1:1", "--maildir", "/nonexistent"], "lacks new/, cur/ or tmp/"),
    ],
)
def test_unusable_arguments_say_why(arguments: list[str], says: str, password_file: Path) -> None:
    code, result = check(arguments[0], password_file, *arguments[1:])
    assert (code, says in str(result.exception)) == (2, True), result.exception


@pytest.mark.parametrize("text", ["", "\n", None])
def test_a_password_file_without_a_password_is_unusable(text: str | None, tmp_path: Path) -> None:
    file = tmp_path / "none"
    if text is not None:
        file.write_text(text)
    code, result = check("127.0.0.1:1", file)
    assert (code, "--password-file" in str(result.exception)) == (2, True)


def test_a_server_that_falls_silent_does_not_cost_a_timeout_a_check(box: Path, password_file: Path) -> None:
    def swallow(exchange: Any) -> bytes:
        return exchange.reply if not exchange.logged_in or exchange.verb in ("PASS",) else b""

    with fake(box, Faults(reply=swallow)) as silent:
        code, result = check(silent, password_file, "--only", "STAT and LIST", "--timeout", "0.3")
    assert code == 1
    assert "the server has stopped answering: " in result.output


def test_tls_from_the_first_octet(box: Path, password_file: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    with fake(box, Faults(frozenset({"tls-first"})), context) as server:
        code, result = check(server, password_file, "--tls", "--skip", "resp-codes-form")
        in_clear, _ = check(server, password_file, "--only", "greeting-ok", "--timeout", "0.3")
    assert (code, in_clear) == (0, 3), result.output
    assert "needs a connection that begins without TLS: stls, " in result.output


def test_list_shows_the_table_and_needs_no_server() -> None:
    result = CliRunner().invoke(pop3_check, ["--list", "--profile", "qmail"], standalone_mode=False)
    assert result.return_value == 0
    assert result.output.splitlines()[-1] == f"{len(CHECKS)} checks"


def test_names_are_unique_and_the_profiles_name_real_deviations() -> None:
    names = [row.name for row in CHECKS]
    assert len(names) == len(set(names)) > 150
    known = {row.deviation for row in CHECKS} | {"added-end-not-counted"}
    for profile in PROFILES.values():
        assert {*profile.expected, *profile.may} <= known, {*profile.expected, *profile.may} - known


def test_every_row_says_where_its_rule_stands() -> None:
    for row in CHECKS:
        assert row.source.startswith(("RFC ", "Q-", "E-", "our choice")), row.name
        assert row.statement.endswith(".") or "gets" in row.statement, row.name


def test_placed_mail_is_private(server: Fake, box: Path, password_file: Path) -> None:
    seen: list[int] = []

    def look(exchange: Any) -> bytes:
        seen.extend(stat.S_IMODE(path.stat().st_mode) for path in box.glob("new/*popbox-check"))
        return bytes(exchange.reply)

    with fake(box, Faults(reply=look)) as watching:
        check(watching, password_file, "--maildir", str(box), "--only", "exact-plain")
    assert set(seen) == {0o600}
