"""Each rule of qmail's routing broken once on the new host: the address is named, with the file that decided.

Ids in the names are those of the fact sheet. Three changes that are none of routing must raise no alarm.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.popbox.migrate.routes.hosts import ELSEWHERE, HASH, ME, UID, Making, box, imported, in_forks, own, routes

from mailhost.qmail.assign import newu

PREFIX = "domain-com"


def build(root: Path) -> Path:
    """joe (extensions), ann (a forward as well), info (joe's too), sales (a forward), a catchall; e.org has none."""
    host = Making(root)
    host.rcpthosts += ["domain.com", "e.org"]
    host.virtual += [f"domain.com:{PREFIX}", "e.org:e-org"]
    boxes = f"/var/qmail/popboxes/{PREFIX}"
    joe = box(root / boxes[1:] / "joe")
    (joe / ".qmail-default").write_text("./Maildir/\n")
    own(joe, UID)
    box(root / boxes[1:] / "ann", f"./Maildir/\n&ann@{ELSEWHERE}\n")
    box(root / boxes[1:] / "sales", f"&joe@domain.com\n&x@{ELSEWHERE}\n", maildir=False)
    box(root / "var/qmail/popboxes/e-org/eve")
    host.assign += [
        f"=domain-com-joe:popuser:{UID}:{UID}:{boxes}/joe:::",
        f"+domain-com-joe-:popuser:{UID}:{UID}:{boxes}/joe:-::",
        f"=domain-com-ann:popuser:{UID}:{UID}:{boxes}/ann:::",
        f"=domain-com-sales:popuser:{UID}:{UID}:{boxes}/sales:::",
        f"+domain-com-:popuser:{UID}:{UID}:{boxes}/joe:-::",
        f"=e-org-eve:popuser:{UID}:{UID}:/var/qmail/popboxes/e-org/eve:::",
    ]
    host.logins += [f"aa{n}:{HASH}:popuser:{boxes}/{name}" for n, name in enumerate(("joe", "ann"))]
    host.logins.append(f"aa9:{HASH}:popuser:/var/qmail/popboxes/e-org/eve")
    host.alias("postmaster", "&joe@domain.com\n")
    return host.done()


class New:
    """The new home, to be broken."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.boxes = home / "popboxes"
        self.joe, self.ann, self.eve = (self.boxes / name for name in (f"{PREFIX}/joe", f"{PREFIX}/ann", "e-org/eve"))

    def control(self, name: str, change: Callable[[str], str]) -> None:
        """Change control/NAME."""
        path = self.home / "control" / name
        path.write_text(change(path.read_text() if path.exists() else ""))

    def assign(self, change: Callable[[str], str], *, build: bool = True) -> None:
        """Change users/assign and make users/cdb of it."""
        path = self.home / "users/assign"
        path.write_text(change(path.read_text()))
        if build:
            newu(self.home)

    def line(self, begin: str, change: Callable[[str], str]) -> None:
        """Change, or with an empty result remove, the line of users/assign that begins so."""
        lines = (self.home / "users/assign").read_text().splitlines()
        assert any(line.startswith(begin) for line in lines), (begin, lines)
        made = [change(line) if line.startswith(begin) else line for line in lines]
        self.assign(lambda _text: "".join(f"{line}\n" for line in made if line))

    def qmail(self, home: Path, text: str | None, name: str = ".qmail", mode: int | None = None) -> None:
        """Write or remove a .qmail file."""
        path = home / name
        assert path.exists() or text is not None
        if text is None:
            path.unlink()
        else:
            path.write_text(text)
        if mode is not None:
            path.chmod(mode)

    def exchange_logins(self) -> None:
        """Let joe's login open ann's box, and hers open his."""
        path, other = self.home / "users/poppasswd", "another"
        text = path.read_text().replace(f"{PREFIX}/joe", other).replace(f"{PREFIX}/ann", f"{PREFIX}/joe")
        path.write_text(text.replace(other, f"{PREFIX}/ann"))


JOE, EVE, ANN, SALES = "joe@domain.com", "eve@e.org", "ann@domain.com", "sales@domain.com"
EXTENSION, ANYTHING = "joe-popboxprobe@domain.com", "popboxprobe@domain.com"
ASSIGN, VIRTUAL, RCPT = "users/assign", "control/virtualdomains", "control/rcpthosts"
Break = Callable[[New], object]
FAULTS: dict[str, tuple[Break, str, str]] = {  # name -> what is done, an address that must be named, a file likewise
    "Q-LSP-4 line missing, the catchall takes it": (lambda n: n.line("=domain-com-ann:", lambda _: ""), ANN, ASSIGN),
    "Q-GETPW-3 line missing": (lambda n: n.line("=e-org-eve:", lambda _: ""), EVE, "alias"),
    "Q-LSP-4 catchall line missing": (lambda n: n.line("+domain-com-:", lambda _: ""), ANYTHING, "alias"),
    "Q-LSP-4 extension line missing": (
        lambda n: (n.line("+domain-com-joe-:", lambda _: ""), n.line("+domain-com-:", lambda _: "")),
        EXTENSION,
        "alias",
    ),
    "Q-ASSIGN-11 the first of two lines wins": (
        lambda n: n.assign(lambda t: f"=domain-com-joe:p:{UID}:{UID}:{n.ann}:::\n{t}"),
        JOE,
        ASSIGN,
    ),
    "Q-LSP-7 a + line without a boundary": (
        lambda n: n.assign(lambda t: f"+domain-com-j:p:{UID}:{UID}:{n.ann}:::\n{t}"),
        "jpopboxprobe@domain.com",
        ASSIGN,
    ),
    "Q-LSP-6 dash lost": (
        lambda n: n.line("+domain-com-:", lambda line: line.replace(":-::", ":::")),
        ANYTHING,
        ASSIGN,
    ),
    "Q-LSP-4 break character": (
        lambda n: (
            n.line("+domain-com-:", lambda _: ""),
            n.line("+domain-com-joe-:", lambda line: line.replace("joe-:", "joe+:", 1)),
        ),
        EXTENSION,
        "alias",
    ),
    "Q-ASSIGN-10 upper case at the end of a + line": (
        lambda n: (n.line("+domain-com-:", lambda line: line.replace("domain-com-:", "domain-coM:", 1)),),
        ANYTHING,
        "alias",
    ),
    "Q-ASSIGN-7 glued to the line before": (
        lambda n: n.assign(lambda t: t.replace("\n=e-org-eve:", "=e-org-eve:")),
        EVE,
        "alias",
    ),
    "Q-ASSIGN-3 a dot ends the file early": (lambda n: n.assign(lambda t: ".stop\n" + t), EVE, "alias"),
    "Q-ASSIGN-2 neither = nor +": (lambda n: n.line("=e-org-eve:", lambda line: line.removeprefix("=")), EVE, "alias"),
    "Q-LSP-9 uid 0": (
        lambda n: n.line("=e-org-eve:", lambda line: line.replace(f":{UID}:{UID}:", "::1:")),
        EVE,
        ASSIGN,
    ),
    "Q-LOCAL-1 relative home": (
        lambda n: n.line("=e-org-eve:", lambda line: line.replace(f":{n.eve}", ":popboxes/e-org/eve")),
        EVE,
        ASSIGN,
    ),
    "Q-LOCAL-2 home missing": (lambda n: n.eve.rename(n.eve.with_name("moved")), EVE, ASSIGN),
    "home of another box": (
        lambda n: n.line("=e-org-eve:", lambda line: line.replace(str(n.eve), str(n.ann))),
        EVE,
        ASSIGN,
    ),
    "Q-LSP-8 users/cdb missing": (lambda n: (n.home / "users/cdb").unlink(), EVE, "alias"),
    "Q-LSP-8 users/cdb truncated": (lambda n: os.truncate(n.home / "users/cdb", 100), EVE, RCPT),
    "Q-LSP-3 users/cdb of an earlier users/assign": (
        lambda n: (
            n.assign(lambda t: t.replace("=e-org-eve:", "=e-org-old:")),
            n.assign(lambda t: t.replace("=e-org-old:", "=e-org-eve:"), build=False),
        ),
        EVE,
        "alias",
    ),
    "Q-LOCAL-3 home writable for all": (lambda n: n.eve.chmod(0o777), EVE, ASSIGN),
    "Q-LOCAL-4 home sticky": (lambda n: n.eve.chmod(0o1700), EVE, ASSIGN),
    "Q-DOT-8 .qmail writable for all": (lambda n: n.qmail(n.eve, "./Maildir/\n", mode=0o666), EVE, ASSIGN),
    "Q-DOT-9 .qmail executable": (lambda n: n.qmail(n.eve, "./Maildir/\n", mode=0o700), EVE, ".qmail"),
    "Q-DOT-6 .qmail missing": (lambda n: n.qmail(n.eve, None), EVE, "default delivery"),
    "Q-DOT-6 .qmail-default of extensions and the catchall missing": (
        lambda n: n.qmail(n.joe, None, ".qmail-default"),
        EXTENSION,
        ASSIGN,
    ),
    "Q-DOT-1 .qmail-default in upper case": (
        lambda n: (n.joe / ".qmail-default").rename(n.joe / ".qmail-Default"),
        EXTENSION,
        ASSIGN,
    ),
    "Q-DOT-2 a longer name takes some": (
        lambda n: n.qmail(n.joe, "&y@far.example\n", ".qmail-popboxprobe"),
        EXTENSION,
        ".qmail-popboxprobe",
    ),
    "Q-DOT-7 .qmail a directory": (
        lambda n: ((n.eve / ".qmail").unlink(), (n.eve / ".qmail").mkdir()),
        EVE,
        "default delivery",
    ),
    "Q-DOT-7 .qmail a dangling link": (
        lambda n: ((n.eve / ".qmail").unlink(), (n.eve / ".qmail").symlink_to("gone")),
        EVE,
        "default delivery",
    ),
    "Q-LINE-1 .qmail empty": (lambda n: n.qmail(n.eve, ""), EVE, ".qmail"),
    "Q-LINE-1 .qmail of comments": (lambda n: n.qmail(n.eve, "# none\n"), EVE, ".qmail"),
    "Q-LINE-2 blank first line": (lambda n: n.qmail(n.eve, "\n./Maildir/\n"), EVE, ".qmail"),
    "Q-LINE-3 carriage return": (lambda n: n.qmail(n.eve, "./Maildir/\r\n"), EVE, ".qmail"),
    "Q-LINE-5 no slash": (lambda n: n.qmail(n.eve, "./Maildir\n"), EVE, ".qmail"),
    "Q-LINE-6 +list": (lambda n: n.qmail(n.ann, f"+list\n./Maildir/\n&ann@{ELSEWHERE}\n"), ANN, ".qmail"),
    "E-48 leading space": (lambda n: n.qmail(n.eve, " ./Maildir/\n"), EVE, ".qmail"),
    "forward lost": (lambda n: n.qmail(n.ann, "./Maildir/\n"), ANN, ".qmail"),
    "forward target changed": (lambda n: n.qmail(n.ann, "./Maildir/\n&anna@elsewhere.example\n"), ANN, ".qmail"),
    "a copy twice": (lambda n: n.qmail(n.eve, "./Maildir/\n./Maildir/\n"), EVE, ".qmail"),
    "forward chain: the box behind it": (
        lambda n: n.qmail(n.boxes / PREFIX / "sales", f"&ann@domain.com\n&x@{ELSEWHERE}\n"),
        SALES,
        ".qmail",
    ),
    "E-54 two boxes forward to each other": (
        lambda n: (n.qmail(n.joe, f"&{ANN}\n"), n.qmail(n.ann, f"&{JOE}\n")),
        JOE,
        ".qmail",
    ),
    "Q-PROG-1 a program in the place of the box": (lambda n: n.qmail(n.eve, "|cat >/dev/null\n"), EVE, ".qmail"),
    "Q-MDIR-4 Maildir/new missing": (lambda n: (n.eve / "Maildir/new").rename(n.eve / "Maildir/old"), EVE, ".qmail"),
    "Q-VDOM-6 the last of two lines wins": (
        lambda n: n.control("virtualdomains", lambda t: t + "e.org:domain-com\n"),
        EVE,
        VIRTUAL,
    ),
    "Q-VDOM-3 an exception": (
        lambda n: n.control("virtualdomains", lambda t: t.replace("e.org:e-org", "e.org:")),
        EVE,
        VIRTUAL,
    ),
    "Q-VDOM-1 the domain's line missing": (
        lambda n: n.control("virtualdomains", lambda t: t.replace("e.org:e-org\n", "")),
        EVE,
        RCPT,
    ),
    "Q-VDOM-7 a line for one address": (
        lambda n: n.control("virtualdomains", lambda t: t + "eve@e.org:domain-com\n"),
        EVE,
        VIRTUAL,
    ),
    "Q-VDOM-5 carriage return in virtualdomains": (
        lambda n: n.control("virtualdomains", lambda t: t.replace("e.org:e-org", "e.org:e-org\r")),
        EVE,
        VIRTUAL,
    ),
    "Q-VDOM-5 blank behind the colon": (
        lambda n: n.control("virtualdomains", lambda t: t.replace("e.org:e-org", "e.org: e-org")),
        EVE,
        VIRTUAL,
    ),
    "Q-VDOM-1 the empty key takes the world": (
        lambda n: (n.control("virtualdomains", lambda t: t + f":{PREFIX}\n"), (n.home / RCPT).unlink()),
        "popboxprobe@popboxprobe.invalid",
        VIRTUAL,
    ),
    "Q-SEND-4 in locals as well": (lambda n: n.control("locals", lambda t: t + "e.org\n"), EVE, "control/locals"),
    "Q-SEND-3 the local domain missing": (
        lambda n: n.control("locals", lambda _: "other.example\n"),
        f"postmaster@{ME}",
        RCPT,
    ),
    "Q-SEND-2 percenthack relays": (
        lambda n: n.control("percenthack", lambda _: "e.org\n"),
        "popboxprobe%popboxprobe.invalid@e.org",
        "control/percenthack",
    ),
    "Q-SEND-1 envnoathost": (
        lambda n: n.control("envnoathost", lambda _: "far.example\n"),
        "postmaster",
        "control/envnoathost",
    ),
    "Q-RCPT-6 not in rcpthosts": (lambda n: n.control("rcpthosts", lambda t: t.replace("e.org\n", "")), EVE, RCPT),
    "Q-RCPT-5 carriage return in rcpthosts": (
        lambda n: n.control("rcpthosts", lambda t: t.replace("e.org\n", "e.org\r\n")),
        EVE,
        RCPT,
    ),
    "Q-RCPT-1 rcpthosts missing: an open relay": (
        lambda n: (n.home / RCPT).unlink(),
        "popboxprobe@popboxprobe.invalid",
        RCPT,
    ),
    "Q-GETPW-3 a file of ~alias missing": (
        lambda n: n.qmail(n.home / "alias", None, ".qmail-postmaster"),
        f"postmaster@{ME}",
        "alias",
    ),
    "~alias takes what bounced": (
        lambda n: n.qmail(n.home / "alias", "&joe@domain.com\n", ".qmail-default"),
        "popboxprobe@e.org",
        ".qmail-default",
    ),
    "a catchall where there was none": (
        lambda n: n.assign(lambda t: f"+e-org-:p:{UID}:{UID}:{n.joe}:-::\n{t}"),
        "popboxprobe@e.org",
        ASSIGN,
    ),
    "two logins exchanged": (lambda n: n.exchange_logins(), JOE, ASSIGN),
}
NONE: dict[str, Break] = {
    "Q-RCPT-9 badmailfrom": lambda n: n.control("badmailfrom", lambda _: "@bad.example\n"),
    "Q-DATA-7 databytes": lambda n: n.control("databytes", lambda _: "1000\n"),
    "a comment": lambda n: n.qmail(n.eve, "./Maildir/\n# of eve\n"),
}
ROOT_ONLY: dict[str, tuple[Break, str, str]] = {
    "Q-LSP-11 a box of root's": (lambda n: own(n.eve, 0), EVE, ASSIGN),
    "Q-DOT-7 a .qmail that its user cannot read": (lambda n: os.chown(n.eve / ".qmail", 0, 0), EVE, ASSIGN),
    "Q-MDIR-4 a Maildir of root's": (lambda n: own(n.eve / "Maildir", 0), EVE, ".qmail"),
}


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[Path, Path]]:
    """The old host, and a new one in `new/qmail`, in a directory that the boxes' owner may enter."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="popbox-routes-") as name:
        top = Path(name)
        top.chmod(0o755)
        in_forks(patch)
        old = build(top / "old")
        yield old, imported(old, top)


@pytest.fixture
def new(hosts: tuple[Path, Path]) -> Iterator[New]:
    """The new home, put back afterwards."""
    home = hosts[1]
    kept = home.with_name("kept")
    subprocess.run(["cp", "-a", home, kept], check=True)
    yield New(home)
    shutil.rmtree(home)
    kept.rename(home)


OF_ROOT = [pytest.param(name, marks=pytest.mark.needs("root")) for name in ROOT_ONLY]


@pytest.mark.parametrize("fault", [*FAULTS, *OF_ROOT])
def test_a_broken_rule_is_named(hosts: tuple[Path, Path], new: New, fault: str) -> None:
    work, address, file = (FAULTS | ROOT_ONLY)[fault]
    work(new)
    code, report, text = routes(hosts[0], hosts[1])
    found = {one["address"]: one for one in report["differences"] if one["what"] == "changed"}
    assert code == 1, text
    assert address in found, text
    where = found[address]["new"]["where"]
    assert any(file in one for one in where), where
    assert found[address]["old"]["where"]


@pytest.mark.parametrize("change", NONE)
def test_what_is_none_of_routing_raises_no_alarm(hosts: tuple[Path, Path], new: New, change: str) -> None:
    NONE[change](new)
    code, _, text = routes(hosts[0], hosts[1])
    assert code == 0, text


def test_the_host_that_is_broken_is_clean_before(hosts: tuple[Path, Path]) -> None:
    code, report, text = routes(hosts[0], hosts[1])
    assert code == 0, text
    assert report["schema"] == "popbox.migrate.routes/1"
    assert report["kinds"]["assign"] >= 6
