"""The command line: exit codes as documented, and no command without a word about it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import pytest
from tests.popbox import ROOT

from popbox.cli.main import cli


def popbox(*argv: str, state: Path, within_s: float = 100) -> subprocess.CompletedProcess[str]:
    """Run popbox as a user does, with a state directory of its own."""
    environ = {**os.environ, "XDG_STATE_HOME": str(state)}
    words = [sys.executable, "-m", "popbox", *argv]
    return subprocess.run(words, capture_output=True, text=True, env=environ, timeout=within_s, check=False)


def commands(group: click.Group, prefix: str) -> list[str]:
    found = []
    for name, command in group.commands.items():
        found += commands(command, f"{prefix} {name}") if isinstance(command, click.Group) else [f"{prefix} {name}"]
    return found


def test_every_command_is_in_the_readme_s_table() -> None:
    table = (ROOT / "README.md").read_text().partition("\n## Commands\n")[2].partition("\n## ")[0]
    shown = [command.replace("load run", "load") for command in commands(cli, "popbox")]  # that word can be left out
    assert [command for command in shown if f"`{command}" not in table] == []


@pytest.mark.parametrize(
    ("loaded", "foreign"),
    [
        ("popbox.cli.main", ("popbox.migrate", "popbox.run", "popbox.report", "popbox.hosts")),
        ("popbox.cli.serve", ("popbox.migrate", "popbox.conformance", "popbox.report", "rich", "jinja2", "docker")),
    ],
)
def test_a_command_loads_nothing_of_the_others(loaded: str, foreign: tuple[str, ...]) -> None:
    program = f"import {loaded}, sys; print([name for name in sys.modules if name.startswith({foreign!r})])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


RICH = "popbox: rich is not installed here: pip install 'popbox'\n"
NO_HOST = "no host is up: `popbox up` brings one up, `docker compose up --wait` a deployment\n"


@pytest.mark.parametrize(
    ("lacking", "argv", "code", "said"),
    [("rich", ["run"], 2, RICH), ("docker", ["status", "--json"], 3, NO_HOST)],  # status has something to say without
)
def test_a_package_that_is_not_here_is_one_line_that_says_what_to_install(
    tmp_path: Path, lacking: str, argv: list[str], code: int, said: str
) -> None:
    """In popbox/box only what `popbox serve` imports is installed."""
    program = f"import sys; sys.modules[{lacking!r}] = None; from popbox.__main__ import main; main()"
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    run = [sys.executable, "-c", program, *argv]
    done = subprocess.run(run, capture_output=True, text=True, check=False, timeout=100, cwd=tmp_path, env=env)
    assert (done.returncode, done.stderr) == (code, said)


def test_a_module_of_ours_that_is_not_there_is_no_matter_of_extras() -> None:
    program = "import sys; sys.modules['popbox.operate.doctor'] = None; from popbox.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", program, "doctor"], capture_output=True, text=True, check=False)
    assert "ModuleNotFoundError" in done.stderr


HEAVY = ("pydantic", "docker", "testcontainers", "jinja2", "fastapi", "rich", "asyncio", "ssl", "sqlite3", "requests")


def loaded_by(*argv: str, cwd: Path) -> set[str]:
    """The packages that a program imports, by its own ``-X importtime``."""
    argv = (sys.executable, "-X", "importtime", *argv)
    done = subprocess.run(argv, capture_output=True, text=True, cwd=cwd, check=True, timeout=100)
    names = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    return {one for one in HEAVY if one in names}


def test_the_version_is_said_without_what_hosts_and_scenarios_need(tmp_path: Path) -> None:
    assert loaded_by("-m", "popbox", "--version", cwd=tmp_path) == set()


def test_a_foreign_pytest_run_pays_for_nothing_of_popbox(tmp_path: Path) -> None:
    (tmp_path / "test_foreign.py").write_text("def test_it(): pass\n")
    run = ("-m", "pytest", "-q", "-p", "no:cacheprovider", *(f"-pno:{one}" for one in ("xdist", "hypothesispytest")))
    without = loaded_by(*run, "-p", "no:popbox", cwd=tmp_path)
    assert loaded_by(*run, cwd=tmp_path) == without
    assert "pydantic" not in without, "another plugin brings it, so this test would see nothing"


def test_the_check_of_imports_sees_one(tmp_path: Path) -> None:
    assert loaded_by("-c", "import jinja2", cwd=tmp_path) >= {"jinja2"}


def test_unusable_input_is_exit_2_and_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text("title = 1\n")
    done = popbox("run", str(tmp_path / "wrong.toml"), "--host", "local", state=tmp_path)
    assert done.returncode == 2
    assert "wrong.toml: line 1: title: " in done.stderr


def test_an_unknown_option_is_exit_2(tmp_path: Path) -> None:
    assert popbox("demo", "--host", "mars", state=tmp_path).returncode == 2


def test_a_wish_that_cannot_be_met_is_exit_3_with_the_reason(tmp_path: Path) -> None:
    done = popbox("demo", "--host", "local", "--mta", "qmail", state=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert "host local has no qmail" in done.stderr


def test_the_demo_names_its_world_first_and_last(tmp_path: Path) -> None:
    done = popbox("demo", "--host", "local", state=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("host local, MTA stand-in")
    assert lines[-1] == "1 passed; host local, MTA stand-in"
    assert "C: RETR 1" in done.stdout
    assert "qmail " not in done.stdout.replace("real qmail", "")


@pytest.mark.parametrize(("umask", "place"), [(0o077, "plain"), (0o027, "größe und mehr")])
def test_the_demo_works_under_any_umask_below_any_name(tmp_path: Path, umask: int, place: str) -> None:
    with tempfile.TemporaryDirectory(prefix="popbox-test-") as top:
        Path(top).chmod(0o755)
        (below := Path(top, place)).mkdir()
        below.chmod(0o755)  # whatever the umask of who runs the tests
        done = subprocess.run(
            [sys.executable, "-m", "popbox", "demo", "--host", "local"],
            env={**os.environ, "XDG_STATE_HOME": str(tmp_path), "TMPDIR": str(below)},
            umask=umask, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, list(below.iterdir())) == (0, []), done.stdout + done.stderr


@pytest.mark.needs("user namespace")
def test_the_demo_works_without_root(tmp_path: Path) -> None:
    """In a user namespace we are uid 1000, whoever runs the tests: no setuid, no chown, no port below 1024."""
    as_user = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
    done = subprocess.run(
        [*as_user, sys.executable, "-m", "popbox", "demo", "--host", "local"],
        capture_output=True,
        text=True,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path)},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "owner 1000:1000" in done.stdout


def test_a_failing_scenario_is_exit_1(tmp_path: Path) -> None:
    done = popbox("run", str(ROOT / "tests/popbox/faults/wrong-password.toml"), "--host", "local", state=tmp_path)
    assert done.returncode == 1
    assert "0 passed, 1 failed; host local, MTA stand-in" in done.stdout


def test_a_kept_host_answers_until_down(tmp_path: Path) -> None:
    done = popbox("demo", "--host", "local", "--keep", state=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "telnet 127.0.0.1 " in done.stdout
    gone = popbox("down", state=tmp_path)
    assert [line.partition(" ")[0] for line in gone.stdout.splitlines()] == ["removing", "ended", "removed"]
    assert "\nremoved host local, MTA stand-in: " in gone.stdout
    place = Path(gone.stdout.rpartition(": ")[2].strip())
    assert not place.exists()
    assert popbox("down", state=tmp_path).stdout == "no host is up\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("after_s", [0.3, 0.8, 1.3])
def test_an_interrupt_leaves_nothing(number: signal.Signals, after_s: float, open_tmp: Path) -> None:
    """On a busy machine it may come before Python itself has begun, which ends it with 1."""
    environ = {**os.environ, "XDG_STATE_HOME": str(open_tmp), "TMPDIR": str(open_tmp)}
    child = subprocess.Popen(
        [sys.executable, "-m", "popbox", "demo", "--host", "local"],
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    time.sleep(after_s)
    child.send_signal(number)
    said = child.communicate(timeout=20)[1]
    too_early = said.startswith((b"Fatal Python error: init_import_site", b"Could not import runpy module"))
    assert child.returncode in (130, 0, -number) or (child.returncode == 1 and too_early), said
    assert not list(open_tmp.glob("popbox-*"))
    assert not list(open_tmp.glob("popbox/hosts/*"))
    assert str(open_tmp).encode() not in b"".join(_command_lines())


@pytest.mark.needs("root")  # only root's daemons change their uid
def test_a_private_tmpdir_is_named_before_popuser_fails_in_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    environ = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "popbox", "demo", "--host", "local"],
        capture_output=True,
        text=True,
        env=environ,
        check=False,
    )
    assert done.returncode == 3
    assert "uid 888 cannot pass " in done.stderr
    assert not list(tmp_path.glob("popbox-*"))


def _command_lines() -> list[bytes]:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes())
        except OSError:
            continue
    return lines
