"""Text of the code as Markdown."""

from __future__ import annotations

import re

_CODE = re.compile(r"(`[^`]+`)")
_MARKS = re.compile(r"([\\*<>\[\]]|(?<!\w)_|_(?!\w))")
_BEGINS = re.compile(r"^(\d*)([.)#+-](?=\s|#))")  # a list or a heading


def escaped(text: str) -> str:
    """One paragraph in which only what stands in backquotes is markup."""
    parts = _CODE.split(" ".join(text.split()).replace("``", "`"))  # docstrings quote code twice
    text = "".join(part if _CODE.fullmatch(part) else _MARKS.sub(r"\\\1", part) for part in parts)
    return _BEGINS.sub(r"\1\\\2", text)


def code(text: str) -> str:
    """An inline span of code, whatever it holds."""
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def block(text: str) -> str:
    """Lines as they are."""
    return "\n".join(f"    {line}" if line.strip() else "" for line in text.splitlines())


def item(term: str, text: str) -> str:
    """A term of a list and what it means."""
    return f"- {code(term)}: {text}" if text else f"- {code(term)}"


def chapter(text: str, heading: str) -> str:
    """What stands below a heading of a page, up to the next heading of its level or above.

    Raises:
        ValueError: the page has no such heading.
    """
    marks = heading.split(" ", 1)[0]
    found = re.search(rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{len(marks)}}} |\Z)", text, re.MULTILINE | re.DOTALL)
    if found is None:
        raise ValueError(f"there is no {heading!r}")
    return found[1].strip("\n")
