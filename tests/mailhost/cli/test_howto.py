"""The HOWTO's example, byte for byte, and its statements on provisioning, by name."""

from __future__ import annotations

import stat
from pathlib import Path

from tests.mailhost.cli.support import HOWTO_CRYPT, Host

from mailhost.qmail.assign import lookup
from mailhost.qmail.cdb.reader import Cdb


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_h12_the_assign_line(howto: Host) -> None:
    line = f"=domain-com-joe:{howto.owner}:{howto.home}/popboxes/domain-com/joe:::\n"
    assert howto.text("users/domains/domain.com") == line
    assert howto.text("users/assign") == line + ".\n"


def test_h12_byte_for_byte_below_var_qmail() -> None:
    from mailhost.accounts.files.domain_part import Kind, Part
    from mailhost.accounts.layout import Identity

    part = Part("domain-com", "/var/qmail/popboxes/domain-com", "domain.com")
    part.add(Kind.EXACT, "joe", "joe", Identity("popuser", 888, 888))
    assert part.render() == b"=domain-com-joe:popuser:888:888:/var/qmail/popboxes/domain-com/joe:::\n"


def test_h26_the_poppasswd_line(howto: Host) -> None:
    user = howto.owner.split(":")[0]
    assert howto.text("users/poppasswd") == f"testid:{HOWTO_CRYPT}:{user}:{howto.home}/popboxes/domain-com/joe\n"


def test_h7_h8_the_control_lines(howto: Host) -> None:
    assert howto.text("control/rcpthosts") == "domain.com\n"
    assert howto.text("control/virtualdomains") == "domain.com:domain-com\n"
    assert howto.text("control/locals") == "mail.example.net\n"


def test_h15_h34_the_box_and_its_maildir(howto: Host) -> None:
    box = howto.home / "popboxes/domain-com/joe"
    for path in (box, *(box / "Maildir" / name for name in (".", "tmp", "new", "cur"))):
        assert mode(path) == 0o700
        assert f"{path.stat().st_uid}:{path.stat().st_gid}" == howto.owner.partition(":")[2]
    assert mode(box.parent) == 0o755
    assert (box / ".qmail").read_text() == "./Maildir/\n"
    assert not mode(box / ".qmail") & 0o022


def test_h20_the_cdb_answers_at_once(howto: Host) -> None:
    found = lookup(Cdb(howto.home / "users/cdb"), b"domain-com-JOE")
    assert found is not None
    assert found.home == f"{howto.home}/popboxes/domain-com/joe".encode()


def test_q_perm_7_nobody_else_reads_the_hashes(howto: Host) -> None:
    assert mode(howto.home / "users/poppasswd") == 0o600
    assert mode(howto.home / "users/cdb") == 0o644


def test_a_writer_keeps_owner_group_and_mode_of_poppasswd(howto: Host) -> None:
    path = howto.home / "users/poppasswd"
    path.chmod(0o640)
    howto.ok("mailbox", "add", "ann@domain.com", "--crypt", HOWTO_CRYPT)
    assert mode(path) == 0o640
