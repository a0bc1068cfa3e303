"""What the logins alone say of two stores is what all readers say, on hosts in which homes and logins are odd."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from pathlib import Path

import pytest
from tests.popbox.migrate.oldhosts import put
from tests.popbox.migrate.routes.hosts import HASH, UID, Making, box

from popbox.migrate.routes import boxes
from popbox.migrate.routes.boxes import Boxes
from popbox.migrate.routes.side import open_side

HOSTS, SEED = 16, 7
LOCALS = ("joe", "ann", "bob", "eve")
LINES = ("./Maildir/", "./Mailbox", "./Other/", "&joe@domain.com", "#")


def made(root: Path, chance: random.Random, top: str, number: int) -> Path:
    """Four boxes of one domain: some homes hold no Maildir, a link, or are links; logins are names or addresses."""
    host = Making(root)
    host.rcpthosts.append("domain.com")
    host.virtual.append("domain.com:domain-com")
    for local in LOCALS:
        place = f"{top}/{local}"
        home = box(root / place[1:], chance.choice(LINES) + "\n", maildir=chance.random() < 0.6)
        if chance.random() < 0.2:
            put(home / "Mailbox", "From a@b.example Mon Jan  1 00:00:00 2024\n\nx\n")
        if chance.random() < 0.1 and not (home / "Maildir").exists():
            (home / "Maildir").symlink_to("../joe/Maildir")
        if chance.random() < 0.1:
            shutil.move(home, home.with_name(f"{local}-moved"))
            home.symlink_to(f"{local}-moved")
        if chance.random() < 0.9:
            host.assign.append(f"=domain-com-{local}:popuser:{UID}:{UID}:{place}:::")
        for _ in range(chance.choice((0, 1, 1, 2))):
            name = chance.choice(
                [*(f"aa{n}" for n in range(6)), *[f"{chance.choice(LOCALS)}@domain.com"] * (number % 4)]
            )
            where = f"{place}-moved" if chance.random() < 0.1 else place
            row = f"{name}:{HASH}:popuser:{where}{chance.choice(('', '', '/'))}"
            host.logins.append(f"{name}:typed" if "@" in name and chance.random() < 0.6 else row)
    if chance.random() < 0.3:
        host.assign.append(f"+domain-com-:popuser:{UID}:{UID}:{top}/{chance.choice(('joe', 'ann'))}:::")
    return host.done()


def stores(top: str) -> list[str]:
    """Where mail may lie."""
    ends = ("/Maildir", "/Mailbox", "-moved/Maildir")
    return [f"{top}/{local}{end}" for local in LOCALS for end in ends]


@pytest.mark.parametrize("aside", ["/home/boxes", "/var/qmail/popboxes/domain-com"])
def test_the_logins_alone_say_what_all_readers_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aside: str) -> None:
    told: Counter[tuple[bool | None, bool]] = Counter()
    placed = "/var/qmail/popboxes/domain-com"
    by_openers = boxes.one_box
    for number in range(HOSTS):
        chance, place = random.Random(f"{SEED}-{number}"), tmp_path / str(number)
        old, new = (made(place / name, chance, top, number) for name, top in (("old", aside), ("new", placed)))
        both = Boxes(open_side(old, None, None), open_side(new, None, None))
        said: list[bool | None] = []
        monkeypatch.setattr(boxes, "one_box", lambda *a, said=said, **k: said.append(by_openers(*a, **k)))
        for before in stores(aside):
            for after in stores(placed):
                said.clear()
                right = both.same(before, after)
                if said:
                    assert said[0] in (None, right), f"{SEED}-{number}: {before} {after}: {said[0]}, but {right}"
                    told[said[0], right] += 1
        shutil.rmtree(place)
    print(told)
    assert all(told[one] for one in ((True, True), (False, False), (None, True), (None, False)))


def test_what_an_import_put_there_is_another_mailbox_once_another_login_opens_it(tmp_path: Path) -> None:
    top, placed = "/home/boxes", "/var/qmail/popboxes/domain-com"
    for name, where, opened in (("old", top, "joe"), ("new", placed, "joe"), ("swapped", placed, "ann")):
        host = Making(tmp_path / name)
        host.rcpthosts.append("domain.com")
        host.virtual.append("domain.com:domain-com")
        for local in ("joe", "ann"):
            box(host.root / f"{where}/{local}"[1:])
            host.assign.append(f"=domain-com-{local}:popuser:{UID}:{UID}:{where}/{local}:::")
        host.logins.append(f"aa1:{HASH}:popuser:{where}/{opened}")
        host.done()
    old, new, swapped = (open_side(tmp_path / name, None, None) for name in ("old", "new", "swapped"))
    assert Boxes(old, new).same(f"{top}/ann/Maildir", f"{placed}/ann/Maildir")  # no login opens it on either
    assert not Boxes(old, swapped).same(f"{top}/ann/Maildir", f"{placed}/ann/Maildir")
