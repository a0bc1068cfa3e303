"""Old hosts made at random, with odd .qmail files, links, missing pieces and names, for each dialect."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

from tests.popbox.migrate.oldhosts import HASH, QMAIL, assign, controls, put

DOMAIN, SECOND = "d.example", "e.example"
LOCAL = "old.example.net"
LINES = [
    "./Maildir/", "./Maildir/", "./Other/", "./Mailbox", "&x@elsewhere.example", "&y@elsewhere.example",
    f"&joe@{DOMAIN}", f"&ann@{DOMAIN}", "# note", "|unknown", "|spamc | deliverquota ./Maildir",
    "|forward z@elsewhere.example", "|bouncesaying gone", "|exit 99", "|true", "|condredirect x@elsewhere.example test",
    "|preline -f procmail", "/var/boxes/shared/", "", "  ", "&not an address", "./Maildir", "/dev/null", "+list",
]  # fmt: skip
NAMES = ["joe", "ann", "joe-x", "a.b", "list", "list-owner", "j~", "UP", "t im", "x" * 65, "default"]
BASES = ["", "-default", "-x", "-x-default", "-list", "-a:b", "-Up", "-joe", "-ann", "-list-owner", "-joe-default", "-"]


class Tree:
    """A tree being made; messages are numbered, so that each is known again by its text."""

    def __init__(self, root: Path, random: Random) -> None:
        self.root, self.random, self.messages = root, random, 0

    def text(self) -> bytes:
        """A message of its own."""
        self.messages += 1
        return f"Subject: {self.messages}\n\nthis is message {self.messages}.\n".encode()

    def maildir(self, path: str, most: int = 3) -> None:
        """A Maildir with up to so many messages."""
        for part in ("tmp", "new", "cur"):
            (self.root / path / part).mkdir(parents=True, exist_ok=True)
        for _ in range(self.random.randint(0, most)):
            part = self.random.choice(["new", "cur"])
            name = f"{1_000_000_000 + self.messages}.{self.messages}.old"
            file = put(self.root / path / part / (name + (":2,S" if part == "cur" else "")), self.text())
            os.utime(file, (1_000_000_000 + self.messages,) * 2)

    def mbox(self, path: str) -> None:
        """An mbox of one to three messages."""
        texts = [self.text() + b"\n" for _ in range(self.random.randint(1, 3))]
        put(self.root / path, b"".join(b"From a@b.example Mon Sep 10 01:46:40 2001\n" + text for text in texts))

    def dotqmail(self, path: str) -> None:
        """A .qmail file of no to three lines."""
        lines = self.random.choices(LINES, k=self.random.choice([0, 1, 1, 1, 2, 2, 3]))
        put(self.root / path, "".join(f"{line}\n" for line in lines))

    def home(self, path: str, chance: float = 0.4) -> None:
        """A home: perhaps mail, perhaps .qmail files of all kinds."""
        (self.root / path).mkdir(parents=True, exist_ok=True)
        if self.random.random() < 0.8:
            self.maildir(f"{path}/Maildir")
        if self.random.random() < 0.2:
            self.maildir(f"{path}/Other", 2)
        if self.random.random() < 0.2:
            self.mbox(f"{path}/Mailbox")
        if self.random.random() < 0.7:
            put(self.root / path / ".qmail", "./Maildir/\n")
        for base in BASES:
            if self.random.random() < chance / (1 if base == "" else 3):
                self.dotqmail(f"{path}/.qmail{base}")
        if self.random.random() < 0.05:
            (self.root / path / ".qmail-boss").symlink_to(self.random.choice([".qmail", "/etc/hosts", ".qmail-boss"]))

    def some(self, of: list[str], least: int = 0) -> list[str]:
        """Some of them, in an order of chance."""
        return self.random.sample(of, self.random.randint(least, len(of)))


def howto(root: Path, random: Random) -> None:
    """Lines of every form in users/assign; logins on homes that lines name, and on others."""
    tree, boxes = Tree(root, random), "/var/qmail/popboxes/d-example"
    home = controls(root, {DOMAIN: "d-example", SECOND: random.choice(["d-example", "joe", "alias-list", "e"])}, LOCAL)
    users = ["joe", "ann", "sales", "all"]
    for user in users:
        if random.random() < 0.95:
            tree.home(f"{boxes[1:]}/{user}")
    lines = []
    for name in tree.some(NAMES, 1):
        line = f"d-example-{name}:popuser:888:888:{boxes}/{random.choice(users)}"
        lines += [f"={line}:::"] if random.random() < 0.9 else []
        if random.random() < 0.3:
            lines.append(random.choice(["+" + line.replace(":popuser", "-:popuser", 1) + ":-::", f"+{line}:::"]))
    for short, chance in (("d-example-", 0.4), ("d-example", 0.1), ("d-", 0.1), ("", 0.05), ("joe", 0.05)):
        if random.random() < chance:
            lines.append(f"+{short}:popuser:888:888:{boxes}/{random.choice(users)}:{random.choice(['-', ''])}::")
    if random.random() < 0.1:
        lines.append(random.choice(["=d-example-tim:p:888:888:/nowhere:::", "=d-example-tim:p:888:888:x:::", "=q:"]))
    random.shuffle(lines)
    assign(home, *lines)
    rows = [f"l{n}:{HASH}:popuser:{boxes}/{user}\n" for n, user in enumerate(tree.some([*users, "joe"]))]
    put(home / "users/poppasswd", "".join(rows), 0o600)
    _common(tree)


def dtc(root: Path, random: Random) -> None:
    """Logins that are addresses, a catchall line without a dash, plain passwords."""
    tree, boxes = Tree(root, random), "/var/www/sites/d.example/Mailboxs"
    home = controls(root, {DOMAIN: "d-example"}, LOCAL)
    users = ["joe", "ann", "info"]
    for user in users:
        tree.home(f"{boxes[1:]}/{user}", 0.2)
    lines = [f"=d-example-{user}:nobody:65534:65534:{boxes}/{user}:::" for user in tree.some(users)]
    if random.random() < 0.6:
        lines.append(f"+d-example:nobody:65534:65534:{boxes}:::")
        put(root / boxes[1:] / ".qmail-default", random.choice(["./info/Maildir/\n", "&x@elsewhere.example\n", "#\n"]))
    assign(home, *lines)
    rows = [f"{user}@{DOMAIN}:{HASH}:nobody:{boxes}/{user}\n" for user in tree.some(users, 1)]
    put(root / "etc/poppasswd", "".join(rows), 0o600)
    _common(tree)


def vpopmail(root: Path, random: Random) -> None:
    """Users, files of the domain for and beside them, every kind of .qmail-default."""
    tree, top = Tree(root, random), f"/home/vpopmail/domains/{DOMAIN}"
    home = controls(root, {DOMAIN: DOMAIN}, LOCAL)
    assign(home, f"+{DOMAIN}-:{DOMAIN}:89:89:{top}:-::")
    users = tree.some(["joe", "ann", "postmaster", "joe-x", "list"], 1)
    rows = [f"{user}:{HASH}:1:{random.choice([0, 0, 16])}:G:{top}/{user}:NOQUOTA\n" for user in users]
    put(root / top[1:] / "vpasswd", "".join(rows), 0o600)
    for user in users:
        if random.random() < 0.95:
            tree.maildir(f"{top[1:]}/{user}/Maildir")
            if random.random() < 0.4:
                tree.dotqmail(f"{top[1:]}/{user}/.qmail")
    asked = "| /home/vpopmail/bin/vdelivermail '' "
    last = random.choice(["bounce-no-mailbox", "delete", f"{top}/joe", f"ann@{DOMAIN}", "x@elsewhere.example"])
    put(root / top[1:] / ".qmail-default", asked + last + "\n")
    if random.random() < 0.1:
        tree.dotqmail(f"{top[1:]}/.qmail-default")
    for base in BASES[2:]:
        if random.random() < 0.15:
            tree.dotqmail(f"{top[1:]}/.qmail{base}")
    _common(tree)


def system(root: Path, random: Random) -> None:
    """Accounts with mail in any of three places, ~alias, a virtual domain under one of them."""
    tree = Tree(root, random)
    controls(root, {SECOND: random.choice(["ann", "ann-x", "alias-list"])} if random.random() < 0.5 else {}, LOCAL)
    names = tree.some(["joe", "ann", "ann-x", "Ben", "t.m", "g\xe4", "d" * 66], 1)
    rows = [f"{name}:x:{1000 + n}:1000::/home/u{n}:/bin/sh\n" for n, name in enumerate(names)]
    put(root / "etc/passwd", ("root:x:0:0::/root:/bin/sh\n" + "".join(rows)).encode("latin-1"))
    put(root / "etc/shadow", "".join(f"{name}:{HASH}:1::::::\n" for name in names).encode("latin-1"), 0o600)
    for n, name in enumerate(names):
        if random.random() < 0.95:
            tree.home(f"home/u{n}", 0.5)
        if random.random() < 0.3:
            tree.mbox(f"var/spool/mail/{os.fsdecode(name.encode('latin-1'))}")
    if random.random() < 0.3:
        (root / "var").mkdir(exist_ok=True)
        (root / "var/mail").symlink_to("spool/mail")
    _common(tree)


def _common(tree: Tree) -> None:
    for name in ("postmaster", "root", "webmaster", "joe", "list-info", "list-default", "default", "a:b"):
        if tree.random.random() < 0.08:
            tree.dotqmail(f"{QMAIL}/alias/.qmail-{name}")


MAKERS = {"howto": howto, "dtc": dtc, "vpopmail": vpopmail, "system": system}


def damage(root: Path, random: Random) -> None:
    """One thing that no old host should have: a link, a FIFO, a directory, an empty or torn file, or nothing."""
    paths = sorted(path for path in root.rglob("*") if not path.is_symlink())
    path = random.choice(paths)
    if path.is_dir():
        path.rename(root / "moved-away")
    else:
        octets = path.read_bytes()
        path.unlink()
    kind = random.choice(["none", "link", "outside", "loop", "fifo", "directory", "empty", "torn", "odd"])
    if kind in ("link", "outside", "loop"):
        path.symlink_to({"link": "/moved-away", "outside": "/etc", "loop": path.name}[kind])
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind in ("torn", "odd") and not (root / "moved-away").exists():
        cut = random.randint(0, len(octets))
        path.write_bytes(octets[:cut] + (b"" if kind == "torn" else random.randbytes(9) + octets[cut:]))
