"""The JSON Schema for editors says what the reader accepts: it is current, and it refuses what the reader refuses."""

from __future__ import annotations

import json
import tomllib

import pytest
from jsonschema import Draft7Validator
from tests.popbox import ROOT
from tests.popbox.scenario.test_load import GOOD

from popbox.scenario.schema import scenario_schema, scenario_schema_text

COMMITTED = ROOT / "scenarios/scenario.schema.json"
SCHEMA = Draft7Validator(scenario_schema())

REFUSED = {
    "an unknown key": 'colour = "red"\n' + GOOD,
    "no step": 'title = "t"',
    "no verb": 'title = "t"\n[[step]]\nname = "x"',
    "two verbs": GOOD + 'telnet = "S: +OK"',
    "two faults": GOOD + '[[step]]\nbreak = { kill = "smtp", stop = "smtp" }',
    "two events": GOOD + '[[step]]\nwait-until = { answers = "smtp", silent = "smtp" }',
    "neither envelope nor dialogue": GOOD.replace('from = "a@b", ', ""),
    "nothing to look for in a file": GOOD + '[[step]]\nfile = { path = "x" }',
    "crypt and password": GOOD + "[accounts.domains.'d.example'.mailboxes.joe]\ncrypt = 'x'\npassword = 'y'",
    "another type": GOOD + "within-s = '1'",
}


def test_the_committed_schema_is_current() -> None:
    assert COMMITTED.read_text() == scenario_schema_text(), "popbox schema scenario > scenarios/scenario.schema.json"


def test_it_is_a_schema() -> None:
    Draft7Validator.check_schema(json.loads(COMMITTED.read_text()))


@pytest.mark.parametrize("path", sorted((ROOT / "scenarios").glob("*.toml")), ids=lambda path: path.stem)
def test_every_scenario_fits(path: object) -> None:
    assert not list(SCHEMA.iter_errors(tomllib.loads(path.read_text())))  # type: ignore[attr-defined]


@pytest.mark.parametrize("why", REFUSED)
def test_what_the_reader_refuses_the_editor_marks(why: str) -> None:
    assert not list(SCHEMA.iter_errors(tomllib.loads(GOOD)))
    assert list(SCHEMA.iter_errors(tomllib.loads(REFUSED[why])))
