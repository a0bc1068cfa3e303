"""What counts as a change of a box that is declared again."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from mailhost.accounts.model import Delivery, Mailbox
from mailhost.accounts.possible import unchanged

THERE = Mailbox("joe", "x", aliases=("info",))
OTHER: dict[str, Any] = {"login": "ann", "crypt": "y", "extensions": True, "delivery": Delivery.MBOX}
ELSEWHERE: dict[str, Any] = {"aliases": (), "password_file": "p"}  # compared by others


@pytest.mark.parametrize("name", [field.name for field in fields(Mailbox)])
def test_each_field_by_itself(name: str) -> None:
    other = {**OTHER, **ELSEWHERE}[name]
    assert unchanged(THERE, replace(THERE, **{name: other})) == (name in ELSEWHERE)


@pytest.mark.parametrize("name", ["login", "crypt"])
def test_what_is_not_said_stays_and_what_is_said_is_new(name: str) -> None:
    nothing: dict[str, Any] = {name: None}
    lacks = replace(THERE, **nothing)
    assert unchanged(THERE, lacks)
    assert not unchanged(lacks, THERE)
