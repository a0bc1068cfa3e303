"""Plain English in every text of the repository: words that stop a reader of today are not used."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.needs import ROOT

PLAIN = {
    "anew": "again",
    "meanwhile": "in between, since, while",
    "nobody": "no one, none",
    "somebody": "someone, another program",
    "be had": "is available",
    "whence": "from where",
    "thereof": "of it",
    "a second look": "re-read",
    "comes to nothing": "has no effect",
    "hardly a": "almost no",
    "in IPv6 clothes": "IPv4-mapped",
    "by halves": "binary search",
    "what is so": "what is done",
}
DATA = r"(?<![\w\"'`/=:@.<+!\\-])"  # a login, an address or an account is no word of a sentence
WORD = re.compile(DATA + rf"({'|'.join(PLAIN)})" + r"(?![\w\"`@:/>(=-]|'(?!s\b)|\.\w)", re.IGNORECASE)
ROUGHLY = re.compile("|".join(PLAIN), re.IGNORECASE)
FOLDERS = (".ci", "harness", "images", "scenarios", "tests")
SUFFIXES = {"", ".py", ".md", ".toml", ".yaml", ".html", ".sh"}
QUOTING = {"tests/test_words.py", "images/mailhost/mailhost/qmail/FACTS.md"}
"""These words themselves, and facts as they were noted."""


@cache
def texts() -> tuple[str, ...]:
    """Documents and code, below the root."""
    found = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "Makefile", ROOT / "compose.yaml"]
    for folder in FOLDERS:
        found += [path for path in (ROOT / folder).rglob("*") if path.is_file() and path.suffix in SUFFIXES]
    names = sorted(str(path.relative_to(ROOT)) for path in found)
    return tuple(one for one in names if one not in QUOTING and "__pycache__" not in one and "/faults/" not in one)


def sentences(path: Path) -> Iterator[tuple[int, str]]:
    """Of a text that has such a word the lines that a person reads: of code comments and strings of several words."""
    text = path.read_text(encoding="utf-8", errors="replace")
    if not ROUGHLY.search(text):  # most texts, and reading one token by token takes long
        return
    if path.suffix != ".py":
        yield from enumerate(text.splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        several = token.type == tokenize.STRING and " " in token.string and token.string[0] not in "bB"
        if several or token.type == tokenize.COMMENT:
            yield from enumerate(token.string.splitlines(), token.start[0])


def test_each_text_is_in_plain_words() -> None:
    found = [
        f"{name}:{number}: {word[1]!r} -> {PLAIN[word[1].lower()]}"
        for name in texts()
        for number, line in sentences(ROOT / name)
        for word in WORD.finditer(line)
    ]
    assert not found, "\n".join(found)


def test_the_words_are_seen_in_sentences_and_not_in_data(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text(
        '"""Made anew."""\nx = b"nobody"  # nobody reads it\ny = "to nobody@example.org"\n# by nobody\'s hand\n'
    )
    assert [(number, word[1]) for number, line in sentences(file) for word in WORD.finditer(line)] == [
        (1, "anew"),
        (2, "nobody"),
        (4, "nobody"),
    ]


def test_the_modules_that_a_document_names_exist() -> None:
    there = {path for path in texts() if path.endswith(".py")}
    ends = {"/".join(path.split("/")[-length:]) for path in there for length in range(1, path.count("/") + 2)}
    named = {
        (name, module)
        for name in texts()
        if name.endswith(".md") and name != "CHANGELOG.md"
        for module in re.findall(r"`([a-z_/]+\.py)`", (ROOT / name).read_text(encoding="utf-8"))
    }
    assert named
    assert not sorted(one for one in named if one[1] not in ends)
