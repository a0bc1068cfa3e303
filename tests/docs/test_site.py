"""The site has every page of the repository, and a link that leads nowhere fails its build."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.needs import require

from docs.reference.manual import ROOT
from docs.site.pages import linked_files, made, menu, with_links, written

NAMES = [path.relative_to(ROOT).as_posix() for path in written()]


def test_each_page_is_in_the_menu_once() -> None:
    listed = [f"{name}.md" for names in menu().values() for name in names]
    pages = [*NAMES, *(name for name, _ in made() if name != "index.md")]
    assert sorted(listed) == sorted(pages)


def test_a_name_of_a_page_is_a_link_to_it() -> None:
    pages = {"README.md", "images/README.md", "images/qmail/README.md"}
    text = "See `qmail/README.md`, `README.md` and `no/x.md`.\n\n    `README.md`\n"
    linked = "See [`qmail/README.md`](qmail/README.md), [`README.md`](../README.md) and `no/x.md`.\n\n    `README.md`\n"
    assert with_links(text, "images/README.md", pages) == linked


def test_a_file_that_a_page_links_to_comes_along() -> None:
    text = "[a](../../compose.yaml) [b](#c) [d](https://example.org/x) [e](gone.py) [f](README.md)\n"
    assert list(linked_files(text, "harness/docs/x.md")) == ["compose.yaml"]


def test_a_link_that_leads_nowhere_fails_the_build(tmp_path: Path) -> None:
    require("Sphinx")
    (tmp_path / "index.md").write_text("# Top\n\n[x](y.md#top)\n[x](gone.md)\n[x](y.md#lost)\n")
    (tmp_path / "y.md").write_text("# Top\n\nA page.\n")
    options = ["-q", "-W", "--keep-going", "-b", "html", "-c", str(ROOT / "harness/docs/site")]
    argv = [sys.executable, "-m", "sphinx", *options, str(tmp_path), str(tmp_path / "out")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert [word in done.stderr for word in ("gone.md", "'lost'", "'top'")] == [True, True, False], done.stderr
