"""`mailhost lint` on forwards that come back."""

from __future__ import annotations

import os

from tests.mailhost.cli.lint.cases import PART, add, findings, write
from tests.mailhost.cli.support import Host

from mailhost.accounts.lint.forwards import components
from mailhost.qmail.dotqmail import Instruction, Kind


def test_e_54_forwards_that_come_back_are_named_line_by_line(howto: Host) -> None:
    """Over domains, through a catchall, extensions and ~alias; what only leads to a loop is no part of it."""
    howto.ok("domain", "add", "other.org")
    howto.ok("forward", "add", "a@domain.com", "x@elsewhere.example", "b@other.org")
    howto.ok("forward", "add", "b@other.org", "c@domain.com")
    howto.ok("forward", "add", "c@domain.com", "a@domain.com", "joe@domain.com")
    howto.ok("forward", "add", "outside@domain.com", "a@domain.com")
    howto.ok("forward", "add", "straight@domain.com", "joe@domain.com")
    boxes = howto.home / "popboxes"
    wide = f"+domain-com-:{howto.owner}:{boxes}/wide:-::\n"
    add(PART, wide)(howto)
    (boxes / "wide").mkdir(0o700)
    write("popboxes/wide/.qmail-default", "&nobody-has-this@domain.com\n")(howto)
    write("popboxes/wide/.qmail-one", "&two@domain.com\n")(howto)
    write("popboxes/wide/.qmail-two", "&one@domain.com\n")(howto)
    howto.ok("rebuild")
    (howto.home / "alias").mkdir(exist_ok=True)
    os.chown(howto.home / "alias", os.geteuid() or 4711, -1)
    write("alias/.qmail-postmaster", "&postmaster@mail.example.net\n")(howto)
    found = {(f["file"], f["line"]) for f in findings(howto) if f["rule"] == "forward-loop"}
    assert found == {
        ("popboxes/domain-com/a/.qmail", 2),
        ("popboxes/other-org/b/.qmail", 1),
        ("popboxes/domain-com/c/.qmail", 1),
        ("popboxes/wide/.qmail-default", 1),
        ("popboxes/wide/.qmail-one", 1),
        ("popboxes/wide/.qmail-two", 1),
        ("alias/.qmail-postmaster", 1),
    }
    said = howto.run("lint").output
    assert "a/.qmail: line 2: error: b@other.org leads to popboxes/other-org/b/.qmail, and from there back" in said
    assert "alias/.qmail-postmaster: line 1: error: postmaster@mail.example.net leads to this very file" in said


def test_a_chain_of_many_forwards_is_walked_without_recursion() -> None:
    line = Instruction(Kind.FORWARD, b"x@y", 1)
    chain = {b"%d" % n: [(b"%d" % (n + 1), line)] for n in range(5000)} | {b"5000": []}
    assert len(set(components(chain).values())) == 5001
    chain[b"5000"] = [(b"0", line)]
    assert len(set(components(chain).values())) == 1
