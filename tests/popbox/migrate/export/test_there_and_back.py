"""Old host -> popbox -> Dovecot -> popbox: the same UIDLs in the same order at each station, and those of new mail."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from tests.popbox.conformance.servers import POPUSER
from tests.popbox.migrate.conftest import Verify
from tests.popbox.migrate.export.homes import DOMAIN, dovecot, export, home_of, maildir, run, served
from tests.popbox.migrate.houses import DOVECOT_NEEDS, NOW, csv, text
from tests.popbox.migrate.programs import mailhost

FORMATS = ["%08Xu%08Xv", "%v.%u", "%f", "UID%03u-%4v"]
USERS = [f"user{number}" for number in range(5)]
pytestmark = pytest.mark.needs(*DOVECOT_NEEDS)


def arrived(folder: Path, name: str, number: int, age_s: int) -> None:
    """A message that came while Dovecot served the box; its date may lie before those of others."""
    path = folder / "new" / name
    path.write_bytes(text(number))
    os.utime(path, (NOW + age_s, NOW + age_s))
    os.chown(path, POPUSER, POPUSER)


def back(place: Path) -> Path:
    """An old host whose boxes are those that Dovecot has served."""
    old = place / "back"
    shutil.copytree(place / "home", old, symlinks=True)
    for name in USERS:
        shutil.rmtree(maildir(old, name))
        shutil.copytree(place / "out/mail" / DOMAIN / name / "Maildir", maildir(old, name))
    return old


@pytest.mark.parametrize("form", FORMATS)
def test_uidls_and_order_stay(place: Path, verify: Verify, form: str) -> None:
    home = home_of(place)
    code, said = export(place, "dovecot")
    assert code == 0, said
    accounts = csv(place / "a.csv", USERS)
    with served(home) as first, dovecot(place / "out", f"pop3_uidl_format = {form}\n") as second:
        assert verify(first, second, accounts)[0] == 0
        for number, name in enumerate(USERS):
            folder = place / "out/mail" / DOMAIN / name / "Maildir"
            arrived(folder, f"{NOW + 5000}.M1.dovecot", 80 + number, -1000)
            arrived(folder, f"{NOW + 6000}.M2.dovecot", 90 + number, 500)
        verify(second, second, accounts)  # a session: Dovecot numbers them
        new = place / "new"
        mailhost(new, "init", "--me", "mail.popbox.invalid")
        argv = ["import", str(back(place)), "--to", str(place / "to"), "--home", str(new), "--dovecot-uidl", form]
        argv += ["--as", str(home)]
        code, said = run(*argv)
        assert code == 0, said
        for profile in ("rfc1939", "qmail"):
            with served(new, profile) as third:
                code, report = verify(second, third, accounts)
                assert (code, report["totals"]["messages_old"]) == (0, 105), report["output"]
                (place / "new.log").unlink()
    code, said = run(*argv, "--final")
    assert code == 0, said
    assert "copied 0 messages" in said


def test_what_cannot_be_read_or_kept_is_lost(place: Path) -> None:
    home = home_of(place)
    (maildir(home, "user0") / "dovecot-uidlist").write_text("3 V1 N9 G" + "0" * 32 + "\n1 rubbish\n")
    (maildir(home, "user1") / "dovecot-uidlist").write_text("7 what\n")
    name = next((maildir(home, "user2") / "new").iterdir()).name
    (maildir(home, "user2") / "dovecot-uidlist").write_text(f"3 V1 N9 G{'0' * 32}\n1 Pa/b :{name}\n")
    for user in ("user3", "user4"):
        (maildir(home, user) / "dovecot-uidlist").write_text("3 V1 N9 G" + "0" * 32 + "\n")
    code, said = run("import", str(home), "--to", str(place / "to"), "--dovecot-uidl", "%08Xu%08Xv")
    assert code == 1
    assert "user0/Maildir/dovecot-uidlist: UIDLs: line 2: names no file: files keep their names" in said
    assert "user1/Maildir/dovecot-uidlist: UIDLs: line 1: is of no known version" in said
    assert f"user2/Maildir/dovecot-uidlist: UIDL a/b of {name}: no file name holds a /" in said
    assert said.count("lost: ") == 3
    assert "copied 95 messages" in said
    with pytest.raises(Exception, match="came from files with Dovecot's UIDLs by %08Xu%08Xv so far, not from files"):
        run("import", str(home), "--to", str(place / "to"))


@pytest.mark.parametrize("form", ["%m", "%g", "%v", "x", "%", "%08Qu", "%Xf"])
def test_a_format_that_tells_no_messages_apart_is_refused(form: str, place: Path) -> None:
    with pytest.raises(Exception, match="is no pop3_uidl_format"):
        run("import", str(place), "--to", str(place / "to"), "--dovecot-uidl", form)


def test_audit_says_that_dovecot_has_served_it(place: Path) -> None:
    home = home_of(place)
    (maildir(home, "user0") / "dovecot-uidlist").write_text("3 V1 N9\n")
    code, said = run("audit", str(home))
    assert code == 1
    assert "Dovecot has served this Maildir [uidl-dovecot]" in said
