"""A store with many journeys: how long a search takes, what the store weighs, what a reader holds in memory.

``python -m tests.bench.bench_journeys [JOURNEYS] [FOLDER]`` makes the store, of a million by default; a second run on
the same FOLDER measures the searches alone, and the memory that they take.
"""

from __future__ import annotations

import random
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

from popbox.journey.model import Event, Kind
from popbox.journey.store import NEW, Batch, Filters, Store

AT_ONCE = 2000
BEGAN = 1_790_000_000.0
TRIES = 200


def journey(batch: Batch, number: int) -> None:
    """A message from one of 5,000 senders to one of 20,000 boxes, in five events."""
    at, box, qp = BEGAN + number / 50, f"box{number % 20_000}", str(number % 32_768)
    routed, place = f"d-example-{box}@d.example", f"1:{number * 300}"
    said = {"qp": qp, "number": str(100_000 + number % 5_000), "sender": f"shop{number % 5_000}@client.example"}
    of = batch.add(Event(at, Kind.QUEUED, NEW, {**said, "bytes": 900, "uid": 1}, "mail log", place))
    more = {"delivery": str(number), "recipient": routed}
    trying = {**more, "channel": "local", "address": f"{box}@d.example", "foretold": None}
    tried = {**more, "outcome": "success", "said": "did 1+0+0", "kept": 1, "forwards": []}
    batch.add(Event(at, Kind.TRYING, of, trying, "mail log", f"{place}a"))
    batch.add(Event(at, Kind.TRIED, of, tried, "mail log", f"{place}b"))
    batch.add(Event(at, Kind.ENDED, of, {}, "mail log", f"{place}c"))
    name = f"{int(at)}.{number}.mx"
    head = {"subject": f"your order {number % 300_000}", "message_id": f"<{number}@client.example>"}
    file = {
        "recipient": routed,
        "maildir": f"popboxes/d/{box}/Maildir",
        "path": f"new/{name}",
        "uidl": name,
        "size": 999,
    }
    batch.add(Event(at, Kind.FILED, of, {**file, **head, "mode": 0o600, "uid": 888}, "maildirs", f"{box}/{name}"))


SERIES = "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n LIMIT :many) "
ROW = """SELECT i, 1 + i * 5 AS id, :began + i / 50.0 AS at, 'box' || (i % 20000) AS box, (i % 32768) || '' AS qp,
 (100000 + i % 5000) || '' AS number, 'shop' || (i % 5000) || '@client.example' AS sender,
 'd-example-box' || (i % 20000) || '@d.example' AS routed, 'box' || (i % 20000) || '@d.example' AS address,
 CAST(:began + i / 50.0 AS INTEGER) || '.' || i || '.mx' AS name, 'your order ' || (i % 300000) AS subject,
 '<' || i || '@client.example>' AS message_id FROM n"""
FIELDS = {
    "queued": "'qp', qp, 'number', number, 'sender', sender, 'bytes', 900, 'uid', 1",
    "trying": "'delivery', i || '', 'recipient', routed, 'channel', 'local', 'address', address, 'foretold', NULL",
    "tried": "'delivery', i || '', 'recipient', routed, 'outcome', 'success', 'said', 'did 1+0+0', 'kept', 1,"
    " 'forwards', json('[]')",
    "ended": "",
    "filed": "'recipient', routed, 'maildir', 'popboxes/d/' || box || '/Maildir', 'path', 'new/' || name, 'uidl', name,"
    " 'size', 999, 'subject', subject, 'message_id', message_id, 'mode', 384, 'uid', 888",
}
KEYS = {
    1: ("routed", "address"),
    2: ("sender",),
    3: ("subject",),
    4: ("message_id",),
    5: ("name",),
    6: ("qp", "number"),
}
KEYS[7] = ("'d.example'", "'client.example'")


