"""Any old host that the makers of `oldtrees` make: an import ends with 0 and nothing is lost, or it names each loss.

nice python -m tests.popbox.migrate.test_property SECONDS [FIRST-SEED]     a longer run, with a line for each fault

The seeds of the test are always the same ones.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from unittest import mock

import pytest
from click.testing import CliRunner, Result
from tests.places import in_memory
from tests.popbox.migrate.oldtrees import LOCAL, MAKERS, NAMES, SECOND, damage
from tests.popbox.migrate.oracle import Oracle, Sink

from mailhost.cli import main as mailhost
from popbox.cli.migrate import migrate
from popbox.migrate.copy.destination import Place

ME = "mail.popbox.invalid"
TRIO = ("postmaster", "root", "mailer-daemon")
ROOM_OCTETS = 256 << 20
EXAMPLES = 10  # of each dialect; about 60 s for all of them on a quiet machine
PROBES = [*NAMES, "joe-zz", "ann-zz", "list-zz", "list-info", "ann-x-zz", "joe-x-zz", "other", "webmaster", "sales",
          "postmaster", "root", "a.b-zz", "Ben", "ben", "t.m", "ann-x", "up", "tim"]  # fmt: skip


def _mailhost(_place: Place, home: Path, *argv: str) -> str:
    """`Place` starts the program; here it runs in this process, which is quicker, but for what gives root up."""
    if argv[0] == "mailbox":
        return ""
    done = CliRunner().invoke(mailhost, ["--home", str(home), *argv])
    assert done.exit_code == 0, (argv, done.output, done.exception)
    return done.output


def imported(root: Path, to: Path, dialect: str) -> tuple[Result, Path]:
    """An import onto a qmail home of its own."""
    home = to / "home"
    _mailhost(Place(to), home, "init", "--me", ME)
    argv = ["import", str(root), "--to", str(to / "to"), "--home", str(home), "--dialect", dialect]
    with mock.patch.object(Place, "_mailhost", _mailhost):
        return CliRunner().invoke(migrate, argv, standalone_mode=False), home


class NewHost:
    """The home that an import made, by its files and by `mailhost explain`."""

    def __init__(self, home: Path) -> None:
        self.home = home
        rows = [line.split(":") for line in (home / "users/poppasswd").read_text().splitlines()]
        self.boxes = {row[0]: f"{row[3]}/Maildir" for row in rows}

    def ends(self, addresses: list[str]) -> dict[str, list[list[str]]]:
        """What each address ends in."""
        argv = [sys.executable, "-m", "mailhost", "--home", str(self.home), "explain", "--batch"]  # it gives root up
        asked = "".join(f"{one}\n" for one in addresses)
        done = subprocess.run(argv, input=asked, capture_output=True, text=True, check=True)
        told = [json.loads(line)["ends"] for line in done.stdout.splitlines()[1:]]
        return dict(zip(addresses, told, strict=True))

    def messages(self, login: str) -> set[bytes]:
        """The numbers of the messages that a login opens."""
        return Oracle(Path("/"), "").messages(self.boxes[login]) if login in self.boxes else set()


def faults(root: Path, to: Path, dialect: str, *, whole: bool) -> list[str]:
    """What an import of this tree lost without a word; ``whole``: the tree is not damaged."""
    result, home = imported(root, to, dialect)
    if result.exception is not None:
        return ["".join(traceback.format_exception(result.exception))[-1500:]]
    lost = [line for line in result.output.splitlines() if line.startswith(("lost: ", "not done: ", "... and "))]
    if result.return_value not in (0, 1) or (result.return_value == 0) == bool(lost):
        return [f"exit code {result.return_value}, with {lost}"]
    if not whole:  # what a damaged host did is not asked, only that the end is an orderly one
        return []
    old, new = Oracle(root, LOCAL), NewHost(home)
    logins = old.logins()
    return _login_faults(old, new, logins, lost) + _address_faults(old, new, logins, lost, dialect)


def _login_faults(old: Oracle, new: NewHost, logins: dict[str, list[str]], lost: list[str]) -> list[str]:
    told = []
    for login, places in logins.items():
        opened = set().union(*(old.messages(place) for place in places))
        if opened and new.messages(login) != opened and not _named(lost, [_shown(login), *map(_shown, places)]):
            told.append(f"login {login}: {opened} was opened, now {new.messages(login)}; exit {bool(lost)}")
    return told


def _address_faults(
    old: Oracle, new: NewHost, logins: dict[str, list[str]], lost: list[str], dialect: str
) -> list[str]:
    addresses = [
        f"{local}@{domain}"
        for domain in (LOCAL, *old.virtual)
        for local in PROBES
        if domain != SECOND or domain in old.virtual
    ]
    there = new.ends([one.replace(LOCAL, ME) if _of_host(one, dialect) else one for one in addresses])
    told = []
    for address, ends in zip(addresses, there.values(), strict=True):
        local, domain = address.split("@")
        if domain == LOCAL and any(f"{local.lower()}-".startswith(f"{prefix}-") for prefix in old.virtual.values()):
            continue  # the inner name of an address of a virtual domain, which has a name of its own in the new home
        sinks = old.sinks(local, domain)
        if sinks and (why := _missing(sinks, ends, new, logins)):
            parts = local.lower().split("-")
            words = [f"{'-'.join(parts[:end])}-..." for end in range(1, len(parts) + 1)] + [f" {parts[0]}...@"]
            words += [f" {local.lower()}@", f" {local}@", f" {local.lower()}:", f"'{local}'"]
            words += [f" {_shown(where)}: more mail of" for kind, where in sinks if kind == "store"]
            words += ["catchall", "unknown addresses", "all addresses", "default", "virtual "]
            if not _named(lost, words):
                told.append(f"{address}: was {sinks}, now {ends}: {why}; exit {bool(lost)}")
    return told


def _of_host(address: str, dialect: str) -> bool:
    return dialect != "system" and address.split("@")[0] in TRIO and address.endswith(LOCAL)


def _missing(sinks: set[Sink], ends: list[list[str]], new: NewHost, logins: dict[str, list[str]]) -> str:
    """What of the old sinks the new ends lack."""
    maildirs = {end[1].rstrip("/") for end in ends if end[0] == "maildir"}
    remote = {end[1] for end in ends if end[0] == "remote"}
    if not maildirs and not remote:
        return "takes no mail"
    for kind, where in sinks:
        if kind == "remote" and where not in remote:
            return f"does not reach {where}"
        owners = [login for login, places in logins.items() if where in places] if kind == "store" else []
        if owners and not any(new.boxes.get(login) in maildirs for login in owners):
            return f"does not reach the mailbox of {owners}"
        if kind == "store" and not maildirs:
            return "reaches no mailbox"
    return ""


def _shown(text: str) -> str:
    """As findings show octets that are no UTF-8."""
    return text.encode("latin-1", "replace").decode("utf-8", "backslashreplace")


def _named(lost: list[str], words: list[str]) -> bool:
    told = [line.replace(2 * chr(92), chr(92)) for line in lost]
    return any(word in line for line in told for word in words)


def attempt(seed: int, dialect: str, *, damaged: bool) -> list[str]:
    """One tree by its seed, audited and imported."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="popbox-property-", dir=in_memory(ROOM_OCTETS)) as name:
        Path(name).chmod(0o755)  # popuser reads what is imported
        root = Path(name).resolve() / "old"
        root.mkdir()
        MAKERS[dialect](root, chance)
        if damaged:
            damage(root, chance)
        return faults(root, Path(name).resolve() / "new", dialect, whole=not damaged)


@pytest.mark.parametrize("dialect", MAKERS)
@pytest.mark.parametrize("seed", range(EXAMPLES))
def test_nothing_is_lost_without_a_word(dialect: str, seed: int) -> None:
    assert attempt(seed, dialect, damaged=seed % 3 == 0) == [], f"seed {seed}"


def main(seconds: float, first: int) -> None:
    """Go on from seed to seed."""
    end, seed, found = time.monotonic() + seconds, first, 0
    while time.monotonic() < end:
        for dialect in MAKERS:
            for damaged in (False, True):
                for fault in attempt(seed, dialect, damaged=damaged):
                    found += 1
                    print(f"seed {seed} {dialect} damaged={damaged}: {fault}", flush=True)
        seed += 1
    print(f"seeds {first} to {seed - 1}, each in {len(MAKERS)} dialects, whole and damaged: {found} faults")


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
