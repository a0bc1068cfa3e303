"""Two builds of popbox side by side: each wheel in an environment of its own, over the same dependencies."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tarfile
import venv
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class Tree:
    """One build: what it is called in the table, and the Python that imports it."""

    name: str
    python: Path

    def module(self, name: str, *argv: object) -> list[str]:
        """The command line that runs one of its modules."""
        return [str(self.python), "-m", name, *map(str, argv)]


def git(*argv: str) -> bytes:
    """What git says of this repository; nothing where it knows no answer."""
    return subprocess.run(["git", "-C", str(ROOT), *argv], check=False, capture_output=True).stdout.strip()


def earlier() -> str:
    """The newest tag before HEAD or, without one, the last commit that is a day older than HEAD; nothing if none is."""
    tag = git("describe", "--tags", "--abbrev=0", "HEAD^").decode()
    if tag:
        return tag
    day_before = int(git("show", "-s", "--format=%ct", "HEAD") or 0) - 86_400
    return git("rev-list", "-1", "--first-parent", "--abbrev-commit", f"--before={day_before}", "HEAD").decode()


def wheel_of(base: str, folder: Path) -> Path:
    """The wheel of ``base``, which is one or is a commit or tag that git knows.

    Raises:
        SystemExit: it is neither.
    """
    if base.endswith(".whl"):
        return Path(base).resolve()
    archive = git("archive", "--format=tar", f"{base}^{{tree}}")
    if not archive:
        raise SystemExit(f"bench-check: {base}: no wheel, and no commit or tag of this repository")
    source = folder / "source"
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        tar.extractall(source, filter="data")
    return build(source, folder)


def build(source: Path, folder: Path) -> Path:
    """Build the wheel of a source tree with the backend that is installed here; beside it, that of popbox-mailhost."""
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    mailhost = [str(one.parent) for one in source.glob("images/mailhost/pyproject.toml")]  # an older tree has one wheel
    subprocess.run([*pip, "--wheel-dir", str(folder), str(source), *mailhost], check=True)
    return next(folder.glob("popbox-*.whl"))


def install(name: str, wheel: Path, folder: Path) -> Tree:
    """An environment with this wheel, and with the packages of this one behind it: a wheel wins over them."""
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--compile"]
    subprocess.run([*pip, str(wheel), *map(str, wheel.parent.glob("popbox_mailhost-*.whl"))], check=True)
    places = sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)})
    (Path(places["purelib"]) / "behind.pth").write_text(f"{sysconfig.get_paths()['purelib']}\n")
    seen = subprocess.run(
        [str(python), "-c", "import popbox, mailhost; print(popbox.__file__, mailhost.__file__)"],
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    if seen.count(str(folder)) != 2:
        raise SystemExit(f"bench-check: {name} would be measured with the code of another build: {seen.strip()}")
    return Tree(name, python)
