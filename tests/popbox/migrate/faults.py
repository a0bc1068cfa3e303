# ruff: noqa: E501 - one fault a line
"""Things to break on a clean old host, and where the audit must say so."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from tests.popbox.migrate.oldhosts import HASH, QMAIL, maildir, message, put

from mailhost.qmail.assign import newu

JOE = f"{QMAIL}/popboxes/domain-com/joe"
VDOMAIN = "home/vpopmail/domains/v.example"


def edit(file: str, old: str, new: str) -> Callable[[Path], None]:
    """Change a text in a file, keeping its mode and its date."""

    def change(root: Path) -> None:
        path, status = root / file, (root / file).stat()
        text = path.read_bytes().decode("latin-1")
        assert old in text
        path.write_bytes(text.replace(old, new, 1).encode("latin-1"))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    return change


def append(file: str, text: str) -> Callable[[Path], None]:
    """Add to a file."""
    return edit_all(file, lambda there: there + text)


def before_dot(line: str) -> Callable[[Path], None]:
    """Add a line to users/assign."""
    return edit_all(f"{QMAIL}/users/assign", lambda there: there.replace("\n.\n", f"\n{line}\n.\n"))


def edit_all(file: str, how: Callable[[str], str]) -> Callable[[Path], None]:
    """Rewrite a file, keeping its date."""

    def change(root: Path) -> None:
        path, status = root / file, (root / file).stat()
        path.write_bytes(how(path.read_bytes().decode("latin-1")).encode("latin-1"))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    return change


def gone(file: str) -> Callable[[Path], None]:
    """Remove a file or an empty directory."""
    return lambda root: (root / file).rmdir() if (root / file).is_dir() else (root / file).unlink()


def moved(file: str, name: str) -> Callable[[Path], None]:
    """Rename something."""
    return lambda root: (root / file).rename(root / name) and None  # type: ignore[func-returns-value]


def built_otherwise(root: Path) -> None:
    """users/cdb has one address more than users/assign."""
    path = root / QMAIL / "users/assign"
    text = path.read_text()
    path.write_text(text.replace("=domain-com-joe:", "=domain-com-jim:popuser:888:888:/x:::\n=domain-com-joe:"))
    newu(root / QMAIL)
    path.write_text(text)
    os.utime(root / QMAIL / "users/cdb")


def stray(root: Path) -> None:
    """A Maildir with mail beside joe's."""
    maildir(root / JOE / "Maildir.old", 2)


def mode(file: str, bits: int) -> Callable[[Path], None]:
    """Change a mode."""
    return lambda root: (root / file).chmod(bits)


def hard_link(file: str, other: str) -> Callable[[Path], None]:
    """Let the other file be this one."""

    def change(root: Path) -> None:
        (root / other).unlink()
        (root / other).hardlink_to(root / file)

    return change


def link(file: str, target: str) -> Callable[[Path], None]:
    """Put a link in the place of what stands there."""

    def change(root: Path) -> None:
        path = root / file
        if path.is_dir() and not path.is_symlink():
            path.rename(root / "elsewhere")
        path.unlink(missing_ok=True)
        path.symlink_to(target)

    return change


def fifo(file: str) -> Callable[[Path], None]:
    """Put a FIFO in the place of what stands there."""

    def change(root: Path) -> None:
        (root / file).unlink(missing_ok=True)
        os.mkfifo(root / file)

    return change


def mail(name: str, days: int = 1) -> Callable[[Path], None]:
    """One more message for joe."""
    return lambda root: message(root / JOE / "Maildir", name, days) and None  # type: ignore[func-returns-value]


def folder(root: Path) -> None:
    """An IMAP server's folder with one message, and a directory that is none."""
    for part in ("tmp", "new", "cur"):
        (root / JOE / "Maildir/.Sent" / part).mkdir(parents=True)
    (root / JOE / "Maildir/.notes").mkdir()
    message(root / JOE / "Maildir/.Sent", "1.sent", 1, seen=True)


def ahead(root: Path) -> None:
    """A message from tomorrow."""
    file = message(root / JOE / "Maildir", "1.tomorrow", 1)
    os.utime(file, (time.time() + 86_400, time.time() + 86_400))


def one_more_domain(text: str, lines: tuple[str, ...] = ()) -> Callable[[Path], None]:
    """A line of virtualdomains, and rcpthosts beside it."""

    def change(root: Path) -> None:
        append(f"{QMAIL}/control/virtualdomains", f"{text}\n")(root)
        append(f"{QMAIL}/control/rcpthosts", f"{text.partition(':')[0]}\n")(root)
        for line in lines:
            before_dot(line)(root)

    return change


