"""What popbox only reads of a host that others use is no change of it: nothing is noted, nothing is asked first."""

from __future__ import annotations

import pytest

from popbox.hosts.base import Ran
from popbox.hosts.remote_accounts import Changes


@pytest.mark.parametrize(
    "argv",
    [
        ("accounts",),
        ("lint", "--json"),
        ("mailbox", "list", "--json"),
        ("explain", "a@b.example"),
    ],
)
def test_a_command_that_only_looks_needs_no_look_at_what_was_there(argv: tuple[str, ...]) -> None:
    asked = list[tuple[str, ...]]()

    def run(*words: str, stdin: bytes = b"") -> Ran:
        asked.append(words)
        return Ran(words, 0, "", "")

    changes = Changes(run)
    changes.note(argv, b"")
    assert asked == []
    assert list(changes.take_back()) == []
