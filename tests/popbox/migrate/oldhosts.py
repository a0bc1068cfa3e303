"""Small old mail hosts, one in each dialect, in which nothing is wrong; a test then breaks one thing."""

from __future__ import annotations

import os
from pathlib import Path

from popbox.migrate.audit.audit import Audit, audit
from popbox.migrate.oldhost.source import open_source

HASH = "$6$abcdefgh$" + "x" * 86  # of the form of sha512-crypt; no password matches it
LONG_AGO = 1_000_000_000
QMAIL = "var/qmail"


def put(path: Path, text: str | bytes, mode: int = 0o644) -> Path:
    """A file with this text, its directories made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path


def maildir(path: Path, messages: int = 3, first: int = 0) -> Path:
    """A Maildir: message n is n days after 2001-09-09; the odd ones are seen. Their order is not that of the names."""
    for part in ("tmp", "new", "cur"):
        (path / part).mkdir(parents=True, exist_ok=True)
        path.chmod(0o700)
    for number in range(first, first + messages):
        message(path, f"{LONG_AGO - number}.{number}.old.example.net", number, seen=number % 2 == 1)
    return path


def message(path: Path, name: str, number: int, *, seen: bool = False) -> Path:
    """One message."""
    file = path / (f"cur/{name}:2,S" if seen else f"new/{name}")
    file.write_bytes(f"Subject: {number}\n\nmessage {number}\n.dot\n".encode() * (number % 5 + 1))
    when = (LONG_AGO + number * 86_400) * 1_000_000_000 + number
    os.utime(file, ns=(when, when))
    return file


def controls(root: Path, domains: dict[str, str], local: str = "old.example.net") -> Path:
    """control/ for these domains and their prefixes; returns qmail's home."""
    home = root / QMAIL
    put(home / "control/me", f"{local}\n")
    put(home / "control/locals", f"{local}\n")
    put(home / "control/rcpthosts", "".join(f"{name}\n" for name in [local, *domains]))
    put(home / "control/virtualdomains", "".join(f"{name}:{prefix}\n" for name, prefix in domains.items()))
    (home / "alias").mkdir(exist_ok=True)
    return home


def assign(home: Path, *lines: str) -> None:
    """users/assign and a cdb that is as new."""
    put(home / "users/assign", "".join(f"{line}\n" for line in lines) + ".\n")
    put(home / "users/cdb", b"")


def howto(root: Path, messages: int = 3) -> Path:
    """joe (with extensions and an alias), ann (who forwards too), sales (a forward), and a catchall into joe."""
    home = controls(root, {"domain.com": "domain-com", "domain.net": "domain-com"})
    boxes = "/var/qmail/popboxes/domain-com"
    assign(
        home,
        f"=domain-com-joe:popuser:888:888:{boxes}/joe:::",
        f"+domain-com-joe-:popuser:888:888:{boxes}/joe:-::",
        f"=domain-com-info:popuser:888:888:{boxes}/joe:::",
        f"=domain-com-ann:popuser:888:888:{boxes}/ann:::",
        f"=domain-com-sales:popuser:888:888:{boxes}/sales:::",
        f"+domain-com-:popuser:888:888:{boxes}/joe:-::",
    )
    put(
        home / "users/poppasswd",
        f"aa0001:{HASH}:popuser:{boxes}/joe\naa0002:{HASH}:popuser:{boxes}/ann\n",
        0o600,
    )
    for name in ("joe", "ann"):
        maildir(home / f"popboxes/domain-com/{name}/Maildir", messages, first=0 if name == "joe" else 100)
        put(home / f"popboxes/domain-com/{name}/.qmail", "./Maildir/\n", 0o600)
    put(home / "popboxes/domain-com/joe/.qmail-default", "./Maildir/\n", 0o600)
    put(home / "popboxes/domain-com/ann/.qmail", "./Maildir/\n&ann@elsewhere.example\n", 0o600)
    put(home / "popboxes/domain-com/sales/.qmail", "&joe@domain.com\n&x@elsewhere.example\n", 0o600)
    put(home / "alias/.qmail-postmaster", "&joe@domain.com\n")
    return root


