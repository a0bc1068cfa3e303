"""What is installed from the wheels, outside of the checkout: each extra with its own requirements alone."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tests.needs import program
from tests.places import open_to_others
from tests.popbox import ROOT

pytestmark = pytest.mark.slow
OURS = ("popbox", "popbox-mailhost")
HARNESS_ONLY = ("docker", "testcontainers", "pytest", "pydantic", "rich", "jinja2")
FILES = {"compose.yaml", ".env", "images", "scenarios"}


def required(wanted: str) -> dict[str, Distribution]:
    """By name, what a distribution with its extras (``popbox[serve]``) needs, all the way down, as installed here."""
    found: dict[str, Distribution] = {}
    waiting, seen = [Requirement(wanted)], set[str]()
    while waiting:
        one = waiting.pop()
        if str(one) in seen:
            continue
        seen.add(str(one))
        try:
            found[canonicalize_name(one.name)] = dist = distribution(one.name)
        except PackageNotFoundError:
            pytest.fail(f"{one.name} is declared and not installed: make .venv/.dev")
        for inner in map(Requirement, dist.requires or ()):
            extras = one.extras or {""}
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in {*extras, ""}):
                waiting.append(inner)
    return found


class Installed:
    """A virtual environment with wheels of ours, and of other packages what they require."""

    def __init__(self, where: Path, wheels: Path, wanted: str) -> None:
        self.bin = where / "venv/bin"
        self._where = where
        venv.create(where / "venv", symlinks=True, with_pip=False)
        self.site = Path(sysconfig.get_path("purelib", "venv", {"base": str(where / "venv")}))
        needed = required(wanted)
        for name, dist in needed.items():
            tops = {file.parts[0] for file in dist.files or () if ".." not in file.parts}
            for top in tops - {"__pycache__"} if name not in OURS else ():
                if not (self.site / top).exists():
                    (self.site / top).symlink_to(dist.locate_file(top))
        ours = [str(next(wheels.glob(f"{name.replace('-', '_')}-[0-9]*.whl"))) for name in OURS if name in needed]
        pip = [sys.executable, "-m", "pip", "--python", str(self.bin / "python"), "install", "-q", "--no-index"]
        subprocess.run([*pip, "--no-deps", "--no-compile", *ours], check=True, capture_output=True, timeout=300)

    def run(self, *argv: str, **more: str) -> subprocess.CompletedProcess[str]:
        """One of its programs, in a folder with nothing of ours, without an engine."""
        away = self._where / "away"
        away.mkdir(exist_ok=True)
        env = {"PATH": os.environ["PATH"], "HOME": str(away), "DOCKER_HOST": "unix:///nowhere.sock", **more}
        argv = (str(self.bin / argv[0]), *argv[1:])
        return subprocess.run(argv, cwd=away, env=env, capture_output=True, text=True, check=False, timeout=200)

    def lacks(self, *modules: str) -> list[str]:
        """Those that it cannot import."""
        program = f"from importlib.util import find_spec; print(*(m for m in {modules!r} if not find_spec(m)))"
        return self.run("python", "-c", program).stdout.split()


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both, built from this checkout."""
    place = tmp_path_factory.mktemp("wheels")
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(place)]
    subprocess.run([*pip, ".", "./images/mailhost"], cwd=ROOT, check=True, capture_output=True, timeout=300)
    return place


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory that popuser may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="popbox-wheel-") as name, open_to_others():
        Path(name).chmod(0o755)
        yield Path(name)


