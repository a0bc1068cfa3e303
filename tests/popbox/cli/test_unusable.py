"""Files that cannot be used end a command with 2 and one line: folders, devices without an end, other kinds."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from popbox.cli import main
from popbox.cli.backup import backup
from popbox.cli.migrate import migrate
from popbox.cli.output import _unwritable
from popbox.errors import HostError, UnusableError
from popbox.settings import Settings

MEMORY = 2 << 30  # far more than popbox needs; a device read to its end takes all there is


def ended(*argv: str) -> tuple[int, str]:
    def small() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

    command = [sys.executable, "-m", "popbox", *argv]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, preexec_fn=small)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["run", "/dev/zero"], "/dev/zero: it is a device, not a file"),
        (["load", "/dev/zero"], "/dev/zero: it is a device, not a file"),
        (["load", "judge", "{folder}"], "{folder}/spec.json: No such file or directory: this is no folder of"),
        (["load", "judge", "{folder}/other"], "{folder}/other/spec.json: is not as `popbox load run` wrote it"),
        (
            ["send", "a@b", "c@d", "--to-host", "127.0.0.1:1", "--file", "/dev/zero"],
            "/dev/zero: it is a device, not a file",
        ),
    ],
)
def test_it_ends_with_2_and_one_line(tmp_path: Path, argv: list[str], said: str) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/spec.json").write_text("{}")
    code, stderr = ended(*(word.format(folder=tmp_path) for word in argv))
    assert (code, len(stderr.splitlines())) == (2, 1), stderr
    assert said.format(folder=tmp_path) in stderr


OUTPUTS = {
    "plan": ["plan", "--old", "a", "--new", "b", "--markdown"],
    "plan as text": ["plan", "--old", "a", "--new", "b", "--text"],
    "import": ["import", "{folder}/old", "--to", "{folder}/to", "--json"],
    "export": ["export", "--home", "{folder}/old", "--to", "mbox", "--out", "{folder}/to", "--json"],
    "routes": ["routes", "--old", "{folder}/old", "--new", "{folder}", "--json"],
    "verify": ["verify", "--files", "{folder}/old", "{folder}/new", "--html"],
}


@pytest.mark.parametrize("argv", OUTPUTS.values(), ids=OUTPUTS)
@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("{folder}", "Is a directory"),
        ("{folder}/none/x", "No such file or directory"),
        ("{folder}/f/x", "Not a directory"),
    ],
)
def test_an_output_that_cannot_be_is_known_before_the_work(tmp_path: Path, argv: list[str], bad: str, why: str) -> None:
    """An import of hours ended with 1 and no report."""
    (tmp_path / "old").mkdir()
    (tmp_path / "f").touch()
    words = [word.format(folder=tmp_path) for word in (*argv, bad)]
    done = CliRunner().invoke(migrate, words)
    assert (done.exit_code, done.stderr.splitlines()[-1].rpartition(": ")[2]) == (2, why), done.output
    assert f"{words[-1]}: cannot be written" in done.stderr
    assert not (tmp_path / "to").exists()


@pytest.mark.needs("root")
def test_an_output_where_another_user_may_not_write_is_known_too(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    child = os.fork()
    if child == 0:
        os.setuid(65534)  # the real one: access(2) asks for it
        os._exit(_unwritable(tmp_path / "x") != "Permission denied")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_an_output_that_is_full_is_named(tmp_path: Path) -> None:
    done = CliRunner().invoke(migrate, ["plan", "--old", "a", "--new", "b", "--markdown", "/dev/full"])
    assert str(done.exception) == "/dev/full: cannot be written: No space left on device"
    assert isinstance(done.exception, UnusableError)


@pytest.mark.parametrize(
    "argv",
    [
        ["plan", "--old", "a.example", "--new", "A.Example."],
        ["verify", "--files", "{folder}", "{folder}/f/.."],
        ["routes", "--old", "{folder}", "--new", "{folder}"],
    ],
)
def test_a_host_is_not_compared_with_itself(tmp_path: Path, argv: list[str]) -> None:
    """Files are always equal to themselves: a slip of the hand was a proof. Two sessions with one server may differ."""
    (tmp_path / "f").mkdir()
    done = CliRunner().invoke(migrate, [word.format(folder=tmp_path) for word in argv])
    assert done.exit_code == 2
    assert " are one " in done.stderr


@pytest.mark.parametrize(
    ("redirected", "argv", "code"),
    [
        (">/dev/full", "migrate plan --old a --new b", 1),
        (">/dev/full 2>/dev/full", "schema accounts", 1),
        ("2>/dev/full", "run --nonsense", 2),
        ("2>/dev/full", "run /nonexistent --host local", 2),
        ("<&- >&- 2>&-", "schema accounts", 0),
    ],
)
def test_output_that_cannot_be_written_does_not_change_the_exit_code(redirected: str, argv: str, code: int) -> None:
    """Python's own was 120, with a line of its own: it tries to write what is left once more."""
    line = f"exec {sys.executable} -m popbox {argv} {redirected}"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, len(done.stderr.splitlines())) == (code, redirected == ">/dev/full"), done.stderr
    assert "[Errno" not in done.stderr
    assert redirected != ">/dev/full" or done.stderr == "popbox: standard output: No space left on device\n"