def dtc(root: Path, messages: int = 3) -> Path:
    """bob; and info, which takes everything else: it has no line of its own, as DTC writes it."""
    home = controls(root, {"site.example": "site-example"})
    boxes = "/var/www/sites/admin/site.example/Mailboxs"
    assign(
        home,
        f"=site-example-bob:nobody:65534:65534:{boxes}/bob:::",
        f"+site-example:nobody:65534:65534:{boxes}:::",
    )
    put(
        root / "etc/poppasswd",
        f"bob@site.example:{HASH}:nobody:{boxes}/bob\ninfo@site.example:{HASH}:nobody:{boxes}/info\n",
        0o600,
    )
    for name in ("bob", "info"):
        maildir(root / boxes.lstrip("/") / name / "Maildir", messages)
        put(root / boxes.lstrip("/") / name / ".qmail", "./Maildir/\n")
    put(root / boxes.lstrip("/") / ".qmail-default", "./info/Maildir/\n")
    return root


def vpopmail(root: Path, messages: int = 3) -> Path:
    """joe and postmaster, an alias, a domain that is another name; unknown addresses go to postmaster."""
    home = controls(root, {"v.example": "v.example", "w.example": "v.example"})
    top = "/home/vpopmail/domains/v.example"
    assign(
        home,
        f"+v.example-:v.example:89:89:{top}:-::",
        f"+w.example-:v.example:89:89:{top}:-::",
    )
    domain = root / top.lstrip("/")
    put(
        domain / "vpasswd",
        f"postmaster:{HASH}:1:0:Postmaster:{top}/postmaster:NOQUOTA\njoe:{HASH}:1:0:Joe:{top}/joe:NOQUOTA\n",
        0o600,
    )
    for name in ("postmaster", "joe"):
        maildir(domain / name / "Maildir", messages)
    put(domain / ".qmail-default", f"| /home/vpopmail/bin/vdelivermail '' {top}/postmaster\n", 0o600)
    put(domain / ".qmail-info", "&joe@v.example\n", 0o600)
    return root


MBOX = """\
From sue@sender.example Mon Sep 10 01:46:40 2001
Return-Path: <sue@sender.example>
Subject: first
Status: RO

one
>From the start
>>From twice

From tim@sender.example Tue Sep 11 01:46:40 2001
Subject: second

two

"""


def system(root: Path, messages: int = 3) -> Path:
    """ann has ~/Maildir, ben ~/Mailbox, cat a file in the spool."""
    home = controls(root, {}, "users.example")
    names = ("ann", "ben", "cat")
    passwd = "".join(f"{n}:x:{1000 + i}:{1000 + i}::/home/{n}:/bin/sh\n" for i, n in enumerate(names))
    put(root / "etc/passwd", "root:x:0:0::/root:/bin/sh\nqmails:x:71:71::/var/qmail:/bin/false\n" + passwd)
    put(root / "etc/shadow", "root:*:1::::::\n" + "".join(f"{n}:{HASH}:1::::::\n" for n in names), 0o600)
    for name in names:
        (root / "home" / name).mkdir(parents=True)
    maildir(root / "home/ann/Maildir", messages)
    put(root / "home/ann/.qmail", "./Maildir/\n")
    put(root / "home/ben/Mailbox", MBOX)
    put(root / "var/spool/mail/cat", MBOX)
    assert home.is_dir()
    return root


HOSTS = {"howto": howto, "dtc": dtc, "vpopmail": vpopmail, "system": system}


def audited(source: Path, dialect: str | None = None) -> Audit:
    """Audit a directory."""
    return audit(open_source(str(source)), dialect, b"/var/qmail")


def tree_of(top: Path) -> dict[str, tuple[bytes, int, int]]:
    """Every file below: its octets, mtime in ns and mode."""
    return {
        str(path.relative_to(top)): (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode)
        for path in sorted(top.rglob("*"))
        if path.is_file()
    }
