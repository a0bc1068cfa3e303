"""What one pass of an import did, as ``import --json`` writes it and ``plan`` reads it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

SCHEMA = "popbox.migrate-import/1"


class ImportReport(BaseModel):
    """One pass. ``took_s`` is the copying alone; ``octets`` are those copied, ``problems`` what could not be read.

    ``mboxes``: for each mbox that was read ``address``, ``file`` and how it was read (mboxes/text.py).
    Fields that a newer popbox has added are passed over.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_: str = Field(alias="schema", pattern=f"^{SCHEMA}$")
    final: bool
    took_s: float
    copied: int
    octets: int
    known: int
    moved: int
    removed: int
    later: int
    problems: int
    mboxes: list[dict[str, Any]] = []