def shown(where: Path, *names: str) -> list[str]:
    """The files that man(1) finds with these programs first on PATH, below the environment that has them."""
    env = {"PATH": f"{where}{os.pathsep}{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}
    done = subprocess.run([program("man"), "-w", *names], env=env, capture_output=True, text=True, check=True)
    return [str(Path(one).relative_to(where.parent)) for one in done.stdout.split()]


@pytest.fixture(scope="module")
def harness(place: Path, wheels: Path) -> Installed:
    (place / "harness").mkdir()
    return Installed(place / "harness", wheels, "popbox")


def test_a_mail_host_gets_its_programs_and_nothing_of_the_harness(place: Path, wheels: Path) -> None:
    (place / "mailhost").mkdir()
    alone = Installed(place / "mailhost", wheels, "popbox-mailhost")
    foreign = (*HARNESS_ONLY, "popbox", "uvloop", "aiosmtplib", "dns", "fastapi", "locust")
    assert alone.lacks(*foreign) == list(foreign)
    home = str(place / "mailhost/home")
    for argv in (["init"], ["domain", "add", "domain.com"], ["lint"]):
        done = alone.run("mailhost", "--home", home, *argv)
        assert done.returncode == 0, done.stderr
    assert alone.run("mailhost", "serve", "pop3", "--help").returncode == 0
    done = alone.run("mailhost", "--home", home, "serve", "standin", "--listen", "127.0.0.1:0")
    said = "mailhost: mail cannot be sent on without aiosmtplib and dnspython: pip install 'popbox-mailhost[standin]'\n"
    assert (done.returncode, done.stderr) == (2, said)


def test_man_finds_the_pages_of_what_is_installed(harness: Installed) -> None:
    names = ("popbox", "mailhost", "popup", "checkpoppasswd", "pop3d", "accounts.toml")
    pages = ["man1/popbox.1", *(f"man8/{name}.8" for name in names[1:5]), "man5/accounts.toml.5"]
    assert shown(harness.bin, *names) == [f"share/man/{one}" for one in pages]
    assert ".SS MAILHOST DOMAIN ADD" in (harness.bin.parent / "share/man/man8/mailhost.8").read_text().upper()


def test_the_harness_runs_without_the_checkout(harness: Installed) -> None:
    assert "1 passed; host local, MTA stand-in" in harness.run("popbox", "demo").stdout
    scenario = ROOT / "scenarios/smtp-dialogue.toml"
    mine = harness.bin.parents[1] / "away/mine.toml"
    mine.write_text(scenario.read_text())
    done = harness.run("popbox", "run", "mine.toml")
    assert (done.returncode, "1 passed; host local, MTA stand-in" in done.stdout) == (0, True), done.stdout


def test_doctor_finds_its_files_and_names_nothing_that_is_not_there(harness: Installed) -> None:
    said = harness.run("popbox", "doctor").stdout
    assert f"ok   popbox's own files: {harness.site / 'popbox/_assets'}" in said
    assert "MISS Docker engine" in said
    assert ".ci/" not in said


def tracked() -> dict[str, bool]:
    """The files of the deployment and of the scenarios in git, and whether each is a program."""
    done = subprocess.run(["git", "ls-files", "-s", *FILES], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = (line.split("\t") for line in done.stdout.splitlines())
    return {name: mode.startswith("100755") for mode, name in lines}


@pytest.mark.needs("git history")
def test_the_deployment_is_there_file_by_file(harness: Installed) -> None:
    assets = harness.site / "popbox/_assets"
    files = tracked()
    assert len(files) > 300
    assert [name for name in files if (assets / name).read_bytes() != (ROOT / name).read_bytes()] == []
    assert [name for name, program in files.items() if program and not (assets / name).stat().st_mode & 0o111] == []
    there = {str(path.relative_to(assets)) for path in assets.rglob("*") if path.is_file()}
    assert {name for name in there - set(files) if "__pycache__" not in name} == set()


@pytest.mark.needs("host docker")
def test_an_image_is_built_from_it(harness: Installed) -> None:
    tag = "wheel-test"
    build = ["docker", "compose", "build", "--quiet", "standin"]
    env = {**os.environ, "POPBOX_TAG": tag, "QMAIL_BASE": ""}
    try:
        assets = harness.site / "popbox/_assets"
        done = subprocess.run(build, cwd=assets, env=env, capture_output=True, text=True, check=False, timeout=500)
        assert done.returncode == 0, done.stderr
    finally:
        subprocess.run(["docker", "rmi", f"popbox/standin:{tag}"], capture_output=True, check=False)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["serve"], "popbox serve needs fastapi and uvicorn: pip install 'popbox[serve]'"),
        (["up", "--serve"], "popbox serve needs fastapi and uvicorn: pip install 'popbox[serve]'"),
        (["load", "x.toml"], "popbox load needs Locust and DuckDB: pip install 'popbox[load]'"),
    ],
)
def test_a_command_whose_extra_is_absent_says_what_to_install(harness: Installed, argv: list[str], said: str) -> None:
    assert harness.lacks("fastapi", "uvicorn", "locust", "duckdb") == ["fastapi", "uvicorn", "locust", "duckdb"]
    done = harness.run("popbox", *argv)
    assert (done.returncode, done.stderr) == (2, f"popbox: {said}\n")


@pytest.mark.parametrize(("extra", "argv"), [("serve", ["serve", "--on", "x"]), ("load", ["load", "judge", "x"])])
def test_an_extra_brings_all_that_its_command_imports(place: Path, wheels: Path, extra: str, argv: list[str]) -> None:
    (place / extra).mkdir()
    done = Installed(place / extra, wheels, f"popbox[{extra}]").run("popbox", *argv)
    assert "pip install" not in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode in (2, 3), done.stderr