def huge(root: Path) -> None:
    """A .qmail file that claims to be 2 GB, without taking the disk for it."""
    with (root / JOE / ".qmail").open("r+b") as file:
        file.truncate(2 << 30)


CONTROL, USERS = f"/{QMAIL}/control", f"/{QMAIL}/users"
# fmt: off
FAULTS: dict[str, tuple[str, Callable[[Path], None], str]] = {
    # rule: (dialect, fault, file:line that must be named); a digit behind the rule tells two cases apart
    "rcpthosts-absent": ("howto", gone(f"{QMAIL}/control/rcpthosts"), f"{CONTROL}/rcpthosts"),
    "domain-not-in-rcpthosts": ("howto", edit(f"{QMAIL}/control/rcpthosts", "domain.com\n", ""), f"{CONTROL}/virtualdomains:1"),
    "rcpthosts-not-routed": ("howto", append(f"{QMAIL}/control/rcpthosts", "other.example\n"), f"{CONTROL}/rcpthosts:4"),
    "domain-in-locals": ("howto", append(f"{QMAIL}/control/locals", "Domain.com\n"), f"{CONTROL}/locals:2"),
    "virtualdomains-twice": ("howto", append(f"{QMAIL}/control/virtualdomains", "domain.com:domain-com\n"), f"{CONTROL}/virtualdomains:1"),
    "virtualdomains-no-colon": ("howto", append(f"{QMAIL}/control/virtualdomains", "domain.org\n"), f"{CONTROL}/virtualdomains:3"),
    "carriage-return": ("howto", edit(f"{QMAIL}/control/virtualdomains", "domain-com\n", "domain-com\r\n"), f"{CONTROL}/virtualdomains:1"),
    "prefix-overlap": ("howto", one_more_domain("domain.com.br:domain-com-br"), f"{CONTROL}/virtualdomains:3"),
    "domain-no-address": ("howto", one_more_domain("empty.example:empty-example"), f"{CONTROL}/virtualdomains:3"),
    "name-not-usable": ("howto", one_more_domain("-bad-.example:bad"), f"{CONTROL}/virtualdomains:3"),
    "name-not-usable 2": ("howto", before_dot("=domain-com-a b:popuser:888:888:/var/qmail/popboxes/domain-com/ann:::"), f"{USERS}/assign:7"),
    "assign-absent": ("howto", gone(f"{QMAIL}/users/assign"), f"{USERS}/assign"),
    "assign-format": ("howto", before_dot("=domain-com-new:popuser:888"), f"{USERS}/assign:7"),
    "assign-format 2": ("howto", before_dot("=domain-com-n\0w:popuser:888:888:/x:::"), f"{USERS}/assign:7"),
    "assign-format 3": ("howto", before_dot(""), f"{USERS}/assign:7"),
    "assign-no-dot": ("howto", edit(f"{QMAIL}/users/assign", "\n.\n", "\n"), f"{USERS}/assign:7"),
    "assign-after-dot": ("howto", append(f"{QMAIL}/users/assign", "=domain-com-x:popuser:888:888:/x:::\n"), f"{USERS}/assign:8"),
    "assign-empty-uid": ("dtc", edit(f"{QMAIL}/users/assign", "+site-example:nobody:65534", "+site-example:nobody:"), f"{USERS}/assign:2"),
    "assign-root": ("howto", edit(f"{QMAIL}/users/assign", "popuser:888", "popuser:0"), f"{USERS}/assign:1"),
    "assign-twice": ("howto", before_dot("=domain-com-Joe:popuser:888:888:/var/qmail/popboxes/domain-com/ann:::"), f"{USERS}/assign:7"),
    "assign-type": ("howto", edit(f"{QMAIL}/users/assign", "=domain-com-ann", "#domain-com-ann"), f"{USERS}/assign:4"),
    "assign-plus-no-boundary": ("howto", edit(f"{QMAIL}/users/assign", "+domain-com-joe-:popuser:888:888:/var/qmail/popboxes/domain-com/joe:-::", "+domain-com-joe:popuser:888:888:/var/qmail/popboxes/domain-com/joe:::"), f"{USERS}/assign:2"),
    "assign-no-dash": ("howto", edit(f"{QMAIL}/users/assign", "/joe:-::\n=", "/joe:::\n="), f"{USERS}/assign:2"),
    "assign-no-domain": ("howto", before_dot("=other-com-x:popuser:888:888:/var/qmail/popboxes/domain-com/ann:::"), f"{USERS}/assign:7"),
    "assign-drift": ("howto", lambda root: put(root / QMAIL / "users/domains/domain.com", "=domain-com-new:popuser:888:888:/x:::\n") and None, f"{USERS}/domains/domain.com:1"),  # type: ignore[func-returns-value]
    "cdb-absent": ("howto", gone(f"{QMAIL}/users/cdb"), f"{USERS}/cdb"),
    "cdb-old": ("howto", lambda root: os.utime(root / QMAIL / "users/cdb", (1, 1)), f"{USERS}/cdb"),
    "home-relative": ("howto", edit(f"{QMAIL}/users/assign", "888:/var/qmail/popboxes/domain-com/ann", "888:var/qmail/ann"), f"{USERS}/assign:4"),
    "home-dotdot": ("howto", edit(f"{QMAIL}/users/assign", "/domain-com/ann:", "/domain-com/../domain-com/ann:"), f"{USERS}/assign:4"),
    "home-missing": ("howto", edit(f"{QMAIL}/users/assign", "/domain-com/ann:", "/domain-com/anna:"), f"{USERS}/assign:4"),
    "home-escapes": ("howto", link(JOE, "joe"), f"{USERS}/assign:1"),
    "cdb-differs": ("howto", built_otherwise, f"{USERS}/cdb"),
    "home-sticky": ("howto", mode(JOE, 0o1700), f"/{JOE}"),
    "dotqmail-executable": ("howto", mode(f"{JOE}/.qmail", 0o700), f"/{JOE}/.qmail"),
    "mail-not-opened": ("howto", stray, f"/{JOE}/Maildir.old"),
    "home-writable": ("howto", mode(JOE, 0o777), f"/{JOE}"),
    "dotqmail-missing": ("howto", gone(f"{JOE}/.qmail"), f"{USERS}/assign:1"),
    "dotqmail-not-regular": ("howto", fifo(f"{JOE}/.qmail"), f"/{JOE}/.qmail"),
    "dotqmail-writable": ("howto", mode(f"{JOE}/.qmail", 0o666), f"/{JOE}/.qmail"),
    "dotqmail-blank-first": ("howto", edit(f"{JOE}/.qmail", "./", "\n./"), f"/{JOE}/.qmail:1"),
    "dotqmail-no-slash": ("howto", edit(f"{JOE}/.qmail", "Maildir/", "Maildir"), f"/{JOE}/.qmail:1"),
    "dotqmail-carriage-return": ("howto", edit(f"{JOE}/.qmail", "Maildir/", "Maildir/\r"), f"/{JOE}/.qmail:1"),
    "dotqmail-forward": ("howto", append(f"{JOE}/.qmail", "Maildir/\n"), f"/{JOE}/.qmail:2"),
    "dotqmail-device": ("howto", append(f"{JOE}/.qmail", "/dev/null\n"), f"/{JOE}/.qmail:2"),
    "dotqmail-discards": ("howto", edit(f"{QMAIL}/popboxes/domain-com/sales/.qmail", "&joe@domain.com\n&x@elsewhere.example", "# nothing"), f"/{QMAIL}/popboxes/domain-com/sales/.qmail"),
    "unreadable": ("howto", huge, f"/{JOE}/.qmail"),
    "delivery-not-opened": ("howto", edit(f"{JOE}/.qmail", "Maildir", "Other"), f"{USERS}/assign:1"),
    "maildir-missing": ("howto", moved(f"{JOE}/Maildir", f"{JOE}/Mail"), f"/{JOE}/Maildir"),
    "maildir-part-missing": ("howto", gone(f"{JOE}/Maildir/tmp"), f"/{JOE}/Maildir/tmp"),
    "message-not-regular": ("howto", lambda root: (root / JOE / "Maildir/new/1.link").symlink_to("/etc/passwd"), f"/{JOE}/Maildir/new/1.link"),
    "message-not-regular 2": ("howto", fifo(f"{JOE}/Maildir/cur/1.fifo"), f"/{JOE}/Maildir/cur/1.fifo"),
    "message-future": ("howto", ahead, f"/{JOE}/Maildir/new/1.tomorrow"),
    "uidl-twice": ("howto", mail("1000000000.0.old.example.net:2,"), f"/{JOE}/Maildir/new/1000000000.0.old.example.net:2,"),
    "uidl-not-rfc1939": ("howto", mail("1." + "n" * 70), f"/{JOE}/Maildir/new/1." + "n" * 70),
    "uidl-courier": ("howto", lambda root: put(root / JOE / "Maildir/courierpop3dsizelist", "/1 1\n") and None, f"/{JOE}/Maildir/courierpop3dsizelist"),  # type: ignore[func-returns-value]
    "uidl-dovecot": ("howto", lambda root: put(root / JOE / "Maildir/dovecot-uidlist", "3 V1 N1\n") and None, f"/{JOE}/Maildir/dovecot-uidlist"),  # type: ignore[func-returns-value]
    "uidl-mbox": ("system", append("home/ben/Mailbox", ""), "/home/ben/Mailbox"),
    "maildir-folder": ("howto", folder, f"/{JOE}/Maildir/.Sent"),
    "mbox-not-mbox": ("system", edit("home/ben/Mailbox", "From sue", "Frum sue"), "/home/ben/Mailbox"),
    "mbox-shared": ("system", hard_link("home/ben/Mailbox", "var/spool/mail/cat"), "/etc/shadow:4"),
    "mbox-doubt": ("system", append("home/ben/Mailbox", "From " + "a1" * 20 + " Mon Sep 17 00:00:00 2001\nSubject: x\n"), "/home/ben/Mailbox:15"),
    "poppasswd-fields": ("howto", append(f"{QMAIL}/users/poppasswd", f"aa0003:{HASH}:popuser\n"), f"{USERS}/poppasswd:3"),
    "login-twice": ("howto", append(f"{QMAIL}/users/poppasswd", f"aa0001:{HASH}:popuser:/x\n"), f"{USERS}/poppasswd:3"),
    "login-hash": ("howto", edit(f"{QMAIL}/users/poppasswd", f"aa0002:{HASH}", "aa0002:*"), f"{USERS}/poppasswd:2"),
    "login-plain": ("dtc", edit_all("etc/poppasswd", lambda text: "bob@site.example:secret\n" + text.split("\n")[1] + "\n"), "/etc/poppasswd:1"),
    "login-des": ("howto", edit(f"{QMAIL}/users/poppasswd", f"aa0002:{HASH}", "aa0002:DmIMm9e5Hc8ic"), f"{USERS}/poppasswd:2"),
    "login-home": ("howto", append(f"{QMAIL}/users/poppasswd", f"aa0003:{HASH}:popuser:/var/qmail/popboxes/domain-com/xyz\n"), f"{USERS}/poppasswd:3"),
    "login-no-address": ("dtc", append("etc/poppasswd", f"tom@site.example:{HASH}:nobody:/var/www/tom\n"), "/etc/poppasswd:3"),
    "login-missing": ("howto", edit_all(f"{QMAIL}/users/poppasswd", lambda text: text.split("\n")[0] + "\n"), f"{USERS}/assign:4"),
    "login-unknown-user": ("howto", lambda root: put(root / "etc/passwd", "root:x:0:0::/root:/bin/sh\n") and None, f"{USERS}/poppasswd:1"),  # type: ignore[func-returns-value]
    "passwords-readable": ("howto", mode(f"{QMAIL}/users/poppasswd", 0o644), f"{USERS}/poppasswd"),
    "passwords-readable 2": ("vpopmail", mode(f"{VDOMAIN}/vpasswd", 0o644), f"/{VDOMAIN}/vpasswd"),
    "vpasswd-absent": ("vpopmail", gone(f"{VDOMAIN}/vpasswd"), f"/{VDOMAIN}/vpasswd"),
    "vpasswd-sql": ("vpopmail", lambda root: gone(f"{VDOMAIN}/vpasswd")(root) or (put(root / "home/vpopmail/etc/vpopmail.mysql", "localhost|0|v|secret|vpopmail\n") and None), f"/{VDOMAIN}/vpasswd"),  # type: ignore[func-returns-value]
    "vpopmail-not-asked": ("vpopmail", gone(f"{VDOMAIN}/.qmail-default"), f"/{VDOMAIN}/.qmail-default"),
    "catchall-lost": ("howto", edit(f"{JOE}/.qmail-default", "./Maildir/", "|/usr/bin/vdeliver"), f"{USERS}/assign:6"),
    "catchall-lost 2": ("vpopmail", edit_all(f"{VDOMAIN}/.qmail-default", lambda _: "# nothing\n"), f"/{VDOMAIN}/.qmail-default"),
    "vpasswd-directory": ("vpopmail", edit(f"{VDOMAIN}/vpasswd", "v.example/joe:", "v.example/joey:"), f"/{VDOMAIN}/vpasswd:2"),
    "poppasswd-fields 2": ("vpopmail", append(f"{VDOMAIN}/vpasswd", f"tom:{HASH}\n"), f"/{VDOMAIN}/vpasswd:3"),
    "vpopmail-orphan": ("vpopmail", edit_all(f"{VDOMAIN}/vpasswd", lambda text: text.split("\n")[0] + "\n"), f"/{VDOMAIN}/joe"),
    "vpopmail-not-assigned": ("vpopmail", one_more_domain("u.example:u.example"), f"{CONTROL}/virtualdomains:3"),
    "shadow-absent": ("system", gone("etc/shadow"), "/etc/shadow"),
    "no-local-domain": ("system", lambda root: [(root / QMAIL / "control" / n).unlink() for n in ("me", "locals", "rcpthosts")] and None, f"{CONTROL}/locals"),
}
# fmt: on
