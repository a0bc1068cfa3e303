"""Every command line of every page is one that its program takes, and the samples of ``harness/docs`` are run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from tests.docs.samples import BEGINS, ENDS, differs, samples, script, typed
from tests.needs import require

from docs.reference.manual import ROOT
from docs.site.pages import written
from mailhost.cli import main as mailhost
from popbox.cli.main import cli

PROGRAMS = {"popbox": cli, "mailhost": mailhost}
ALL = [path for path in written() if path.name != "CHANGELOG.md"]
PAGES = sorted((ROOT / "harness/docs").glob("*.md"))
_CODE = re.compile(r"^```\w*\n(.*?)^```$|^((?: {4}[^\n]*\n|\n(?= {4}))+)", re.MULTILINE | re.DOTALL)
_SYNOPSIS = re.compile(r"\[|\||\.\.\.|…|\b[A-Z]{2,}(?:\.\.\.)?(?=$| )")


def lines(page: str) -> Iterator[str]:
    """Lines of code blocks that begin with one of the programs, without what stands before it."""
    for block in _CODE.finditer(page):
        text = (block[1] or block[2]).replace("\\\n", " ")
        for line in text.splitlines():
            found = re.match(r"(?: {4})?\s*(?:\$ )?(?:[A-Z_]+=\S+ )*(?:[\w./-]*bin/)?((?:popbox|mailhost) \S.*)", line)
            if found and not re.match(r"\w+ +[|:]|\w+, ", found[1]):
                yield found[1]


def wrong(line: str) -> str:
    """Why the program does not take a command line; empty where it does. Values are not looked at."""
    try:
        words = [word for word in shlex.split(line, comments=True) if word]
    except ValueError as why:
        return str(why)
    for at, word in enumerate(words):
        if word in ("|", "&&", "||", ";", "&") or word.startswith((">", "<", "2>")):
            words = words[:at]
            break
    command, context = PROGRAMS[words[0]], click.Context(PROGRAMS[words[0]])
    options = {name: one for one in command.params for name in one.opts}
    rest = iter(words[1:])
    for word in rest:
        if command.name == "exec" and not word.startswith("-"):
            return wrong(shlex.join(["mailhost", word, *rest]))
        name, given, _ = word.partition("=")
        if name in ("--help", "-h"):
            return ""
        if name.startswith("-") and name != "-":
            if name not in options:
                return f"{command.name} has no option {name}"
            option = options[name]
            if not given and not getattr(option, "is_flag", False) and not getattr(option, "count", False):
                next(rest, None)
        elif isinstance(command, click.Group):
            below = command.get_command(context, word)
            if below is None and command.name == "load":
                below = command.get_command(context, "run")  # whose word can be left out
            if below is None and not command.invoke_without_command:
                return f"{command.name} has no command {word}"
            command = below or click.Command(command.name, params=command.params)
            options = {one: param for param in command.params for one in (*param.opts, *param.secondary_opts)}
    return ""


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_programs_take_the_command_lines_of_a_page(path: Path) -> None:
    said = [(line, wrong(line)) for line in lines(path.read_text("utf-8")) if not _SYNOPSIS.search(line)]
    assert [one for one in said if one[1]] == []


def test_a_command_line_that_is_not_taken_is_noticed() -> None:
    page = "```sh\n$ popbox upp\npopbox up --on x\nA=1 .venv/bin/mailhost domain add x --prefx y\n```\n"
    page += "\n    mailhost lint\n"
    assert [wrong(line) for line in lines(page)] == [
        "cli has no command upp",
        "up has no option --on",
        "add has no option --prefx",
        "",
    ]


def test_there_are_many_of_them() -> None:
    assert sum(1 for path in ALL for line in lines(path.read_text("utf-8")) if not _SYNOPSIS.search(line)) > 40


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_each_block_of_a_page_is_run_or_says_why_not(path: Path) -> None:
    text = path.read_text("utf-8")
    found = samples(text)
    assert text.count("\n```") == 2 * len(found), "a block that is none"
    for one in found:
        assert one.kind or one.language == "console", f"neither typed, nor a file, nor marked: {one.text}"
        assert one.told or not one.kind


@pytest.mark.slow
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_the_samples_of_a_page_are_as_it_says(path: Path) -> None:
    text = path.read_text("utf-8")
    if needed := re.match(r"<!-- needs: (.*) -->\n", text):
        require(*needed[1].split(", "))
    page = samples(text)
    commands = [one for block in page if not block.kind and block.language == "console" for one in typed(block.text)]
    if not commands:
        return
    with tempfile.TemporaryDirectory(prefix="popbox-docs-") as place:  # popuser enters it, unlike pytest's own
        said = run(page, Path(place))
    assert len(said) == len(commands), said
    for at, (one, (printed, code)) in enumerate(zip(commands, said, strict=True)):
        asked = at + 1 < len(commands) and commands[at + 1].command == "echo $?"
        assert code == 0 or asked, f"{one.command} ended with {code}:\n" + "\n".join(printed)
        assert not (why := differs(one.printed, printed)), f"{one.command}: {why}"


def run(page: list[object], place: Path) -> list[tuple[list[str], int]]:
    """What each command printed, both outputs, and its exit code."""
    place.chmod(0o755)
    (place / "work").mkdir()
    env = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(place),
        "XDG_STATE_HOME": str(place / "state"),
        "POPBOX": str(ROOT),
        "DOCKER_HOST": f"unix://{place}/no-engine",  # hosts of others have no part in it
        "LC_ALL": "C.UTF-8",
    }
    (place / "script").write_text(script(page))
    told = {"cwd": place / "work", "env": env, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    try:
        done = subprocess.run(["bash", place / "script"], stdin=subprocess.DEVNULL, timeout=250, check=False, **told)
    finally:
        subprocess.run([sys.executable, "-m", "popbox", "down"], check=False, **told)
    found = re.findall(rf"^{BEGINS}\n(.*?)\n?^{ENDS}(\d+)\n", done.stdout, re.MULTILINE | re.DOTALL)
    return [(text.strip("\n").splitlines(), int(code)) for text, code in found]


def test_a_sample_that_is_not_so_is_noticed(tmp_path: Path) -> None:
    page = samples("```console\n$ printf 'a 17\\nb\\nc\\n'\na 4\n...\n$ false\n$ echo $?\n1\n```\n")
    (first, code), (_, failed), (asked, _) = run(page, tmp_path)
    assert (first, code, failed, asked) == (["a 17", "b", "c"], 0, 1, ["1"])
    commands = [one for block in page for one in typed(block.text)]
    assert differs(commands[0].printed, first) == ""
    assert differs(("a 4", "...", "c"), first) == ""
    assert differs(("a 4", "c"), first)
    assert differs((), first)
    assert differs(("x ...",), ["x and more"]) == ""
