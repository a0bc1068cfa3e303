"""The schema for editors says what the reader of accounts.toml accepts, key by key, and refuses what it refuses."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from jsonschema import Draft7Validator
from tests.mailhost.accounts.sources.test_accounts_toml import HOUSE, SLOW, accounts

from mailhost.accounts.errors import InputError
from mailhost.accounts.model import Accounts
from mailhost.accounts.sources import accounts_toml
from mailhost.accounts.sources.accounts_schema import FILE, accounts_schema, schema_text
from mailhost.cli import main

SCHEMA = accounts_schema()
VALIDATOR = Draft7Validator(SCHEMA)
D, M = '[domains."d.com"]\n', '[domains."d.com".mailboxes.joe]\n'

REFUSED = {
    "an unknown key": "x = 1",
    "an unknown key of a domain": D + "x = 1",
    "an unknown key of a mailbox": M + "x = 1",
    "a table that is none": "domains = 1",
    "another delivery": M + 'delivery = "mbx"',
    "a flag that is none": M + 'extensions = "yes"',
    "an empty login": M + 'login = ""',
    "crypt and a file": M + 'crypt = "DmIMm9e5Hc8ic"\npassword_file = "x"',
    "no target": '[domains."d.com".forwards]\nsales = []',
    "a target twice": '[domains."d.com".forwards]\nsales = ["a@b.de", "a@b.de"]',
    "a target without @": '[domains."d.com".forwards]\nsales = ["ab"]',
    "a target that is no string": '[domains."d.com".forwards]\nsales = [1]',
    "an alias with another key": D + 'alias_of = "e.com"\nprefix = "d"',
    "another system address": '[system]\nabuse = ["a@b.de"]',
    "another policy": '[logins]\npolicy = "x"',
    "a stem with a digit": "[logins]\nlast = { a1 = 1 }",
    "a negative number": "[logins]\nlast = { a = -1 }",
    "a local part of 65": f'[domains."d.com".mailboxes.{"a" * 65}]',
}


PLACES = {
    "": SCHEMA,
    **{f"[{key}]": SCHEMA["properties"][key] for key in ("logins", "system", "removals")},
    D: SCHEMA["definitions"]["domain"],
    M: SCHEMA["definitions"]["mailbox"],
}


def test_it_is_a_schema_and_the_command_prints_it() -> None:
    Draft7Validator.check_schema(SCHEMA)
    assert json.loads(CliRunner().invoke(main, ["schema", "accounts"]).output) == SCHEMA


def test_the_schema_beside_the_reader_is_current() -> None:
    assert FILE.read_text() == schema_text(), "python -m mailhost.accounts.sources.accounts_schema"


ONE = (
    HOUSE.replace("extensions", 'aliases = "info"\nextensions') + 'one = "x@y.example"\n[removals]\nagreed = "d.com"\n'
)


@pytest.mark.parametrize(
    "text", [HOUSE, ONE, (accounts_toml.__doc__ or "").partition("\n")[2]], ids=["house", "one string", "docstring"]
)
def test_what_the_reader_accepts_fits(text: str) -> None:
    accounts_toml.parse(text, "accounts.toml")
    assert list(VALIDATOR.iter_errors(tomllib.loads(text))) == []


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
def test_what_the_reader_refuses_does_not_fit(text: str) -> None:
    with pytest.raises(InputError):
        accounts_toml.parse(text, "accounts.toml")
    assert list(VALIDATOR.iter_errors(tomllib.loads(text)))


def tables(schema: Any) -> list[dict[str, Any]]:
    """Each table of the schema that has keys of its own."""
    if not isinstance(schema, dict):
        return []
    return [schema] * ("properties" in schema) + [one for value in schema.values() for one in tables(value)]


def test_each_key_has_a_description_or_is_a_table() -> None:
    for table in tables(SCHEMA):
        for key, value in table["properties"].items():
            assert value.get("description") or "$ref" in value, key


KEYS = [(place, key) for place, table in PLACES.items() for key in table["properties"]]


@pytest.mark.parametrize(("place", "key"), KEYS)
def test_the_reader_knows_each_key(place: str, key: str) -> None:
    """A date is a value for none of them, so that the reader always says something of the key."""
    with pytest.raises(InputError) as refused:
        accounts_toml.parse(f"{place}\n{key} = 2026-11-28", "accounts.toml")
    assert "unknown key" not in refused.value.rule


@settings(SLOW, max_examples=10)
@given(accounts())
def test_each_key_that_is_written_is_in_it(declared: Accounts) -> None:
    """`password_file` is never written: export knows hashes only."""
    assert list(VALIDATOR.iter_errors(tomllib.loads(accounts_toml.render(declared)))) == []
