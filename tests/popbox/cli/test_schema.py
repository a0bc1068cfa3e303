"""`popbox schema`: each is JSON Schema, and that of accounts.toml is the one beside mailhost's reader."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from jsonschema.validators import validator_for
from tests.popbox import ROOT

from popbox.cli.schema import SCHEMAS, schema


@pytest.mark.parametrize("what", SCHEMAS)
def test_each_that_it_names_is_printed_and_is_a_schema(what: str) -> None:
    printed = json.loads(CliRunner().invoke(schema, [what]).output)
    validator_for(printed).check_schema(printed)
    assert printed["properties"]


def test_that_of_accounts_is_the_one_kept_beside_the_reader() -> None:
    kept = ROOT / "images/mailhost/mailhost/accounts/sources/accounts.schema.json"
    assert CliRunner().invoke(schema, ["accounts"]).output == kept.read_text()
