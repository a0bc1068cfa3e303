"""The reference has every command, option, key and endpoint of the code, and its man pages are clean."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
from pathlib import Path

import click
import pytest
from tests.needs import program

from docs.reference.__main__ import main as write
from docs.reference.commands import sections
from docs.reference.man import page
from docs.reference.manual import MANUALS, ROOT
from docs.reference.markdown import chapter, escaped, item
from docs.reference.others import OTHERS
from docs.reference.schemas import Tables
from mailhost.accounts.sources.accounts_schema import accounts_schema
from mailhost.cli import main as mailhost
from popbox.cli.main import cli
from popbox.scenario.schema import scenario_schema

PAGES = {one.name: one.markdown() for one in MANUALS}


def tree(command: click.Command, words: str) -> list[tuple[str, click.Command]]:
    """All commands below one, by their words, without help from the reference."""
    if not isinstance(command, click.Group):
        return [(words, command)]
    context = click.Context(command)
    below = [(name, command.get_command(context, name)) for name in command.list_commands(context)]
    return [leaf for name, one in below if one is not None for leaf in tree(one, f"{words} {name}")]


@pytest.mark.parametrize("program_name", ["popbox", "mailhost"])
def test_each_command_has_a_section_with_each_of_its_options(program_name: str) -> None:
    commands = tree({"popbox": cli, "mailhost": mailhost}[program_name], program_name)
    assert len(commands) > 20
    for words, command in commands:
        said = chapter(PAGES[program_name], f"### {words}")
        assert said.startswith(f"    {words}"), "the synopsis"
        for param in command.params:
            if isinstance(param, click.Option) and not param.hidden:
                assert all(name in said for name in param.opts if name.startswith("--")), (words, param.opts)


def test_an_option_that_a_page_lacks_is_noticed() -> None:
    """The test above fails for a reference of an older popbox."""
    old = click.Group("popbox", commands={"up": click.Command("up")})
    assert "--serve" in chapter(sections(cli, "popbox"), "### popbox up")
    assert "--serve" not in chapter(sections(old, "popbox"), "### popbox up")


@pytest.mark.parametrize("schema", [accounts_schema(), scenario_schema()], ids=["accounts", "scenario"])
def test_each_key_of_a_file_has_a_line(schema: dict[str, object]) -> None:
    said = Tables(schema, toml=True).sections()
    named = set(re.findall(r"^- `([^`]+)`: ", said, re.MULTILINE))

    def keys_of(value: object) -> set[str]:
        if isinstance(value, list):
            return {key for one in value for key in keys_of(one)}
        if not isinstance(value, dict):
            return set()
        own = set(value.get("properties", {})) if isinstance(value.get("properties"), dict) else set()
        return own.union(*(keys_of(one) for one in value.values()))

    assert len(named) > 10
    assert keys_of(schema) == named


def test_each_endpoint_has_a_section() -> None:
    api = json.loads((ROOT / "harness/popbox/serve/openapi.json").read_text())
    said = OTHERS["http"][1]()
    for path, methods in api["paths"].items():
        for method, does in methods.items():
            section = chapter(said, f"## `{method.upper()} {path}`")
            assert all(f"`{one['name']}`" in section for one in does.get("parameters", []))


@pytest.mark.parametrize("name", OTHERS)
def test_a_page_of_the_reference_has_a_title_and_no_gap(name: str) -> None:
    text = OTHERS[name][1]()
    assert text.startswith("# ")
    assert "None" not in text.replace("/messages/none", "")


def test_the_chain_and_the_exit_codes_are_said_where_they_are_owned() -> None:
    assert "Uid: root, if the" in PAGES["popup"]
    assert "- `111`: the host could not do it now" in PAGES["mailhost"]
    assert "- `3`: host unavailable" in PAGES["popbox"]
    assert 'postmaster = ["joe@domain.com"]' in PAGES["accounts.toml"]


def test_the_variables_are_read_by_the_programs() -> None:
    """In both directions for the harness: what it reads of the environment is on the page of one of them."""
    read = set()
    for path in (ROOT / "harness/popbox").rglob("*.py"):
        read |= set(re.findall(r"""environ(?:\.get\(|\[)"([A-Z_]+)""", path.read_text()))
    box = {"POPBOX_TOKEN", "POPBOX_DOMAIN", "POPBOX_PASSWORD", "POPBOX_NAMES"}  # images/README.md, of popbox/box
    docker = {
        "DOCKER_CERT_PATH",
        "DOCKER_CONFIG",
        "DOCKER_HOST",
        "DOCKER_TLS",
        "DOCKER_TLS_VERIFY",
        "HOME",
        "PATH",
    }  # as `docker` reads them
    assert read - box - docker <= set(re.findall(r"`([A-Z_]+)`", PAGES["popbox"]))
    assert f"`{mailhost.params[0].envvar}`" in PAGES["mailhost"]


HARD = r"""## Name

x - y

A paragraph that begins with a dot and a quote:
.TH is no request, 'nor this; a \ and `--an-option=\n` too. It is *long*, so that it is wrapped, and `code's` stays.

    .nf is a line
    'quoted -- and \e

- `--key VALUE`: what it means
- a point with `code` in it
"""


def test_a_man_page_has_no_request_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "x.1"
    path.write_text(page("x", 1, "2026-11-28", "popbox", HARD))
    said = subprocess.run(
        [program("mandoc"), "-T", "html", "-O", "fragment", path], capture_output=True, text=True, check=True
    ).stdout
    plain = html.unescape(re.sub(r"<[^>]+>", "", said))
    assert ".TH is no request, 'nor this; a \\ and --an-option=\\n too." in " ".join(plain.split())
    assert ".nf is a line\n'quoted -- and \\e\n" in plain
    assert "--key VALUE" in plain


def test_what_a_man_page_cannot_have_is_an_error() -> None:
    with pytest.raises(ValueError, match="no table_open"):
        page("x", 1, "2026-11-28", "popbox", "| a |\n|---|\n| b |\n")


def test_the_man_pages_are_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By mandoc's lint and by groff's warnings; the same octets at each build of one date."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    write(tmp_path)
    made = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("*/*"))
    names = "man1/popbox.1 man5/accounts.toml.5 man8/checkpoppasswd.8 man8/mailhost.8 man8/pop3d.8 man8/popup.8"
    assert made == names.split()
    assert '"1970-01-01"' in (tmp_path / "man1/popbox.1").read_text()
    for name in made:
        lint = subprocess.run(
            [program("mandoc"), "-T", "lint", tmp_path / name], capture_output=True, text=True, check=False
        )
        assert (lint.returncode, lint.stdout, lint.stderr) == (0, "", "")
        shown = subprocess.run(
            [program("man"), "--warnings", "-l", tmp_path / name],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "200"},
        )
        assert shown.stderr == ""
        assert shown.stdout.startswith(Path(name).stem.upper())


def test_text_that_looks_like_markup_is_text() -> None:
    assert escaped("a *b* <c> _d_ e_f `g*h` [i]") == r"a \*b\* \<c\> \_d\_ e_f `g*h` \[i\]"
    assert escaped("1. not a list") == r"1\. not a list"
    assert item("a`b", "c") == "- `` a`b ``: c"
