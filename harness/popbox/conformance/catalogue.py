"""All rows of the table, in the order in which they are made and shown."""

from __future__ import annotations

from popbox.conformance.check import Check, Need
from popbox.conformance.checks import (
    arguments,
    capa,
    content,
    deletion,
    golden,
    greeting,
    lang,
    listing,
    login,
    replies,
    retrieval,
    sasl,
    sessions,
    states,
    tls,
    unique_ids,
    update,
)

AREAS = (
    greeting,
    replies,
    states,
    login,
    listing,
    unique_ids,
    retrieval,
    arguments,
    content,
    sessions,
    capa,
    sasl,
    tls,
    lang,
    deletion,
    update,
    golden,
)
CHECKS: tuple[Check, ...] = tuple(
    sorted((row for area in AREAS for row in area.TABLE.rows), key=lambda row: Need.CHANGES in row.needs)
)
"""Those that delete mail come last: the corpus is removed before them."""
