"""The pages of the site: the Markdown files of the repository, the reference, and what these link to."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Container, Iterator
from pathlib import Path

from docs.reference.manual import MANUALS, ROOT
from docs.reference.others import OTHERS

FOLDERS = (".github", "harness", "images", "scenarios", "tests")
REFERENCE = "harness/docs/reference"
DECISIONS = ("epoll", "cdb", "sqlite", "aiosmtpd", "smtp-fields", "locust", "fastapi", "duckdb", "sphinx")
MENU: dict[str, tuple[str, ...]] = {
    "popbox": ("README", "CHANGELOG"),
    "Guides": tuple(
        f"harness/docs/{name}"
        for name in ("first-test", "in-ci", "other-languages", "runbook", "moving", "how-it-decides")
    ),
    "Reference": (*(one.path.removesuffix(".md") for one in MANUALS), *(f"{REFERENCE}/{name}" for name in OTHERS)),
    "The mail host": (
        "images/README",
        "images/mailhost/README",
        "images/qmail/README",
        "images/deploy/README",
        "images/deploy/monitoring/README",
        "images/mailhost/mailhost/accounts/README",
        "images/mailhost/mailhost/pop3/README",
        "images/mailhost/mailhost/standin/README",
        "images/mailhost/mailhost/qmail/README",
        "images/mailhost/mailhost/qmail/FACTS",
    ),
    "The harness": (
        "harness/README",
        "scenarios/README",
        "scenarios/load/README",
        "harness/popbox/operate/README",
        "harness/popbox/conformance/README",
        "harness/popbox/load/README",
        "harness/popbox/migrate/README",
    ),
    "Working on popbox": (
        "harness/docs/README",
        ".github/CONTRIBUTING",
        ".github/SECURITY",
        "harness/docs/decisions/README",
        *(f"harness/docs/decisions/{name}" for name in DECISIONS),
        "tests/README",
        "tests/mutants/README",
        "tests/example/README",
        "tests/bench/pop3/README",
        "tests/bench/serve/README",
        "tests/bench/load/README",
        "tests/bench/migrate/README",
    ),
}
_CODE = re.compile(r"(^```.*?^```\s*$|^ {4}.*?$)", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"(?<!\[)`([\w./-]+\.md)`(?!\])")
_LINKED = re.compile(r"\]\(([^)#:\s]+)(?:#[^)\s]*)?\)")


def written() -> Iterator[Path]:
    """The Markdown files that people wrote."""
    yield from (ROOT / "README.md", ROOT / "CHANGELOG.md")
    for folder in FOLDERS:
        found = sorted((ROOT / folder).rglob("*.md"))
        yield from (path for path in found if path.name != "PULL_REQUEST_TEMPLATE.md")  # a form, and no page


def made() -> Iterator[tuple[str, str]]:
    """The pages of the reference, and the menu: path and Markdown."""
    for one in MANUALS:
        yield one.path, f"# {one.name}({one.section})\n\n{one.markdown()}"
    for name, (_, page) in OTHERS.items():
        yield f"{REFERENCE}/{name}.md", page()
    yield "index.md", "\n\n".join(["# popbox", *(_menu(title, names) for title, names in menu().items())])


def menu() -> dict[str, tuple[str, ...]]:
    """All pages without their suffix, by the titles under which they stand; what `MENU` lacks comes last."""
    listed = {name for names in MENU.values() for name in names}
    rest = [path.relative_to(ROOT).with_suffix("").as_posix() for path in written()]
    return {**MENU, "More": tuple(name for name in rest if name not in listed)}


def _menu(title: str, names: tuple[str, ...]) -> str:
    listed = "\n".join(f"/{name}" for name in names)
    return f"```{{toctree}}\n:caption: {title}\n:titlesonly:\n\n{listed}\n```"


def put_together(folder: Path) -> None:
    """Write Sphinx's sources: each page under its own path, where its relative links mean what they mean here."""
    pages = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in written()} | dict(made())
    for name, text in pages.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(with_links(text, name, pages.keys()), encoding="utf-8")
        for target in linked_files(text, name):
            (folder / target).parent.mkdir(parents=True, exist_ok=True)
            (folder / target).write_bytes((ROOT / target).read_bytes())


def linked_files(text: str, name: str) -> Iterator[str]:
    """Files of the repository that a page links to and that are no pages, by their paths."""
    for linked in _LINKED.findall(_CODE.sub("", text)):
        target = posixpath.normpath(posixpath.join(posixpath.dirname(name), linked))
        if not target.endswith(".md") and (ROOT / target).is_file():
            yield target


def with_links(text: str, name: str, pages: Container[str]) -> str:
    """A page in which each name of a page in backquotes is a link: by its path from there, or from the top."""
    here = posixpath.dirname(name)

    def linked(found: re.Match[str]) -> str:
        for base in (here, ""):
            target = posixpath.normpath(posixpath.join(base, found[1]))
            if target != name and target in pages:
                return f"[{found[0]}]({posixpath.relpath(target, here or '.')})"
        return found[0]

    parts = _CODE.split(text)
    return "".join(part if at % 2 else _NAMED.sub(linked, part) for at, part in enumerate(parts))
