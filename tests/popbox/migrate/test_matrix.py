"""The published matrix of verdicts is measured again, for the servers that are here; so are its two promises."""

from __future__ import annotations

import subprocess
from pathlib import Path
from random import Random

import pytest
from tests.needs import require
from tests.popbox.conformance.servers import PASSWORD
from tests.popbox.migrate.conftest import Verify
from tests.popbox.migrate.damage import lost, renamed
from tests.popbox.migrate.houses import ON_DISK, box, csv, moved, ours, put, snapshot, text
from tests.popbox.migrate.matrix import NEW, OLD, measure, row

from popbox.clients.wire import Address
from popbox.migrate.pop3.accounts import Account
from popbox.migrate.pop3.host import Host
from popbox.migrate.verify.oracle import CLIENTS, ask
from popbox.migrate.verify.work import Work

README = Path(__file__).parents[3] / "harness/popbox/migrate/README.md"


@pytest.mark.realqmail
@pytest.mark.parametrize("new", NEW)
@pytest.mark.parametrize("old", OLD)
def test_the_published_row(old: str, new: str) -> None:
    require(*ON_DISK[old][1])
    published = [line for line in README.read_text().splitlines() if line.startswith(f"| {old} | {new} |")]
    assert published == [row(old, new, *measure(old, new))]


@pytest.mark.realqmail
@pytest.mark.parametrize("old", ["qmail", "dovecot", "dovecot %f, no flag updates", "popbox, qmail profile", "popbox"])
def test_new_is_untouched(place: Path, verify: Verify, old: str) -> None:
    """Dovecot with its defaults is the exception that README.md names: folder and flags change at login and RETR."""
    require(*ON_DISK[old][1], *(CLIENTS if old == "qmail" else ()))
    box(place / "old", "ann", 6)
    new = moved(place / "old", place / "new")
    before = snapshot(place / "old")
    with ON_DISK[old][0](place, place / "old") as one, ours(place, new, "rfc1939") as other:
        accounts = csv(place / "a.csv", ["ann"])
        verify(one, other, accounts)
        oracles = [f"--oracle={name}" for name in CLIENTS] if old == "qmail" else []
        _, report = verify(one, other, accounts, "--no-content", *oracles)
    after = snapshot(place / "old")
    assert report["totals"]["messages_old"] == 6
    assert any("/new/" in name for name in before)
    if old == "dovecot":
        assert not any("/new/" in name for name in after)
        assert bare(after) == bare(before)
    else:
        assert after == before


def bare(files: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """Without folder and flags."""
    return {name.rpartition("/")[2].partition(":")[0]: facts for name, facts in files.items()}


def work(old: Address, new: Address) -> Work:
    return Work(Host("old", old), Host("new", new), content=True)


@pytest.mark.realqmail
@pytest.mark.parametrize(
    ("old", "client"),
    [("qmail", "getmail"), ("qmail", "fetchmail"), ("dovecot", "getmail"), ("popbox, qmail profile", "fetchmail")],
)
def test_real_clients_download_what_is_foreseen(place: Path, verify: Verify, old: str, client: str) -> None:
    """Two UIDLs changed, one message lost, one new: a client fetches three, or all where every UIDL is another."""
    require(client, *ON_DISK[old][1])
    ann = box(place / "old", "ann", 7)
    put(ann, "1700099999.dots.old.example", b"Subject: dots\n\n.\n..\n.x\n" + text(1), 50)
    new = moved(place / "old", place / "new")
    random = Random(3)
    renamed(new / "ann", random)
    path = next(path for path in (new / "ann" / "Maildir" / "cur").iterdir() if "renamed" not in path.name)
    path.rename(path.with_name("1700088888.other.new.example"))
    gone = lost(new / "ann", random)
    assert "renamed" not in gone, "take another seed: that one had to stay"
    assert "other" not in gone, "take another seed: that one had to stay"
    put(new / "ann", "1700077777.fresh.new.example", text(99), 60)
    with ON_DISK[old][0](place, place / "old") as one, ours(place, new, "rfc1939") as other:
        _, report = verify(one, other, csv(place / "a.csv", ["ann"]), "--oracle", client)
    (tried,) = report["oracles"]
    assert tried == {"client": client, "login": "ann", "first": 8, "again": 8 if old == "dovecot" else 3} | {
        "expected": tried["again"]
    }
    assert report["boxes"][0]["downloads"]["uidl_known"] == tried["again"] - 1


@pytest.mark.needs("getmail")
def test_an_oracle_that_contradicts_is_a_difference(
    place: Path, verify: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new host that gives other UIDLs to the client than it gave to us: exit 1, and the report says WRONG."""
    box(place / "old", "ann", 3)
    new = moved(place / "old", place / "new")
    with ours(place, place / "old", "qmail") as one, ours(place, new, "rfc1939") as other:

        def late(*_: object) -> object:
            renamed(new / "ann", Random(1))
            return ask(*_)  # type: ignore[arg-type]

        monkeypatch.setattr("popbox.migrate.verify.oracle.ask", late)
        code, report = verify(one, other, csv(place / "a.csv", ["ann"]), "--oracle", "getmail")
    assert code == 1
    assert report["totals"]["equal"] == 1
    assert "then 1 from the new: WRONG: 0 were foreseen" in report["output"]


@pytest.mark.needs("getmail")
def test_the_client_never_sees_the_password(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box(place / "old", "ann", 1)
    seen: list[str] = []
    real = subprocess.run

    def spy(argv: list[str], **settings: object) -> object:
        seen.append(repr((argv, settings)))
        seen.extend(path.read_text("latin-1") for path in Path(settings["env"]["HOME"]).iterdir() if path.is_file())  # type: ignore[index]
        return real(argv, **settings)  # type: ignore[call-overload]

    with ours(place, place / "old", "qmail") as one:
        monkeypatch.setattr("popbox.migrate.verify.oracle.subprocess.run", spy)
        result = ask("getmail", work(one, one), Account("ann", "ann", PASSWORD, PASSWORD), 0)
    assert (result.first, result.again) == (1, 0)
    assert seen
    assert PASSWORD not in "".join(seen)
