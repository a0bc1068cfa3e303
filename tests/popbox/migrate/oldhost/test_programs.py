"""Program lines of .qmail files: known pipelines are what they mean, all others are named and not guessed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.popbox.migrate.oldhosts import HOSTS, QMAIL, audited, maildir, put

from popbox.migrate.oldhost.dialects.programs import meaning
from popbox.migrate.oldhost.source import open_source

HOME = b"/home/ann"
BOXES = f"{QMAIL}/popboxes/domain-com"
MAILDIR = ["/home/ann/Maildir"]
KNOWN: dict[str, tuple[list[str], list[str], list[str]]] = {
    "deliverquota ./Maildir": (MAILDIR, [], ["quota"]),
    "spamc | deliverquota ./Maildir": (MAILDIR, [], ["spamc", "quota"]),
    "/usr/bin/spamc -f -u ann | /usr/bin/deliverquota -w 90 ./Maildir 1000S": (MAILDIR, [], ["spamc", "quota"]),
    "spamc -e deliverquota ./Maildir": (MAILDIR, [], ["spamc", "quota"]),
    "spamc -f --pipe-to /usr/bin/deliverquota ./Maildir": (MAILDIR, [], ["spamc", "quota"]),
    'preline spamassassin -P -x | safecat "$HOME"/Maildir/tmp "$HOME"/Maildir/new': (MAILDIR, [], ["spamassassin"]),
    "preline formail -A 'X-By: old' | spamc | safecat ${HOME}/Maildir/tmp ${HOME}/Maildir/new":
        (MAILDIR, [], ["formail", "spamc"]),
    "/usr/bin/spamc -f | /var/qmail/bin/preline -f procmail DEFAULT=./Maildir/": (MAILDIR, [], ["spamc"]),
    "exec nice -n 10 preline procmail -t DEFAULT=./Maildir/": (MAILDIR, [], []),
    "cat | maildrop": ([], [], []),
    "forward x@a.example y@b.example": ([], ["x@a.example", "y@b.example"], []),
    "/var/qmail/bin/forward x@a.example": ([], ["x@a.example"], []),
    "spamc | forward x@a.example": ([], ["x@a.example"], ["spamc"]),
    "condredirect x@a.example test -f away": ([], [], ["condredirect"]),
    "except grep -q x": ([], [], ["except"]),
    "ifspamh spam@a.example": ([], [], ["ifspamh"]),
    "bouncesaying 'no ads' grep -q ad": ([], [], ["bouncesaying"]),
    "vacation ann": ([], [], ["vacation"]),
    "qmail-autoresponder message.txt /var/auto": ([], [], ["qmail-autoresponder"]),
    "autorespond 10000 5 /a/message /a": ([], [], ["autorespond"]),
    "true": ([], [], []),
    "": ([], [], []),
    "# a note": ([], [], []),
    "deliverquota ./Maildir  # ann's quota": (MAILDIR, [], ["quota"]),
    "deliverquota ~/Maildir": (MAILDIR, [], ["quota"]),
    "deliverquota 'a'#'b' # c": (["/home/ann/a#b"], [], ["quota"]),
    "deliverquota '~/Maildir'": (["/home/ann/~/Maildir"], [], ["quota"]),
    "vdelivermail '' ann@v.example": ([], ["ann@v.example"], []),
}  # fmt: skip
UNKNOWN = [
    "|", "deliverquota $HOMES/Maildir", "exit 99; # x",
    "spamc |", "| deliverquota ./Maildir", "spamc || deliverquota ./Maildir", "a; deliverquota ./Maildir",
    "unknown | deliverquota ./Maildir", "spamc -c | deliverquota ./Maildir", "cat > file", "deliverquota ./Maildir &",
    "forward $DEFAULT@a.example", "forward", "forward ann", "if true; then exit 99; fi", "`x`", "deliverquota 'x",
    "condredirect x@a.example true | cat x", "/usr/bin/ezmlm/ezmlm-send /home/list", "exit 1 2", "exit 256", "vdeliver",
    "preline", "nice", "spamc -e", "formail -s procmail", "procmail", "safecat a b", "deliverquota",
]  # fmt: skip


@pytest.mark.parametrize("line", KNOWN)
def test_a_known_command_is_what_it_means(line: str, tmp_path: Path) -> None:
    put(tmp_path / "etc/passwd", "")
    found = meaning(open_source(str(tmp_path)), HOME, line.encode())
    if line == "cat | maildrop":
        assert found is None, "no file says its default"
        put(tmp_path / "etc/maildroprc", 'DEFAULT="./Maildir/"\n')
        found = meaning(open_source(str(tmp_path)), HOME, line.encode())
        assert found is not None
        assert [store.path.decode() for store in found.stores] == MAILDIR
        return
    assert found is not None
    assert ([store.path.decode() for store in found.stores], found.forwards, found.lost) == KNOWN[line]
    assert not found.refuses


CODES = {
    "ends": [99],
    "refuses": [64, 65, 70, 76, 77, 78, 100, 112],
    "defers": [1, 2, 63, 66, 71, 74, 75, 79, 98, 101, 111, 113, 127, 255],
    "": [0],
}


@pytest.mark.parametrize(("does", "code"), [(does, code) for does, codes in CODES.items() for code in codes])
def test_the_code_of_a_program_decides(does: str, code: int, tmp_path: Path) -> None:
    """Q-PROG-2."""
    put(tmp_path / "etc/passwd", "")
    for command in (b"exit %d" % code, b"exit %d # note" % code):
        found = meaning(open_source(str(tmp_path)), HOME, command)
        assert found is not None
        assert [name for name in ("ends", "refuses", "defers") if getattr(found, name)] == ([does] if does else [])


def test_a_hostile_line_takes_no_long_time(tmp_path: Path) -> None:
    """Each of 100,000 blanks was the beginning of another search for a redirection: minutes."""
    put(tmp_path / "etc/passwd", "")
    began = time.process_time()
    assert meaning(open_source(str(tmp_path)), HOME, b"x" + b" " * 100_000 + b"'") is None
    assert time.process_time() < began + 2


def test_a_number_sign_that_is_quoted_begins_no_comment(tmp_path: Path) -> None:
    put(tmp_path / "etc/passwd", "")
    found = meaning(open_source(str(tmp_path)), HOME, b"bouncesaying '#5.1.1 no such user'")
    assert found is not None
    assert found.refuses


@pytest.mark.parametrize("line", ["false", "/bin/false", "exit no", "exit -1", "cat | exit 111"])
def test_what_is_no_success_and_no_refusal_defers(line: str, tmp_path: Path) -> None:
    put(tmp_path / "etc/passwd", "")
    found = meaning(open_source(str(tmp_path)), HOME, line.encode())
    assert found is not None
    assert (found.defers, found.refuses, found.ends) == (True, False, False)


@pytest.mark.parametrize("line", UNKNOWN)
def test_any_other_command_is_not_guessed(line: str, tmp_path: Path) -> None:
    put(tmp_path / "etc/passwd", "")
    assert meaning(open_source(str(tmp_path)), HOME, line.encode()) is None


@pytest.mark.parametrize(
    ("text", "forwards", "lost"),
    [
        ("|bouncesaying 'moved away'\n", None, False),
        ("&x@a.example\n|bouncesaying moved\n", None, False),  # a failing line cancels the forwards (E-52)
        ("|exit 100\n&x@a.example\n", None, False),
        ("|exit 111\n", None, True),  # it took mail to deliver it later, the new host would refuse it
        ("|exit 111\n&x@a.example\n", ["x@a.example"], False),
        ("&x@a.example\n|exit 1\n|exit 99\n&y@a.example\n", ["x@a.example"], False),
        ("|exit 111\n|exit 100\n&x@a.example\n", None, False),
        ("&x@a.example\n|exit 99\n&y@a.example\n", ["x@a.example"], False),
        ("|exit 0\n&x@a.example\n", ["x@a.example"], False),
        ("|condredirect x@a.example true\n&y@a.example\n", ["y@a.example"], False),
        ("|forward x@a.example\n", ["x@a.example"], False),
        ("|condredirect x@a.example true\n", None, True),
        ("|ezmlm-send list\n", None, True),
        ("|autorespond 1 1 a b\n", None, True),
        ("|ezmlm-send list\n&x@a.example\n", ["x@a.example"], "what a program does with mail for "),
    ],
)
def test_an_address_with_programs(text: str, forwards: list[str] | None, lost: bool | str, tmp_path: Path) -> None:
    """Q-PROG-2: 99 stops, 100 refuses, and an address that takes no mail is no loss; after 111 mail waits."""
    root = HOSTS["howto"](tmp_path)
    put(root / BOXES / "sales/.qmail", text)
    found = audited(root)
    assert found.accounts.domains["domain.com"].forwards.get("sales") == forwards
    what = lost if isinstance(lost, str) else "address "
    assert [one.what for one in found.lost] == ([f"{what}sales@domain.com"] if lost else [])


@pytest.mark.parametrize("line", ["|spamc | deliverquota ./Maildir", "|/usr/bin/spamc -f | preline -f procmail"])
def test_a_filter_before_a_delivery_is_named_and_no_loss(line: str, tmp_path: Path) -> None:
    root = HOSTS["howto"](tmp_path)
    put(root / BOXES / "ann/.qmail", f"{line}\n")
    found = audited(root)
    assert found.accounts.domains["domain.com"].boxes["ann"].login is not None
    assert found.lost == []
    assert f"/{BOXES}/ann/.qmail:1" in {str(one.where) for one in found.left}


def test_a_pipeline_into_a_box_of_its_own(tmp_path: Path) -> None:
    root = HOSTS["howto"](tmp_path)
    put(root / BOXES / "sales/.qmail", "|spamc | deliverquota ./Box\n")
    maildir(root / BOXES / "sales/Box", 2)
    found = audited(root)
    assert found.accounts.domains["domain.com"].boxes["sales"].store.path == f"/{BOXES}/sales/Box".encode()
    assert found.lost == []
