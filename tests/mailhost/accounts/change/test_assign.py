"""users/assign joined from its parts: what qmail-newu refuses does not get there, and ours is told from a hand's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mailhost.accounts.change import assign
from mailhost.accounts.change.journal import HostEffects
from mailhost.accounts.change.transaction import Transaction
from mailhost.accounts.errors import BusyError, HostError, InputError
from mailhost.accounts.layout import layout

ENTRY = b"+%s-:popuser:888:888:/home:-:%s-:\n"


@pytest.fixture
def hands(tmp_path: Path) -> HostEffects:
    for name in ("control", "users/domains", "alias", "popboxes", "users/.mailhost"):
        (tmp_path / name).mkdir(parents=True)
    return HostEffects(layout(tmp_path), lambda _home: None)


def join(hands: HostEffects, **changed: bytes) -> bytes:
    with Transaction(hands) as change:
        assign.stage(change, {f"{name}.com": text for name, text in changed.items()}, set())
        change.commit()
    return (hands.layout.users / "assign").read_bytes()


def entry(name: bytes) -> bytes:
    return ENTRY % (name, name)


def test_parts_are_joined_in_their_order(hands: HostEffects) -> None:
    assert join(hands, b=entry(b"b")) == entry(b"b") + b".\n"
    assert join(hands, a=entry(b"a")) == entry(b"a") + entry(b"b") + b".\n"


@pytest.mark.parametrize(
    ("text", "line", "fault"),
    [
        (b"#+x:p:8:8:/h:-:x:\n", 1, "a comment"),
        (b"\n" + entry(b"b"), 1, "an empty line"),
        (b".\n" + entry(b"b"), 1, "a line that starts with a dot"),
        (entry(b"b") * 2 + b":p:8:8:/h:-:x:\n", 3, "an entry without an address"),
        (entry(b"b") + b"+x:p:8\n", 2, "a line with 2 colons, where an entry has seven"),
        (b"+x\0:p:8:8:/h:-:x:\n", 1, "a NUL octet"),
    ],
)
def test_a_part_that_would_break_it_is_named_with_its_line(
    hands: HostEffects, text: bytes, line: int, fault: str
) -> None:
    was = join(hands, a=entry(b"a"))
    (hands.layout.parts / "b.com").write_bytes(text)
    with pytest.raises(InputError, match=fault) as caught:
        join(hands, a=entry(b"new"))
    assert f"b.com: line {line}: " in str(caught.value)
    assert (hands.layout.users / "assign").read_bytes() == was


def test_a_part_without_a_last_line_end_would_run_into_the_next(hands: HostEffects) -> None:
    (hands.layout.parts / "b.com").write_bytes(entry(b"b")[:-1])
    with pytest.raises(InputError, match="does not end in a newline"):
        join(hands, a=entry(b"a"))


def test_what_a_hand_takes_out_of_a_part_goes_from_what_we_wrote(hands: HostEffects) -> None:
    join(hands, a=entry(b"a"), b=entry(b"b") + entry(b"c"))
    (hands.layout.parts / "b.com").write_bytes(entry(b"b"))
    assert join(hands, a=entry(b"new")) == entry(b"new") + entry(b"b") + b".\n"


def test_what_a_hand_added_to_users_assign_is_not_lost(hands: HostEffects) -> None:
    ours = join(hands, a=entry(b"a"))
    path = hands.layout.users / "assign"
    path.write_bytes(entry(b"mine") + ours)
    with pytest.raises(HostError, match="users/assign: line 1: is in no file of users/domains"):
        join(hands, a=entry(b"new"))
    assert path.read_bytes() == entry(b"mine") + ours


def test_a_line_added_by_hand_that_a_part_gets_now_is_taken_over(hands: HostEffects) -> None:
    ours = join(hands, a=entry(b"a"))
    (hands.layout.users / "assign").write_bytes(entry(b"mine") + ours)
    assert join(hands, mine=entry(b"mine")) == entry(b"a") + entry(b"mine") + b".\n"


def test_a_line_longer_than_what_is_read_at_once_is_one_line(hands: HostEffects) -> None:
    long = b"+x:popuser:888:888:/home:-:x-:" + b"y" * (5 << 19) + b"\n"
    (hands.layout.parts / "b.com").write_bytes(long + b"+z:p:8\n")
    with pytest.raises(InputError, match=r"b\.com: line 2: a line with 2 colons"):
        join(hands, a=entry(b"a"))
    (hands.layout.parts / "b.com").write_bytes(long + entry(b"b"))
    assert join(hands, a=entry(b"a")) == entry(b"a") + long + entry(b"b") + b".\n"


def test_a_part_larger_than_any_of_ours_is_not_read(hands: HostEffects, monkeypatch: pytest.MonkeyPatch) -> None:
    (hands.layout.parts / "b.com").write_bytes(entry(b"b"))
    monkeypatch.setattr(assign, "OWN_OCTETS", len(entry(b"b")))
    join(hands, a=entry(b"a"))
    opened = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(assign, "OWN_OCTETS", len(entry(b"b")) - 1)
    with pytest.raises(InputError, match=r"b\.com: is larger than .* octets, and not read"):
        join(hands, a=entry(b"new"))
    assert len(os.listdir("/proc/self/fd")) == opened, "also of one that is refused nothing stays open"


@pytest.mark.parametrize("name", ["domain.com~", "Domain.com", "folder.example"])
def test_what_is_no_part_of_a_domain_is_named(hands: HostEffects, name: str) -> None:
    """It would count twice, or end the change in the middle."""
    path = hands.layout.parts / name
    path.mkdir() if name == "folder.example" else path.touch()
    with pytest.raises(InputError, match=f"^users/domains/{name}: is not a file named like a domain"):
        assign.part_files(hands.layout)


def test_without_users_domains_the_hint_is_init(hands: HostEffects) -> None:
    hands.layout.parts.rmdir()
    with pytest.raises(BusyError, match=r"missing; `mailhost init` makes it"):
        assign.part_files(hands.layout)
