"""`mailbox temporary`: a second password that ends by itself, in the server, in checkpoppasswd, and in the file."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.mailhost.cli.support import Host
from tests.mailhost.pop3.support import Running

from mailhost.accounts import governed
from mailhost.accounts.errors import BusyError
from mailhost.accounts.files import durable
from mailhost.accounts.layout import layout
from mailhost.accounts.operations import temporary as operations
from mailhost.cli import temporary_passwords
from mailhost.poppasswd import crypt as hashing
from mailhost.poppasswd import temporary
from mailhost.poppasswd.temporary import Temporary, TemporaryFile, clocks, parse

FILE = "users/poppasswd.temporary"
HASH = hashing.make(b"second", hashing.DEFAULT).encode()


@pytest.fixture
def howto(served: Host) -> Host:
    """Where the root helper and checkpoppasswd can work."""
    return served


def given(host: Host, *words: str) -> str:
    """The password that was made."""
    said = host.ok("mailbox", "temporary", "joe@domain.com", "--for", "2h", *words)
    return said.rpartition(": ")[2].strip()


def check(host: Host, password: str, *options: str) -> int:
    """checkpoppasswd with a login on descriptor 3; its exit code."""
    command = [sys.executable, "-m", "mailhost.pop3.chain.checkpoppasswd", "--file", str(host.home / "users/poppasswd")]
    shell = ["sh", "-c", 'exec 3<&0 </dev/null; exec "$@"', "sh", *command, *options, "/bin/true"]
    data = b"testid\0" + password.encode() + b"\0<1@mx>\0"
    return subprocess.run(shell, input=data, check=False, timeout=60).returncode


def enters(server: Running, password: str) -> bool:
    client = server.client()
    client.ask(b"USER testid")
    taken = client.ask(b"PASS " + password.encode()).startswith(b"+OK")
    client.ask(b"QUIT")  # its lock is gone when this is answered: the next session may reach another worker
    client.close()
    return taken


def rewritten(host: Host, change: Callable[[Temporary], None]) -> None:
    """The file's one line, changed by hand."""
    (entry,), _ = parse((host.home / FILE).read_bytes())
    change(entry)
    (host.home / FILE).write_bytes(entry.line())


def ended(entry: Temporary) -> None:
    entry.made, entry.until = entry.made - 9000, entry.made - 1


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_server_takes_both_passwords_until_the_second_one_ends(howto: Host, workers: str) -> None:
    server = Running(howto.home, "--workers", workers)
    try:
        assert enters(server, "testpw")
        assert not enters(server, "second")
        second = given(howto)
        assert [enters(server, second), enters(server, "testpw"), enters(server, second), enters(server, "x")] == [
            True,
            True,
            True,
            False,
        ]
        assert "temporary password taken" in server.log()
        assert second not in server.log()
        rewritten(howto, ended)
        assert [enters(server, second), enters(server, "testpw")] == [False, True]
        second = given(howto)
        assert enters(server, second)
        assert "ended 1 temporary password" in howto.ok("mailbox", "temporary", "joe@domain.com", "--end")
        assert [enters(server, second), enters(server, "testpw")] == [False, True]
    finally:
        server.stop()
        server.errors.close()


def test_a_server_that_started_later_takes_it_and_a_locked_login_takes_none(howto: Host) -> None:
    second = given(howto)
    server = Running(howto.home)
    try:
        assert enters(server, second)
        howto.ok("mailbox", "disable", "joe@domain.com")
        assert not enters(server, second)
        assert check(howto, second) == 1
        assert json.loads(howto.ok("mailbox", "temporary", "--json")) == []
        howto.ok("mailbox", "enable", "joe@domain.com")
        assert not enters(server, second), "it has ended"
        second = given(howto)
        assert enters(server, second)
        (howto.home / FILE).chmod(0)
        (howto.home / FILE).unlink()
        (howto.home / FILE).symlink_to("/etc/passwd")
        assert [enters(server, second), enters(server, "testpw")] == [False, True]
        assert "temporary passwords" in server.log()
    finally:
        server.stop()
        server.errors.close()


