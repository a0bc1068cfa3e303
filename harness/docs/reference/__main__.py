"""``python -m docs.reference DIR``: the man pages, as man(1) finds them below DIR (``man -M DIR mailhost``)."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from docs.reference.man import page
from docs.reference.manual import MANUALS


def main(directory: Path) -> None:
    """Write them; SOURCE_DATE_EPOCH sets their date."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    when = datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)
    for one in MANUALS:
        path = directory / f"man{one.section}" / f"{one.name}.{one.section}"
        path.parent.mkdir(parents=True, exist_ok=True)
        source = f"popbox {version('popbox')}"
        path.write_text(page(one.name, one.section, f"{when:%Y-%m-%d}", source, one.markdown()), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m docs.reference DIR")
    main(Path(sys.argv[1]))
