"""``python -m docs.site DIR``: builds the site there; a warning, such as a link that leads nowhere, is exit code 1."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from sphinx.cmd.build import main as sphinx

from docs.site.pages import put_together

HERE = Path(__file__).parent


def main(directory: Path) -> int:
    """Build; returns Sphinx's exit code."""
    shutil.rmtree(directory, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="popbox-docs-") as work:
        source = Path(work) / "source"
        put_together(source)
        options = ["-q", "-W", "--keep-going", "-b", "html", "-c", str(HERE), "-d", f"{work}/doctrees"]
        return int(sphinx([*options, str(source), str(directory)]))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m docs.site DIR")
    sys.exit(main(Path(sys.argv[1])))
