"""Markdown as a man page (man(7)): headings, paragraphs, lists, code and emphasis; what else there is, is an error."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from markdown_it import MarkdownIt
from markdown_it.token import Token

_WIDTH = 78  # mandoc remarks longer lines of text
_EMPTY = {"paragraph_close", "heading_close", "bullet_list_close", "list_item_close", "bullet_list_open"}


def page(title: str, section: int, date: str, source: str, body: str) -> str:
    """A man page: ``title`` as in popbox(1), ``date`` as 2026-11-28, ``source`` the package and its version.

    Raises:
        ValueError: the Markdown has something that this does not set, such as a table.
    """
    head = f'.TH "{title.upper()}" {section} "{date}" "{source}"'
    return "\n".join([head, *_blocks(MarkdownIt("commonmark").enable("table").parse(body))]) + "\n"


def _blocks(tokens: list[Token]) -> Iterator[str]:
    item, after_heading = False, True
    for at, token in enumerate(tokens):
        match token.type:
            case "heading_open":
                macro = ".SH" if token.tag in ("h1", "h2") else ".SS"
                text = _inline(tokens[at + 1]).replace('"', r"\(dq")
                yield f"{macro} {text.upper() if macro == '.SH' else text}"
                after_heading = True
            case "list_item_open":
                item, after_heading = True, False
            case "inline" if tokens[at - 1].type == "heading_open":
                pass
            case "inline" if item:
                yield from _listed(token)
                item = False
            case "inline":
                yield from [] if after_heading else [".PP"]
                yield from _filled(_inline(token))
                after_heading = False
            case "code_block" | "fence":
                yield from [] if after_heading else [".PP"]
                yield from (".RS 4", ".EX", *map(_literal, token.content.rstrip("\n").split("\n")), ".EE", ".RE")
                after_heading = False
            case "paragraph_open":
                pass
            case kind if kind in _EMPTY:
                pass
            case kind:
                raise ValueError(f"a man page has no {kind}")


def _listed(token: Token) -> Iterator[str]:
    """An item of a list: a term in code and what it means, or a point."""
    children = token.children or []
    term, rest = children[0], children[1:]
    if term.type == "code_inline" and (not rest or rest[0].content.startswith(": ")):
        yield from (".TP", f"\\fB{_escaped(term.content, code=True)}\\fR")
        if rest:
            yield from _filled(_spans(rest).removeprefix(": "))
    else:
        yield r".IP \(bu 2"
        yield from _filled(_spans(children))


def _inline(token: Token) -> str:
    return _spans(token.children or [])


def _spans(children: list[Token]) -> str:
    said = []
    for child in children:
        match child.type:
            case "text":
                said.append(_escaped(child.content))
            case "code_inline":
                said.append(f"\\fB{_escaped(child.content, code=True)}\\fR")
            case "softbreak" | "hardbreak":
                said.append(" ")
            case "em_open" | "strong_open":
                said.append(r"\fI")
            case "em_close" | "strong_close":
                said.append(r"\fR")
            case "link_open" | "link_close":
                pass
            case kind:
                raise ValueError(f"a man page has no {kind}")
    return "".join(said)


def _escaped(text: str, *, code: bool = False) -> str:
    """Text in which roff sees no request; in code the hyphen is the one of the keyboard, so that it can be pasted."""
    text = text.replace("\\", r"\e")
    if code:
        text = text.replace("-", r"\-").replace("'", r"\(aq").replace("^", r"\(ha").replace("~", r"\(ti")
    return text


def _filled(text: str) -> Iterator[str]:
    lines = textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
    yield from (rf"\&{line}" if line[0] in ".'" else line for line in lines)


def _literal(line: str) -> str:
    line = _escaped(line, code=True).rstrip()
    return rf"\&{line}" if line[:1] in (".", "'") else line
