"""Puts the man pages into both wheels, as share/man: after ``pip install``, ``man mailhost`` finds them by PATH.

They are made of the code by harness/docs/reference. Where that cannot run, as in pip's isolated build with hatchling
alone, the wheel is built without them and says so; .ci/release refuses such a wheel.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parents[2]


class ManPages(BuildHookInterface):  # type: ignore[type-arg]  # its configuration is of no use here
    """popbox(1) for the harness, all others for the mail host."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the pages of this distribution and add them to the wheel, unless it is an editable one."""
        if version == "editable":
            return
        self._made = tempfile.TemporaryDirectory()
        path = os.pathsep.join([str(ROOT / "harness"), str(ROOT / "images/mailhost")])
        argv = [sys.executable, "-m", "docs.reference", self._made.name]
        done = subprocess.run(
            argv,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        if done.returncode:
            self.app.display_warning(f"without man pages: {(done.stderr.splitlines() or ['?'])[-1]}")
            return
        for page in sorted(Path(self._made.name).glob("man*/*")):
            if (page.name == "popbox.1") == (self.metadata.name == "popbox"):
                build_data["shared_data"][str(page)] = f"share/man/{page.parent.name}/{page.name}"

    def finalize(self, version: str, _data: dict[str, Any], _wheel: str) -> None:
        """Remove what was made."""
        if version != "editable":
            self._made.cleanup()
