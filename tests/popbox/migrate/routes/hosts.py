"""Old hosts made at random in which nothing is wrong, and new ones made of them by `popbox migrate import`."""

from __future__ import annotations

import importlib
import json
import os
import random
import sys
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.popbox.migrate.oldhosts import HASH, put

from mailhost.cli import VERBS, main
from mailhost.qmail.assign import newu
from popbox.cli.migrate import migrate
from popbox.migrate.copy.destination import Place
from popbox.migrate.routes.side import Side

UID = 888 if os.getuid() == 0 else os.getuid()
ALIAS_UID = 71 if os.getuid() == 0 else os.getuid()
ME = "old.example.net"
ELSEWHERE = "elsewhere.example"


def own(path: Path, uid: int) -> None:
    """Give all of it to a user, as far as we can."""
    if os.getuid() == 0:
        for each in (path, *path.rglob("*")):
            os.chown(each, uid, uid, follow_symlinks=False)


def box(home: Path, text: str | None = "./Maildir/\n", *, uid: int = UID, maildir: bool = True) -> Path:
    """A home with a .qmail and a Maildir."""
    for part in ("tmp", "new", "cur") if maildir else ():
        (home / "Maildir" / part).mkdir(parents=True, exist_ok=True)
    home.mkdir(parents=True, exist_ok=True)
    if text is not None:
        put(home / ".qmail", text, 0o600)
    own(home, uid)
    home.chmod(0o700)
    return home


class Making:
    """The files of an old host's root, put together."""

    def __init__(self, root: Path, me: str = ME) -> None:
        self.root, self.home = root, root / "var/qmail"
        for name in ("control", "users", "alias", "popboxes"):
            (self.home / name).mkdir(parents=True)
        self.rcpthosts, self.virtual, self.assign, self.logins = [me], list[str](), list[str](), list[str]()
        self.passwd = ["root:x:0:0::/root:/bin/sh", f"alias:x:{ALIAS_UID}:{ALIAS_UID}::/var/qmail/alias:/bin/true"]
        self.shadow: list[str] = []
        put(self.home / "control/me", f"{me}\n")
        put(self.home / "control/locals", f"{me}\n")

    def alias(self, name: str, text: str) -> None:
        """A file of ~alias."""
        put(self.home / f"alias/.qmail-{name}", text)

    def stock(self, chance: random.Random) -> None:
        """What qmail's INSTALL.alias makes: three empty files. Perhaps mail has come; perhaps a default delivery."""
        for name in ("postmaster", "mailer-daemon", "root"):
            self.alias(name, "")
        if chance.random() < 0.3:
            put(self.home / "alias/Mailbox", "From x Mon Sep 10 01:46:40 2001\nSubject: x\n\nx\n\n", 0o600)
        elif chance.random() < 0.5:
            box(self.home / "alias", None)
            put(self.home / "control/defaultdelivery", "./Maildir/\n")

    def done(self) -> Path:
        """Write control/, users/ and etc/, and build users/cdb."""
        put(self.home / "control/rcpthosts", "".join(f"{name}\n" for name in self.rcpthosts))
        put(self.home / "control/virtualdomains", "".join(f"{line}\n" for line in self.virtual))
        put(self.root / "etc/passwd", "".join(f"{line}\n" for line in self.passwd))
        if self.shadow:
            put(self.root / "etc/shadow", "".join(f"{line}\n" for line in self.shadow), 0o600)
        if self.logins:
            put(self.home / "users/poppasswd", "".join(f"{line}\n" for line in self.logins), 0o600)
        if self.assign:
            put(self.home / "users/assign", "".join(f"{line}\n" for line in self.assign) + ".\n")
            newu(self.home)
        own(self.home / "alias", ALIAS_UID)
        return self.root


def howto(chance: random.Random, root: Path) -> Path:
    """One to three domains of the HOWTO's kind."""
    host, number = Making(root), 0
    names = chance.sample(("domain.com", "e.org", "a-b.example", "shop.example"), chance.randint(1, 3))
    for name in names:
        prefix = name.replace(".", "-")
        host.rcpthosts.append(name)
        host.virtual.append(f"{name}:{prefix}")
        boxes = chance.sample(("joe", "ann", "bob.b", "c-d", "eve"), chance.randint(1, 4))
        for local in boxes:
            number += 1
            place = f"/var/qmail/popboxes/{prefix}/{local}"
            more = f"&x{number}@{ELSEWHERE}\n" if chance.random() < 0.2 else ""
            there = box(root / place[1:], "./Maildir/\n" + more)
            host.assign.append(f"={prefix}-{local}:popuser:{UID}:{UID}:{place}:::")
            host.logins.append(f"aa{number:04}:{HASH}:popuser:{place}")
            if chance.random() < 0.4:
                host.assign.append(f"+{prefix}-{local}-:popuser:{UID}:{UID}:{place}:-::")
                put(there / ".qmail-default", "./Maildir/\n" + more, 0o600)
                own(there, UID)
            if chance.random() < 0.3 and not more:
                host.assign.append(f"=%s-info{number}:popuser:{UID}:{UID}:{place}:::" % prefix)
        for made in range(chance.randint(0, 2)):
            place = f"/var/qmail/popboxes/{prefix}/fwd{made}"
            targets = [f"{boxes[0]}@{name}", f"y@{ELSEWHERE}"][: chance.randint(1, 2)]
            box(root / place[1:], "".join(f"&{one}\n" for one in targets), maildir=False)
            host.assign.append(f"={prefix}-fwd{made}:popuser:{UID}:{UID}:{place}:::")
        if chance.random() < 0.5:
            place = f"/var/qmail/popboxes/{prefix}/catch"
            text = f"&{boxes[0]}@{name}\n" if chance.random() < 0.5 else f"&z@{ELSEWHERE}\n"
            there = box(root / place[1:], None, maildir=False)
            put(there / ".qmail-default", text, 0o600)
            own(there, UID)
            host.assign.append(f"+{prefix}-:popuser:{UID}:{UID}:{place}:-::")
        if chance.random() < 0.3:
            host.rcpthosts.append(f"also-{name}")
            host.virtual.append(f"also-{name}:{prefix}")
    if chance.random() < 0.5:
        host.alias("postmaster", f"&joe@{ELSEWHERE}\n")
    else:
        host.stock(chance)
    if chance.random() < 0.3:
        host.rcpthosts.append("list.example")
        host.virtual.append("list.example:alias-list")
        host.alias("list-members", f"&m@{ELSEWHERE}\n")
    chance.shuffle(host.assign)
    return host.done()


