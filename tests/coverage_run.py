"""``make coverage``: which lines of the two packages no test runs, in every process that the tests start.

Children of popbox get no variable of coverage.py, as they get none but those of an allow-list. So while the tests run a
.pth file in the virtual environment starts coverage in each Python of it; data files go to a folder that popuser may
write. What ends by KILL has counted nothing.

    python tests/coverage_run.py [ARGUMENT OF PYTEST]...
"""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "report/coverage"
CONFIG = FOLDER / "coveragerc"
SETTINGS = """\
[run]
branch = true
parallel = true
data_file = {folder}/data/coverage
source_pkgs = mailhost, popbox
patch = _exit, fork, execv
sigterm = true
disable_warnings = module-not-imported, no-data-collected, module-not-measured
[report]
skip_covered = true
skip_empty = true
exclude_also =
    if TYPE_CHECKING:
    raise NotImplementedError
[html]
directory = {folder}/html
"""
START = (
    "import os; os.path.exists('/proc/{pid}') and (os.environ.setdefault('COVERAGE_PROCESS_START', {config!r}), "
    "__import__('coverage').process_startup())\n"
)


def main(arguments: list[str]) -> int:
    """Run pytest, join what the processes counted, print the table; returns pytest's exit code."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    data = FOLDER / "data"
    data.mkdir(parents=True)
    data.chmod(0o1777)
    CONFIG.write_text(SETTINGS.format(folder=FOLDER))
    start = Path(site.getsitepackages()[0]) / "popbox-coverage.pth"
    start.write_text(START.format(pid=os.getpid(), config=str(CONFIG)))
    try:
        code = subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=ROOT, check=False).returncode
    finally:
        start.unlink()
    for command in (("combine", "-q", str(data)), ("html", "-q"), ("report", "--show-missing")):
        subprocess.run([sys.executable, "-m", "coverage", command[0], f"--rcfile={CONFIG}", *command[1:]], check=True)
    print(f"each line: {FOLDER}/html/index.html")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
