"""What a store keeps of an event's fields."""

from __future__ import annotations

from popbox.journey.model import Event, Kind
from popbox.journey.store import Store


def test_half_of_a_utf_16_pair_is_told_as_a_question_mark_and_all_else_as_it_is() -> None:
    """SQLite refuses such a text, and the batch with it."""
    fields = {"what": '\u20ac \U0001f600 \x00 \\ "', "n": [1, None, 2.5]}
    with Store.in_memory() as store:
        store.append([Event(1.0, Kind.NOTE, None, {"what": "a\ud83d\udcffb"}), Event(2.0, Kind.NOTE, None, fields)])
        assert [one.fields for one in store.events_since(0)] == [{"what": "a??b"}, fields]