def vpopmail(chance: random.Random, root: Path) -> Path:
    """One or two domains of vpopmail."""
    host = Making(root)
    for name in chance.sample(("v.example", "w.example", "x-y.example"), chance.randint(1, 2)):
        top = f"/home/vpopmail/domains/{name}"
        host.rcpthosts.append(name)
        host.virtual.append(f"{name}:{name}")
        host.assign.append(f"+{name}-:{name}:{UID}:{UID}:{top}:-::")
        users = ["postmaster", *chance.sample(("joe", "ann", "bob"), chance.randint(1, 3))]
        rows = "".join(f"{user}:{HASH}:1:0:{user}:{top}/{user}:NOQUOTA\n" for user in users)
        put(root / top[1:] / "vpasswd", rows, 0o600)
        for user in users:
            box(root / top[1:] / user, f"./Maildir/\n&{user}@{ELSEWHERE}\n" if chance.random() < 0.2 else None)
        last = chance.choice(("bounce-no-mailbox", f"{top}/postmaster", f"all@{ELSEWHERE}"))
        put(root / top[1:] / ".qmail-default", f"| /home/vpopmail/bin/vdelivermail '' {last}\n")
        if chance.random() < 0.5:
            put(root / top[1:] / ".qmail-info", f"&{users[1]}@{name}\n&i@{ELSEWHERE}\n")
        own(root / top[1:], UID)
    return host.done()


def system(chance: random.Random, root: Path) -> Path:
    """Accounts with a Maildir or an mbox."""
    host = Making(root, "users.example")
    for number, name in enumerate(chance.sample(("ann", "ben", "cat", "dan"), chance.randint(1, 4))):
        uid = 1000 + number if os.getuid() == 0 else os.getuid()
        host.passwd.append(f"{name}:x:{uid}:{uid}::/home/{name}:/bin/sh")
        host.shadow.append(f"{name}:{HASH}:1::::::")
        maildir = chance.random() < 0.6
        there = box(root / "home" / name, "./Maildir/\n" if maildir else None, uid=uid, maildir=maildir)
        if chance.random() < 0.4 and maildir:
            put(there / ".qmail-default", "./Maildir/\n")
        own(there, uid)
    host.rcpthosts = ["users.example"]
    return host.done()


KINDS: tuple[Callable[[random.Random, Path], Path], ...] = (howto, howto, howto, vpopmail, system)


def imported(old: Path, place: Path) -> Path:
    """The new home: `mailhost init` with the old host's name, unless that has mailboxes, and an import."""
    home = place / "new/qmail"
    home.parent.mkdir()
    me = (old / "var/qmail/control/me").read_text().strip()
    mailhost(home, "init", "--me", "new.example.net" if me == "users.example" else me)
    if me != "users.example":
        with (home / "control/rcpthosts").open("a") as file:
            file.write(f"{me}\n")
    argv = ["import", str(old), "--to", str(place / "to"), "--home", str(home)]
    done = CliRunner().invoke(migrate, argv, standalone_mode=False)
    assert done.exception is None, done.exception
    return home


def mailhost(home: Path, *argv: str) -> None:
    """Run it to its end."""
    code, out = forked(["--home", str(home), *argv])
    assert code == 0, out


def forked(argv: list[str], given: bytes = b"") -> tuple[int, bytes]:
    """Exit code and output of `mailhost` in a fork of this process, which takes a tenth of the time of a new one."""
    with tempfile.TemporaryFile() as out:
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            code = 99
            try:
                done = CliRunner().invoke(main, argv, input=given)
                out.write(done.stdout_bytes if done.exit_code in (0, 1) else done.output.encode())
                out.flush()
                code = done.exit_code
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0)
        return code, out.read()


def routes(old: Path, new: Path, *more: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, JSON report and text of `popbox migrate routes`."""
    report = new.parent / "routes.json"
    argv = ["routes", "--old", str(old), "--new", str(new), "--json", str(report), *more]
    done = CliRunner().invoke(migrate, argv, standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return int(done.return_value), json.loads(report.read_text()), done.output


def in_forks(patch: pytest.MonkeyPatch) -> None:
    """Let what `migrate` runs of `mailhost` run in forks, which do not import it each for itself."""
    for verb in VERBS.values():
        importlib.import_module(verb)

    def place(_self: Place, home: Path, *argv: str) -> str:
        code, out = forked(["--home", str(home), *argv])
        assert code == 0, out
        return out.decode()

    def lines(self: Side, verb: list[str], addresses: Path | None, *, at_once: bool = False) -> Generator[bytes]:
        if at_once:
            yield b""
        given = b"" if addresses is None else addresses.read_bytes()
        code, out = forked(["--home", self.home.decode(), "explain", *self.options, *verb], given)
        assert code in (0, 1), out
        yield from out.splitlines(keepends=True)

    patch.setattr(Place, "_mailhost", place)
    patch.setattr(Side, "_lines", lines)