def test_checkpoppasswd(howto: Host) -> None:
    second = given(howto)
    assert (check(howto, second), check(howto, "testpw"), check(howto, "x")) == (0, 0, 1)
    before = howto.text("users/poppasswd")
    assert check(howto, second, "--upgrade-hashes-on-login") == 0
    rewritten(howto, ended)
    assert (check(howto, second), check(howto, "testpw")) == (1, 0)
    assert howto.text("users/poppasswd") == before


NOW, BOOT, BOOT_S = 1_000_000.0, b"boot", 500.0


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ((1_000_000, 1_003_600, BOOT, 500), True),
        ((999_000, 1_000_001, BOOT, 0), True),
        ((999_000, 1_000_000, BOOT, 0), False),  # ended this second
        ((1_000_001, 1_003_600, BOOT, 500), False),  # made in the future: the clock was set back
        ((1_000_000, 1_086_401, BOOT, 500), False),  # longer than any may be
        ((1_000_000, 1_000_000, BOOT, 500), False),
        ((1_003_600, 1_000_000, BOOT, 500), False),
        ((999_990, 1_000_100, BOOT, 300), False),  # 200 s have passed, whatever the clock says
        ((999_990, 1_000_100, BOOT, 501), False),  # made after now by a clock that no one can set
        ((999_990, 1_000_100, b"other", 300), True),  # after a reboot only the clock is left
        ((999_000, 1_000_000, b"other", 300), False),
    ],
)
def test_what_counts_by_both_clocks(line: tuple[int, int, bytes, int], counts: bool) -> None:
    assert Temporary(b"joe", HASH, *line).counts(NOW, BOOT, BOOT_S) is counts


@pytest.mark.parametrize(
    "line",
    [
        b"joe",
        b"joe:" + HASH + b":1:2:b",
        b"joe:" + HASH + b":1:2:b:3:4",
        b"joe:" + HASH + b":-1:2:b:3",
        b"joe:" + HASH + b":1:" + b"9" * 20 + b":b:3",
        b"joe:" + HASH + b":1:\xb2:b:3",
        b"joe::1:2:b:3",
        b"joe:!" + HASH + b":1:2:b:3",
        b"joe:plain:1:2:b:3",
    ],
)
def test_a_broken_line_never_counts_and_lint_names_it(howto: Host, line: bytes) -> None:
    given(howto)
    (howto.home / FILE).write_bytes(b"\n" + line + b"\n")
    assert parse(line) == ([], [1])
    assert f"{FILE}: line 2: error" in howto.run("lint").output


def test_the_file_is_roots_alone_and_empties_itself(howto: Host) -> None:
    given(howto)
    found = (howto.home / FILE).stat()
    assert stat.S_IMODE(found.st_mode) & 0o137 == 0
    assert found.st_uid == (howto.home / "users/poppasswd").stat().st_uid
    text = howto.text(FILE)
    assert text.startswith("testid:$")
    assert json.loads(howto.ok("mailbox", "temporary", "--json"))[0]["login"] == "testid"
    assert "second password, for 120 minutes more" in howto.run("lint").output
    (howto.home / FILE).chmod(0o644)
    assert "temporary-open" in howto.run("lint").output
    given(howto)
    assert stat.S_IMODE((howto.home / FILE).stat().st_mode) & 0o137 == 0
    rewritten(howto, ended)
    assert json.loads(howto.ok("mailbox", "temporary", "--json")) == []
    howto.ok("mailbox", "temporary", "--all", "--end")
    assert not (howto.home / FILE).exists()


def test_a_second_one_replaces_the_first(howto: Host) -> None:
    first, second = given(howto), given(howto)
    assert first != second
    entry = TemporaryFile(howto.home / "users/poppasswd").crypt(b"testid")
    assert entry is not None
    assert hashing.verify(second.encode(), entry)
    assert not hashing.verify(first.encode(), entry)


