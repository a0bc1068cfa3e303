"""Every pitfall has its hint, and a correct host has none."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from tests.mailhost.qmail.support import Home
from tests.needs import require

from mailhost.qmail.hints import Hint, hints
from mailhost.qmail.route import route

Trap = Callable[[Home], None]


def said(host: Home, address: str) -> list[str]:
    """The facts the hints rest on."""
    return [hint.fact for hint in hints(host.path, route(host.path, address.encode()))]


def test_a_sound_host_needs_no_hint(howto: Home) -> None:
    assert said(howto, "joe@domain.com") == []


def rewrite_dot_qmail(text: str, mode: int = 0o600, name: str = ".qmail") -> Trap:
    def spring(host: Home) -> None:
        (host.path / "box/joe/.qmail").unlink()
        path = host.path / "box/joe" / name
        path.write_text(text)
        Home.own(path)
        path.chmod(mode)

    return spring


def maildir(name: str, mode: int, uid: int | None = None) -> Trap:
    def spring(host: Home) -> None:
        if uid is not None:
            require("root")  # only root can give a directory to another user
        path = host.path / "box/joe/Maildir" / name
        path.chmod(mode)
        os.chown(path, uid if uid is not None else -1, -1)

    return spring


def control(name: str, text: str) -> Trap:
    return lambda host: host.control(name, text) and None  # type: ignore[func-returns-value]


def assign(*lines: str, end: str = ".\n", build: bool = True) -> Trap:
    return lambda host: host.assign(*lines, end=end, build=build) and None  # type: ignore[func-returns-value]


def chmod(mode: int) -> Trap:
    return lambda host: (host.path / "box/joe").chmod(mode)


JOE = "=domain-com-joe:IDS:BOX/joe:::"
TRAPS: list[tuple[str, Trap, str, str]] = [
    # address, what is wrong, fact, a word of the hint
    ("joe@new.com", control("me", "x\n"), "H-7", "`mailhost domain add new.com` makes it a domain of this host"),
    ("joe@new.com", control("virtualdomains", "new.com:new\n"), "H-7", "new.com, add it to control/rcpthosts"),
    ("joe@new.com", control("virtualdomains", "new.com:new\n"), "H-2", "control/virtualdomains has the domain"),
    ("joe@new.com", control("relayclients", "10.0.0.1\n"), "Q-RCPT-7", "from clients in control/relayclients"),
    ("joe@new.com", control("locals", "new.com\n"), "H-2", "control/locals has the domain"),
    ("joe@new.com", control("rcpthosts", ".new.com\n"), "E-5", ".new.com, which covers its subdomains"),
    ("joe@new.com", control("rcpthosts", "new.com\r\n"), "E-10", "carriage return"),
    ("joe@new.com", control("morercpthosts", "new.com\n"), "Q-RCPT-10", "run `mailhost newmrh`"),
    ("joe@domain.com.", control("me", "x\n"), "E-4", "a dot at its end"),
    ("joe@domain.com", control("virtualdomains", "other:x\n"), "H-2", "so the mail leaves"),
    ("joe@domain.com", control("virtualdomains", ".domain.com:x\n"), "E-5", "covers its subdomains"),
    ("joe@domain.com", control("virtualdomains", "other:x\n"), "H-3", "HUP"),
    ("joe@domain.com", control("virtualdomains", "domain.com:\n"), "Q-VDOM-3", "virtualdomains:1"),
    ("joe@domain.com", control("locals", "domain.com\n"), "H-10", "control/locals has the domain"),
    ("joe@domain.com", control("me", "domain.com\n"), "H-10", "in place of the missing control/locals"),
    ("joe@domain.com", control("virtualdomains", "domain.com: p\n"), "E-9", "space after the colon"),
    ("joe@domain.com", control("virtualdomains", "domain.com:p\r\n"), "E-10", "part of the prefix"),
    ("joe@domain.com", assign(JOE, "rubbish", build=False), "H-21", "users/assign:2"),
    ("joe@domain.com", assign("=x:IDS:/h:::", build=False), "H-20", "has no line for it any more"),
    ("joe@domain.com", lambda host: (host.path / "users/assign").unlink(), "H-20", "missing: users/cdb decides"),
    ("new@domain.com", assign(JOE, "=domain-com-new:IDS:BOX/joe:::", build=False), "H-20", "run `mailhost newu`"),
    ("joe@domain.com", assign(JOE, "=x:IDS:/h:::", build=False), "H-20", "makes no difference"),
    ("nobody@domain.com", assign(JOE), "H-6", "no such mailbox"),
    ("joe-x@domain.com", assign(JOE), "H-13", "+domain-com-joe- with dash -"),
    ("new@domain.com", assign(JOE + "=domain-com-new:IDS:/h:::"), "H-18", "users/assign:1: its entry follows another"),
    ("JOE@domain.com", assign("+domain-com-JOE:IDS:BOX/joe:::"), "E-24", "ends in a capital letter"),
    ("joe@domain.com", assign("=domain-com-joe:u:abc:1:BOX/joe:::"), "H-14", "0 or not a number"),
    ("joe@domain.com", assign("=domain-com-joe:IDS:box:::"), "E-33", "begin with /"),
    ("joe@domain.com", assign("=domain-com-joe:IDS:BOX/none:::"), "H-15", "must exist"),
    ("joe@domain.com", chmod(0o777), "H-15", "chmod o-w"),
    ("joe@domain.com", chmod(0o1700), "Q-LOCAL-4", "chmod -t"),
    ("joe@domain.com", rewrite_dot_qmail("./Maildir/\n", 0o602), "Q-DOT-8", "chmod o-w"),
    ("joe@domain.com", rewrite_dot_qmail("./Maildir/\n", 0o700), "E-45", "chmod -x"),
    ("joe@domain.com", rewrite_dot_qmail("|true\n", 0o700), "E-45", "chmod -x"),
    ("joe@domain.com", rewrite_dot_qmail("./Maildir\n"), "E-46", "no / at its end"),
    ("joe@domain.com", rewrite_dot_qmail("/dev/null\n"), "E-59", "names no file that can be synced"),
    ("joe@domain.com", rewrite_dot_qmail(" ./Maildir/\n"), "E-48", "is a forward"),
    ("joe@domain.com", rewrite_dot_qmail("./Maildir/\r\n"), "Q-LINE-5", "carriage return"),
    ("joe@domain.com", rewrite_dot_qmail("./None/\n"), "H-34", "./None: file does not exist (maildirmake"),
    ("joe@domain.com", maildir("tmp", 0o500), "H-34", "./Maildir/tmp has mode 0500: its owner cannot write there"),
    ("joe@domain.com", maildir("new", 0o700, 4711), "H-34", "./Maildir/new belongs to uid 4711, mail is delivered as"),
    ("joe@domain.com", maildir("", 0o200), "H-34", "./Maildir has mode 0200"),
    ("joe@domain.com", rewrite_dot_qmail(""), "Q-LINE-1", ".qmail is empty"),
    ("joe@domain.com", rewrite_dot_qmail("#\n"), "E-42", "no delivery line"),
    ("joe@domain.com", rewrite_dot_qmail("./Maildir/\n", name=".qmail-default"), "H-16", "is not read"),
    ("joe@domain.com", assign("+domain-com-:IDS:BOX/joe:::"), "H-17", "no .qmailjoe, .qmaildefault"),
    ("joey@domain.com", assign("+domain-com-joe:IDS:BOX/joe:::"), "H-13", "takes every name with this prefix"),
    ("joey@domain.com", assign("+domain-com-joe:IDS:BOX/joe:::"), "H-13", "no .qmaily, .qmaildefault"),
    ("joe@domain.com", assign("+domain-com-:IDS:BOX/joe:-::"), "E-38", ".qmail-default is missing"),
    ("@domain.com", control("locals", "domain.com\n"), "E-19", "the local part is empty"),
]


@pytest.mark.parametrize("address", ["joe@[127.0.0.1]", "joe@127.0.0.1", "joe@x;id", "joe@$(id)"])
def test_no_command_is_advised_that_would_be_refused(howto: Home, address: str) -> None:
    told = [hint.text for hint in hints(howto.path, route(howto.path, address.encode()))]
    assert not [text for text in told if "domain add" in text]


@pytest.mark.parametrize(("address", "trap", "fact", "words"), TRAPS)
def test_a_trap_and_its_hint(howto: Home, address: str, trap: Trap, fact: str, words: str) -> None:
    trap(howto)
    found = hints(howto.path, route(howto.path, address.encode()))
    assert [hint for hint in found if hint.fact == fact and words in hint.text], found


def test_e_12_an_open_relay_is_said_about_every_address(howto: Home) -> None:
    (howto.path / "control/rcpthosts").unlink()
    assert said(howto, "joe@domain.com") == ["E-12"]


def test_h_6_alias_taking_misspelt_addresses(howto: Home) -> None:
    (howto.path / "alias/.qmail-default").write_text("./Mailbox\n")
    assert said(howto, "jo@domain.com") == ["H-6"]


def test_e_32_a_damaged_cdb(howto: Home) -> None:
    (howto.path / "users/cdb").write_bytes(b"x")
    assert "E-32" in said(howto, "joe@domain.com")


def test_q_getpw_4_a_system_account(howto: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    account = type("Account", (), {})()
    account.pw_name, account.pw_uid, account.pw_gid = "domain", (howto.path / "box/joe").stat().st_uid, 1
    account.pw_dir = str(howto.path / "box/joe")
    monkeypatch.setattr("mailhost.qmail.lookup.find_account", lambda name: account if name == "domain" else None)
    assert "Q-GETPW-4" in said(howto, "nobody@domain.com")


def test_relayclients_that_cannot_be_read_are_no_matter_of_explain(howto: Home) -> None:
    (howto.path / "control/relayclients").mkdir()
    assert said(howto, "joe@new.com") == ["H-7"]


def test_q_smtp_4_unreadable_controls(howto: Home) -> None:
    (howto.path / "control/badmailfrom").mkdir()
    (hint,) = hints(howto.path, route(howto.path, b"joe@domain.com"))
    assert hint == Hint("Q-SMTP-4", hint.text)
    assert "control/badmailfrom" in hint.text
