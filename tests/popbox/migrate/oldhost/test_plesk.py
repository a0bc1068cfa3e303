"""A host of the Plesk panel: numbers as prefixes, a wild line a domain that ends in its number, mail in mailnames/."""

from __future__ import annotations

from pathlib import Path

from tests.popbox.migrate.oldhosts import QMAIL, assign, audited, controls, maildir, put

from popbox.migrate.audit.audit import Audit

NAMES = "/var/qmail/mailnames"
REFUSES = '|bouncesaying "This address no longer accepts mail."\n'
DELIVERS = "| true\n| /usr/bin/deliverquota ./Maildir\n"


def plesk(root: Path, rest: str = REFUSES) -> Audit:
    """Two domains, 1 and 10, with a box each; ``rest``: example.org's .qmail-default."""
    home = controls(root, {"example.com": "1", "example.org": "10"})
    domains = {"1": "example.com", "10": "example.org"}
    wild = [f"+{number}:popuser:110:31:{NAMES}/{domain}:::" for number, domain in domains.items()]
    boxes = (("1-joe", "example.com/joe"), ("1-webmaster", "example.com/joe"), ("10-bob", "example.org/bob"))
    assign(home, *(f"={name}:popuser:110:31:{NAMES}/{box}:::" for name, box in boxes), *wild)
    put(root / "etc/passwd", "popuser:x:110:31:POP3 service user:/var/qmail/popuser:/bin/false\n")
    for box in ("example.com/joe", "example.org/bob"):
        maildir(root / QMAIL / "mailnames" / box / "Maildir")
        put(root / QMAIL / "mailnames" / box / ".qmail", DELIVERS)
    put(root / QMAIL / "mailnames/example.com/.qmail-default", REFUSES)
    put(root / QMAIL / "mailnames/example.org/.qmail-default", rest)
    return audited(root, None)


def test_a_domain_whose_longer_line_refuses_the_rest_gets_no_catchall_of_a_shorter_one(tmp_path: Path) -> None:
    """``+1`` takes 10-x too, but ``+10`` is longer and comes first (Q-LSP-4), whatever it does with the mail."""
    found = plesk(tmp_path)
    com, org = (found.accounts.domains[name] for name in ("example.com", "example.org"))
    assert (sorted(com.boxes), com.boxes["joe"].aliases, com.catchall) == (["joe"], ["webmaster"], None)
    assert (sorted(org.boxes), org.forwards, org.catchall) == (["bob"], {}, None)
    assert {"assign-no-dash", "dotqmail-missing"} & {one.rule for one in found.findings} == set()


def test_the_rest_of_a_line_that_ends_in_the_number_is_dotqmail_default(tmp_path: Path) -> None:
    """Q-DOT-5: behind ``+10`` the address goes on with the dash, so its .qmail-default counts."""
    org = plesk(tmp_path, "&bob@example.org\n").accounts.domains["example.org"]
    assert org.catchall == "bob"


def test_where_the_passwords_are_is_said(tmp_path: Path) -> None:
    [lost] = [one for one in plesk(tmp_path).left if one.what == "the logins of all mailboxes"]
    assert (lost.lost, "database psa" in lost.why) == (True, True)
