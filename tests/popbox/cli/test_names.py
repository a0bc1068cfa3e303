"""What is left of a variable that is not set, `--to "$UNSET"`, is no path, address, host or name of any command."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from tests.docs.test_reference import tree

from mailhost.cli import main as mailhost
from popbox.cli.main import cli

COMMANDS = {
    words: command
    for program, name in ((cli, "popbox"), (mailhost, "mailhost"))
    for words, command in tree(program, name)
}
MAY_BE_EMPTY = {
    "budgets", "lasts", "log_command", "mailhost_command", "old_tls_name", "new_tls_name", "old_default_delivery",
    "argv", "sender", "recipients",
}  # fmt: skip


def naming(words: str) -> list[click.Parameter]:
    """The parameters that take a path or, of popbox, another name; mailhost judges its names by its own rules."""
    wanted = (click.Path, click.types.StringParamType) if words.startswith("popbox") else (click.Path,)
    every = COMMANDS[words].params
    return [one for one in every if isinstance(one.type, wanted) and one.name not in MAY_BE_EMPTY and not one.callback]


def refused(words: str, parameter: click.Parameter, value: str) -> bool:
    try:
        parameter.type.convert(value, parameter, click.Context(COMMANDS[words]))
    except click.BadParameter:
        return True
    return False


@pytest.mark.parametrize("words", [words for words in COMMANDS if naming(words)])
def test_an_empty_name_is_refused_by_each_command(words: str) -> None:
    assert [one.name for one in naming(words) if not refused(words, one, "")] == []


def test_a_name_of_several_lines_is_none() -> None:
    (smtp,) = [one for one in COMMANDS["popbox probe"].params if one.name == "smtp_at"]
    assert [value for value in ("mx:25\n", "mx\r:25", "mx\x7f:25") if not refused("popbox probe", smtp, value)] == []
    assert not refused("popbox probe", smtp, "mx:25")


def test_the_walk_finds_them() -> None:
    assert len([one for words in COMMANDS for one in naming(words)]) > 100
    here = click.Option(["--here"], type=click.Path(path_type=Path))
    assert not refused("popbox probe", here, ""), "what is to be refused is not refused by click itself"