def test_a_file_for_verify(howto: Host, tmp_path: Path) -> None:
    out = tmp_path / "proof.csv"
    said = howto.ok("mailbox", "temporary", "--all", "--for", "1h", "--to", str(out))
    header, row = out.read_text().splitlines()
    assert (header, row.split(",")[0], stat.S_IMODE(out.stat().st_mode)) == ("login,password", "testid", 0o600)
    assert row.split(",")[1] not in said
    assert check(howto, row.split(",")[1]) == 0
    before = howto.text(FILE)
    assert howto.run("mailbox", "temporary", "--all", "--for", "1h", "--to", str(out)).exit_code != 0
    assert (howto.text(FILE), out.read_text().splitlines()) == (before, [header, row])


def test_a_governed_host_allows_it_and_apply_does_not_end_it(howto: Host, tmp_path: Path) -> None:
    declared = tmp_path / "accounts.toml"
    declared.write_text(howto.ok("export"))
    howto.ok("apply", str(declared))
    governed.note(layout(howto.home), declared)
    assert howto.run("mailbox", "passwd", "joe@domain.com", "--generate").exit_code != 0
    second = given(howto)
    howto.ok("apply", str(declared))
    assert check(howto, second) == 0
    assert "temporary" not in howto.ok("export")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("joe@domain.com", "--for", "25h"), "is no time from 1s to 24h"),
        (("joe@domain.com", "--for", "2d"), "is no time"),
        (("joe@domain.com", "--for", "0s"), "is no time"),
        (("joe@domain.com", "--for", "-1h"), "is no time"),
        (("joe@domain.com", "--for", "forever"), "is no time"),
        (("ann@domain.com", "--for", "1h"), "is no mailbox with a login"),
        (("--for", "1h"), "which?"),
        (("joe@domain.com", "--all", "--for", "1h"), "give --for"),
        (("--to", "x.csv"), "give --for"),
    ],
)
def test_what_is_refused(howto: Host, words: tuple[str, ...], said: str) -> None:
    assert said in howto.refused("mailbox", "temporary", *words)


def test_dry_run(howto: Host) -> None:
    said = howto.ok("mailbox", "temporary", "joe@domain.com", "--for", "2h", "--dry-run")
    assert (said, (howto.home / FILE).exists()) == ("would give a password for 2h: joe@domain.com\n", False)
    second = given(howto)
    assert "would end" in howto.ok("mailbox", "temporary", "joe@domain.com", "--end", "--dry-run")
    assert check(howto, second) == 0


def test_a_login_that_goes_takes_it_along(howto: Host) -> None:
    second = given(howto)
    howto.ok("mailbox", "del", "joe@domain.com", "--dry-run")
    assert check(howto, second) == 0
    howto.ok("mailbox", "del", "joe@domain.com")
    assert not (howto.home / FILE).exists()
    howto.ok("mailbox", "add", "joe@domain.com", "--login", "testid", "--generate")
    assert check(howto, second) == 1


OTHER = f'''[domains."domain.com".mailboxes.ann]
login = "testid"
crypt = "{HASH.decode()}"
'''
REASSIGNED: dict[str, tuple[tuple[str, ...], ...]] = {
    "domain del": (
        ("domain", "del", "domain.com"),
        ("domain", "add", "domain.com"),
        ("mailbox", "add", "ann@domain.com", "--login", "testid", "--generate"),
    ),
    "renamed login": (
        ("mailbox", "passwd", "joe@domain.com", "--generate"),
        ("mailbox", "rename", "joe@domain.com", "tim@domain.com"),
    ),
    "apply": (("apply", "--yes", "{declared}"),),
    "disabled": (("mailbox", "disable", "joe@domain.com"), ("mailbox", "enable", "joe@domain.com")),
}