def fill(path: Path, many: int) -> None:
    """The same rows as ``journey`` makes, by SQLite itself: a million in minutes."""
    with Store.open(path) as store, store.batch() as batch:
        db, values = batch.db, {"many": many, "began": BEGAN}
        db.execute("PRAGMA temp_store = FILE")
        db.execute("INSERT INTO sources (id, name) VALUES (1, 'mail log'), (2, 'maildirs')")
        messages = "id, root, qp, number, sender, bytes, at, ended, filed_at"
        made = "SELECT id, id, qp, number, sender, 900, at, 1, at"
        db.execute(f"{SERIES} INSERT INTO messages ({messages}) {made} FROM ({ROW})", values)
        for step, (kind, fields) in enumerate(FIELDS.items()):
            source, place = (2, "box || '/' || name") if kind == "filed" else (1, f"'1:' || (i * 300 + {step})")
            made = f"SELECT id + {step}, at, {source}, {place}, '{kind}', id, json_object({fields})"
            db.execute(
                f"{SERIES} INSERT INTO events (seq, at, source, place, kind, message, fields) {made} FROM ({ROW})",
                values,
            )
        for kind, names in KEYS.items():
            every = " UNION ".join(f"SELECT {name} AS key, id FROM ({ROW})" for name in names)  # noqa: S608
            db.execute(f"{SERIES} INSERT INTO finds SELECT {kind}, key, id FROM ({every}) ORDER BY key, id", values)  # noqa: S608


def searches(number: int) -> dict[str, Filters]:
    """One of each kind, about one message."""
    box = f"box{number % 20_000}@d.example"
    return {
        "recipient": Filters(to=box),
        "sender": Filters(sender=f"shop{number % 5_000}@client.example"),
        "subject": Filters(subject=f"your order {number % 300_000}"),
        "message-id": Filters(message_id=f"<{number}@client.example>"),
        "uidl": Filters(uidl=f"{int(BEGAN + number / 50)}.{number}.mx"),
        "queue id": Filters(queue_id=str(number % 32_768)),
        "recipient and sender": Filters(to=box, sender=f"shop{number % 5_000}@client.example"),
        "domain and sender": Filters(domain="d.example", sender=f"shop{number % 5_000}@client.example"),
        "domain and subject": Filters(domain="d.example", subject=f"your order {number % 300_000}"),
        "none, newest first": Filters(),
    }


def make(path: Path, many: int) -> None:
    """The store; before that it is shown on a small one that SQLite makes what the recorder writes."""
    sample = path.with_name("sample.db")
    with Store.open(sample) as store:
        cpu = time.process_time()
        with store.batch() as batch:
            for number in range(AT_ONCE):
                journey(batch, number)
        print(
            f"writing: {(time.process_time() - cpu) / AT_ONCE * 1e6:.0f} us of processor for a journey of five events"
        )
        fill(check := path.with_name("check.db"), AT_ONCE)
        with Store.open(check) as same:
            found = [[one.journey(of) for of in one.search(Filters(), limit=AT_ONCE)] for one in (store, same)]
        assert [one.message for one in found[0] if one] == [one.message for one in found[1] if one]
    began = time.monotonic()
    fill(path, many)
    print(f"{many} journeys made in {time.monotonic() - began:.0f} s")


def main() -> None:
    many = int(sys.argv[1]) if sys.argv[1:] else 1_000_000
    run(Path(sys.argv[2] if sys.argv[2:] else tempfile.mkdtemp()) / "journeys.db", many)


def run(path: Path, many: int) -> None:
    """Make the store where there is none, and measure its searches."""
    if not path.exists():
        make(path, many)
    print(f"store: {path.stat().st_size / 2**20:.0f} MiB")
    chance = random.Random(1)
    with Store.open(path, write=False) as store:
        for name in searches(0):
            took, busy = [], []
            for _ in range(TRIES):
                filters = searches(chance.randrange(many))[name]
                began, cpu = time.perf_counter(), time.thread_time()
                found = store.search(filters, limit=100)
                took.append((time.perf_counter() - began) * 1e3)
                busy.append((time.thread_time() - cpu) * 1e3)
                assert found, filters
            began = time.perf_counter()
            store.journey(found[0])
            one = (time.perf_counter() - began) * 1e3
            worst = f"worst {max(took):6.2f} ms, {max(busy):6.2f} ms of processor"
            print(f"{name:22} median {statistics.median(took):6.2f} ms, {worst}; a journey {one:.2f} ms")
    print(f"memory of this process at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
