"""What files and strangers say, fit for a terminal: no character of theirs moves the cursor or hides a word.

Names of files in a box are its owner's, anyone can choose an envelope in the queue.
"""

from __future__ import annotations

import os
import re
import shlex

import click
from click.core import ParameterSource

from mailhost.system.open_files import with_limit

# Control characters but for TAB and LF; what turns the direction of text or ends a line unseen; halves of characters.
UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
ADVISED = "`mailhost "  # how every hint and refusal begins a command


def visible(text: str) -> str:
    """Text with what cannot be seen made visible: ``\\x1b``, ``\\u202e``; an octet that is no UTF-8 as ``\\xff``."""
    return UNSEEN.sub(_shown, text)


def on_a_line(text: str) -> str:
    """The same for what is a name or a cell of a table: the ends of lines and tabs, too, are made visible."""
    return visible(text).replace("\n", r"\n").replace("\t", r"\t")


def _shown(found: re.Match[str]) -> str:
    code = ord(found.group())
    if 0xDC80 <= code <= 0xDCFF:  # os.fsdecode's form of an octet
        return f"\\x{code - 0xDC00:02x}"
    return found.group().encode("unicode_escape").decode()


def say(text: object, *, err: bool = False) -> None:
    """Print a line or more, whoever has said it."""
    click.echo(visible(fit_to_paste(with_limit(str(text)))), err=err)


def about(error: OSError) -> str:
    """What an error is about, where it says that, and what it is."""
    named = isinstance(error.filename, str | bytes)  # a number is that of a descriptor
    return (f"{on_a_line(os.fsdecode(error.filename))}: " if named else "") + (error.strerror or str(error))


def fit_to_paste(text: str) -> str:
    """Give each command of ours that a text advises the ``--home`` of this run, where one was given.

    MAILHOST_HOME needs none: it counts for the next command of that shell too.
    """
    context = click.get_current_context(silent=True)
    root = context and context.find_root()
    if not root or root.get_parameter_source("home") != ParameterSource.COMMANDLINE:
        return text
    return text.replace(ADVISED, f"{ADVISED}--home {shlex.quote(str(root.obj))} ")