@pytest.mark.parametrize("case", REASSIGNED)
def test_it_ends_where_its_login_opens_another_box(howto: Host, tmp_path: Path, case: str) -> None:
    """A proof of yesterday must not open the box of whoever has that login today."""
    declared = tmp_path / "accounts.toml"
    declared.write_text(OTHER)
    second = given(howto)
    for words in REASSIGNED[case]:
        howto.ok(*(word.format(declared=declared) for word in words))
    assert check(howto, second) == 1
    assert not (howto.home / FILE).exists()


def test_a_line_of_a_login_that_was_gone_ends_when_that_is_made(howto: Host) -> None:
    """The rows were edited by hand, or are of a backup."""
    second = given(howto)
    rows = (howto.home / "users/poppasswd").read_bytes()
    (howto.home / "users/poppasswd").write_bytes(b"".join(row for row in rows.splitlines(True) if b"testid" not in row))
    howto.ok("mailbox", "add", "ann@domain.com", "--login", "testid", "--generate")
    assert check(howto, second) == 1


def test_a_login_that_changes_hands_while_the_password_is_made_gets_none(
    howto: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --all the hashes of many boxes take a while."""

    def hashed(*_: object) -> str:
        monkeypatch.undo()
        howto.ok("mailbox", "del", "joe@domain.com")
        howto.ok("mailbox", "add", "ann@domain.com", "--login", "testid", "--generate")
        return HASH.decode()

    monkeypatch.setattr(temporary_passwords, "hashed", hashed)
    done = howto.run("mailbox", "temporary", "joe@domain.com", "--for", "2h", "--to", str(tmp_path / "f.csv"))
    assert (done.exit_code, "none was given" in done.output) == (111, True), done.output
    assert not (howto.home / FILE).exists()
    assert not (tmp_path / "f.csv").exists()


@pytest.mark.parametrize("words", [["--for", "1h"], ["--end"]])
def test_no_other_change_is_made_while_it_is_written(
    howto: Host, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each change clears away what an earlier one staged and left, and so would take the new file."""
    howto.ok("mailbox", "add", "ann@domain.com", "--generate")
    howto.ok("mailbox", "temporary", "--all", "--for", "2h")
    seen = []

    def publish(staged: Path, path: Path) -> None:
        with pytest.raises(BusyError):
            durable.take_lock(howto.home / "users/.mailhost/lock", 0)
        seen.append(staged)
        staged.replace(path)

    monkeypatch.setattr(operations.durable, "publish", publish)
    howto.ok("mailbox", "temporary", "joe@domain.com", *words)
    assert len(seen) == 1


def test_a_change_of_the_password_does_not_end_it(howto: Host) -> None:
    second = given(howto)
    howto.ok("mailbox", "passwd", "joe@domain.com", "--generate")
    assert check(howto, second) == 0


def test_an_address_that_is_given_twice_gets_one(howto: Host) -> None:
    said = howto.ok("mailbox", "temporary", "joe@domain.com", "JOE@domain.com", "--for", "2h")
    assert said.count("password until") == 1
    assert check(howto, said.rpartition(": ")[2].strip()) == 0


def test_more_than_the_file_may_hold_is_refused(howto: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies behind its first 64 MiB is not read: those would be told, and not count."""
    before = given(howto)
    monkeypatch.setattr(operations, "FILE_OCTETS", 100)
    assert "are too many" in howto.refused("mailbox", "temporary", "joe@domain.com", "--for", "2h")
    assert check(howto, before) == 0


def test_the_clocks_are_those_of_the_machine() -> None:
    now, boot, boot_s = clocks()
    assert now > 1.7e9
    assert boot in (b"-", Path("/proc/sys/kernel/random/boot_id").read_bytes().strip())
    assert boot_s > 0
    made = temporary.make(b"joe", HASH, 60)
    assert (made.until - made.made, made.counts(*clocks())) == (60, True)