def test_too_many_open_files_are_told_with_the_limit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def starved(**_: object) -> None:
        raise HostError(f"smtp: {os.strerror(errno.EMFILE)}")

    monkeypatch.setattr(main.cli, "main", starved)
    assert main.main() == 3
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert capsys.readouterr().err == f"popbox: smtp: Too many open files\npopbox: ulimit -n is {limit} here\n"


def test_an_interrupt_stays_one_where_stderr_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Click ends the line that ^C is in; where it could not, `popbox serve` ended with 1."""

    def interrupted(**_: object) -> None:
        error = OSError(errno.ENOSPC, "No space left on device")
        error.__context__ = KeyboardInterrupt()
        raise error

    monkeypatch.setattr(main.cli, "main", interrupted)
    with pytest.raises(KeyboardInterrupt):
        main.main()


@pytest.mark.parametrize(
    "program", ["from popbox.__main__ import _open_closed as opened", "from mailhost.cli import _open_closed as opened"]
)
def test_no_file_takes_the_number_of_a_descriptor_that_was_closed_at_the_start(program: str, tmp_path: Path) -> None:
    """`popbox run` ended in a traceback for a closed output, and what a child says would have gone into a file."""
    script = (
        f"import os, sys; {program}; opened(); print('unseen'); print('unseen', file=sys.stderr)\n"
        f"said = [os.open({str(tmp_path / 'file')!r}, os.O_CREAT | os.O_RDWR), sys.stdout.isatty(), sys.stdin.read()]\n"
        "sys.exit(said != [3, False, ''])"
    )
    line = f'exec {sys.executable} -c "$0" <&- >&- 2>&-'
    assert subprocess.run(["sh", "-c", line, script], check=False, timeout=120).returncode == 0
    assert (tmp_path / "file").read_text() == ""


@pytest.mark.parametrize(
    "program", ["from popbox.__main__ import _make_usable as usable", "from mailhost.cli import _make_usable as usable"]
)
def test_a_umask_that_shuts_out_ourselves_and_an_encoding_without_our_signs(program: str, tmp_path: Path) -> None:
    """The one left a folder in /tmp, the other ended in a traceback."""
    script = f"import os; {program}; usable(); os.mkdir('made'); print(oct(os.stat('made').st_mode & 0o777), chr(167))"
    line = f'umask 777; exec {sys.executable} -c "$0"'
    ascii_only = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = subprocess.run(["sh", "-c", line, script], cwd=tmp_path, env=ascii_only, capture_output=True, check=False)
    assert (done.stdout, done.stderr) == (b"0o700 \\xa7\n", b"")


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.getuid", lambda: 4_000_000)
    with pytest.raises(UnusableError, match="this user has no home directory: set HOME or XDG_STATE_HOME"):
        Settings.from_environment({})
    assert Settings.from_environment({"XDG_STATE_HOME": "/s"}).state == Path("/s/popbox")


def test_an_archive_takes_the_place_of_no_link_and_needs_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a host is looked for, whose services would stand still for it."""
    monkeypatch.setattr("popbox.cli.backup.target", lambda *_: pytest.fail("a host"))
    link = tmp_path / "link.tar"
    link.symlink_to(tmp_path / "nowhere.tar")
    settings = Settings(tmp_path, tmp_path, None, {})
    for file, why in ((link, "is there already"), (tmp_path / "none/mail.tar", f"{tmp_path}/none is no folder")):
        done = CliRunner().invoke(backup, [str(file)], obj=settings)
        assert (done.exit_code, why in done.output.replace("\n", " ")) == (2, True), done.output
    assert link.is_symlink()
