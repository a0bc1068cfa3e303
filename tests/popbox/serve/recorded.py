"""A store with messages as the MTA's log and POP3 tell of them, without a host."""

from __future__ import annotations

from popbox.journey.model import Event, Kind
from popbox.journey.store import NEW, Store


class Idle:
    """A recorder that records nothing: the tests do."""

    def __init__(self, store: Store) -> None:
        self.run_pass = store.cursor

    def close(self) -> None:
        pass


def message(store: Store, number: int, *to: str) -> int:
    """A message to these addresses with its whole way, as the MTA's log and POP3 tell it; its id."""
    at = 1_000.0 + number
    queued = {"qp": f"{number}", "number": f"{number}", "sender": "s@x.example", "bytes": 10, "uid": 888}
    [of] = store.append([Event(at, Kind.QUEUED, NEW, queued, "mail log", f"q{number}")])
    way = []
    for address in to:
        routed = f"d-{address}"
        tried = {"delivery": 1, "recipient": routed, "outcome": "success", "said": "", "kept": 1, "forwards": []}
        file = {"path": f"m/new/{number}", "maildir": "m", "size": 9, "mode": 0o600, "uid": 888}
        filed = {"recipient": routed, "uidl": f"{number}.{address}", "subject": "x", "message_id": "<x@x>", **file}
        picked = {"session": "1", "login": "l", "uidl": f"{number}.{address}", "octets": 9}
        way += [
            Event(at, Kind.TRYING, of, {"delivery": 1, "channel": "local", "recipient": routed, "address": address}),
            Event(at, Kind.TRIED, of, tried),
            Event(at, Kind.FILED, of, filed),
            Event(at, Kind.RETRIEVED, of, picked),
        ]
    store.append([*way, Event(at, Kind.ENDED, of)])
    return of
