"""How an mbox is read, in words and as JSON."""

from __future__ import annotations

from typing import Any

from popbox.migrate.oldhost.mboxes.split import Parts
from popbox.migrate.oldhost.mboxes.survey import Reading


def described(reading: Reading) -> str:
    """One line for a person."""
    count = f"{reading.messages} message{'' if reading.messages == 1 else 's'}"
    return "; ".join([f"{count}, {reading.dialect}, line ends {reading.line_ends}", *reading.notes])


def reading_as_json(reading: Reading, parts: Parts | None = None) -> dict[str, Any]:
    """README.md says what each key means; ``parts`` where the file was taken apart."""
    said: dict[str, Any] = {
        "dialect": reading.dialect,
        "line_ends": reading.line_ends,
        "quoting": reading.quoting,
        "content_length": bool(reading.rule.counted),
        "messages": reading.messages,
        "octets": reading.octets,
        "notes": reading.notes,
        "doubts": [{"line": line or None, "text": text} for line, text in reading.doubts],
    }
    if parts is not None:
        said["parts"] = {
            "from_lines": parts.from_lines,
            "text": parts.text,
            "separators": parts.separators,
            "returns": parts.returns,
            "quotes": parts.quotes,
        }
    return said
