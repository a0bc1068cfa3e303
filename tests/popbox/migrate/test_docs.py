"""The page that documents audit and import says every option, every dialect and every key of the JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.popbox.migrate.oldhosts import HOSTS

from popbox.cli.migrate import migrate
from popbox.cli.moving.audit import audit
from popbox.cli.moving.export import export
from popbox.cli.moving.imports import import_
from popbox.cli.moving.plan import plan
from popbox.cli.moving.routes import routes
from popbox.cli.moving.verify import verify
from popbox.migrate.oldhost.dialects.detect import READERS

PAGE = (Path(__file__).parents[3] / "harness/popbox/migrate/README.md").read_text()
OPTIONS = [
    option
    for verb in (audit, import_, plan, export)
    for param in verb.params
    for option in param.opts
    if option.startswith("--")
]


@pytest.mark.parametrize("word", [*OPTIONS, *READERS, "accounts.toml", "not-carried.txt"])
def test_the_page_says_it(word: str) -> None:
    assert f"`{word}" in PAGE


SIDES = re.compile("^--new-")  # what is said of --old-... holds for the new host


@pytest.mark.parametrize("word", [option for param in verify.params for option in param.opts if option[:2] == "--"])
def test_the_page_says_each_option_of_verify(word: str) -> None:
    assert SIDES.sub("--old-", word) in PAGE.partition("## verify")[2].partition("## export")[0]


@pytest.mark.parametrize("word", [option for param in routes.params for option in param.opts if option[:2] == "--"])
def test_the_page_says_each_option_of_routes(word: str) -> None:
    assert f"`{word}" in PAGE.partition("## routes")[2].partition("## plan")[0]


def test_the_page_says_every_key_of_the_json(tmp_path: Path) -> None:
    root = HOSTS["howto"](tmp_path)
    (root / "var/qmail/popboxes/domain-com/ann/.qmail").write_text("./Maildir/\n|program\n")
    (root / "var/qmail/users/cdb").unlink()
    said = json.loads(CliRunner().invoke(migrate, ["audit", "--json", str(root)], standalone_mode=False).output)
    keys = set(said) | {key for part in said.values() if isinstance(part, list) for key in part[0]}
    assert "consequence" in keys
    assert {key for key in keys if f"`{key}`" not in PAGE} == set()
