"""The ledger of many messages: what it looks at grows as they do, not as their square."""

from __future__ import annotations

from typing import Any

import pytest
from tests.bench.growth.proofs import run_of

from popbox.ledger import copies, tracker
from popbox.ledger.proof import Disposition
from popbox.ledger.reconcile import reconcile


def looks(messages: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """How often an octet string was searched for a token, or a line of the log read again."""
    counted = [0]

    def counting(module: Any, name: str) -> None:
        real = getattr(module, name)

        def count(*args: Any) -> Any:
            counted[0] += 1
            return real(*args)

        monkeypatch.setattr(module, name, count)

    with monkeypatch.context():
        counting(copies, "_kind")
        counting(tracker, "parse")
        run = run_of(messages)
        assert {one.ended for one in reconcile(run, [])} == {Disposition.ONCE}
        monkeypatch.undo()
    return counted[0]


def test_ten_times_the_messages_are_ten_times_the_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = looks(4, monkeypatch), looks(40, monkeypatch)
    assert few > 0
    assert many <= 10 * few
