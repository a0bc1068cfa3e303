"""Many addresses at once: the answers of ``route``, in a tree that stands for another host too."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.mailhost.qmail.support import GID, UID, Home, throw_away

from mailhost.cli import main
from mailhost.qmail import assign
from mailhost.qmail.bulk.answer import Answer, answer
from mailhost.qmail.bulk.host import TreeHost
from mailhost.qmail.bulk.known import PROBE, known
from mailhost.qmail.bulk.remembered import Remembered
from mailhost.qmail.bulk.tree import Tree
from mailhost.qmail.lookup import accounts_of
from mailhost.qmail.route import Outcome, Route, route

SEED, HOSTS = 12, 15
LINES = ("./Maildir/", "./Maildir", "./Mailbox", "#", "", "|true", "&x@far.org", "joe@d.com", "./none/", "/dev/null",
         "./fifo", "+list", "b@d.com", "./dir/file")  # fmt: skip
NAMES = (".qmail", ".qmail-default", ".qmail-x", ".qmail-a-default", ".qmaildefault", ".qmail-a:b")
USERS = ("joe", "JOE-x", "joe-a-b", "b", "c-a.b", "")


def build(chance: random.Random, host: Home) -> None:
    """A host with the usual mistakes, in files and in modes."""
    host.control("rcpthosts", "d.com\n.e.org\nfar.org\n")
    host.control("virtualdomains", "d.com:d\n.e.org:e\nb@d.com:x\n")
    host.control("locals", "mx1.example.net\n")
    lines = []
    for number in range(5):
        home = host.box(str(number), maildir=chance.random() < 0.8)
        for name in chance.sample(NAMES, 3):
            text = "\n".join(chance.choices(("./Maildir/", "|true", *LINES), k=chance.choice((0, 1, 1, 2))))
            (home / name).write_text(text)
            (home / name).chmod(chance.choice((0o600, 0o600, 0o644, 0o644, 0o700, 0o666, 0o000)))
        os.mkfifo(home / "fifo")
        if chance.random() < 0.3:
            (home / ".qmail-link").symlink_to(chance.choice((".qmail-x", "none", ".qmail-link")))
        Home.own(home)
        if os.getuid() == 0 and chance.random() < 0.3:
            os.chown(chance.choice(list(home.rglob("*"))), 0, 0, follow_symlinks=False)
        home.chmod(chance.choice((0o700, 0o700, 0o700, 0o755, 0o755, 0o777, 0o1755, 0o500, 0o000)))
        kind, dash = chance.choice((("=", ""), ("+", "-"), ("+", "")))
        name = chance.choice(("joe", "joe", "joe-", "b", "c-"))
        place = "BOX/gone" if chance.random() < 0.1 else f"BOX/{number}"
        lines.append(f"{kind}{chance.choice(('d-', 'd-', 'e-', 'x-'))}{name}:IDS:{place}:{dash}::")
    host.assign(*lines)


def of_machine(host: Home) -> TreeHost:
    """The host as its own machine has it."""
    return TreeHost(Tree(Path("/")), os.fsencode(host.path), accounts_of(host.path), owners="strict")


def told(way: Route) -> list[str]:
    """What `answer` calls the ends of a route."""
    if way.outcome is not Outcome.DELIVERED:
        return [way.outcome.value]
    return [
        kind
        for one in way.deliveries
        for kind in (told(one.onward) if one.onward is not None else [one.instruction.kind.value])
    ]


@pytest.mark.slow
@pytest.mark.needs("root")  # for another user owners say nothing to the tree, and modes do to route()
def test_answers_are_those_of_route_on_hosts_with_odd_files_and_modes() -> None:
    chance, seen = random.Random(SEED), dict[str, int]()
    for _ in range(HOSTS):
        with throw_away() as path:
            host = Home(path)
            build(chance, host)
            many = of_machine(host)
            for user in USERS:
                for domain in ("d.com", "x.e.org", "mx1.example.net", "far.org"):
                    address = f"{user}@{domain}".encode()
                    way, found = route(path, address), answer(many, address)
                    assert found.accepted == (way.outcome is not Outcome.REFUSED), address
                    if not found.accepted:
                        continue
                    kinds = [end.kind for end in found.ends]
                    assert kinds == told(way), (address, way, found)
                    if way.failure is not None:
                        assert os.fsdecode(found.ends[0].text) == way.failure.text
                    for kind in kinds:
                        seen[kind] = seen.get(kind, 0) + 1
    assert {"maildir", "mbox", "bounced", "deferred", "discarded", "remote", "program"} <= set(seen), seen


def build_crowd(chance: random.Random, host: Home) -> list[bytes]:
    """The same with several addresses for each box, by assignments of all kinds; those addresses, in no order."""
    build(chance, host)
    for number in range(5):
        with (host.path / f"box/{number}/.qmail").open("a") as file:
            file.write(
                chance.choice(("", "", "", "&d1-x@d.com\n", "&here@mx1.example.net\n", "&n2@d.com\n./Maildir/\n"))
            )
        Home.own(host.path / f"box/{number}")
    for number, text in (("5", "|own\n&d6-z@d.com\n"), ("6", "|other\n")):
        (host.box(number) / ".qmail-default").write_text(text)
    (host.path / "box/5/.qmail-a").mkdir()
    (host.path / "box/5/.qmail-a/b").write_text("|slash\n")
    Home.own(host.path / "box/5")
    host.control("percenthack", "far.org\n")
    host.assign(
        *(f"=d-{name}{number}:IDS:BOX/{number}:::" for number in range(5) for name in "nm"),
        *(f"+d-d{number}-:IDS:BOX/{number}:-::" for number in range(7)),
        *chance.choice(([], ["+:IDS:BOX/3:::"])),
        *(f"={name}:IDS:BOX/{chance.randrange(5)}:::" for name in ("d-joe", "x-b", "here")),
        "=d-root:r:0:0:BOX/0:::", "=d-other:o:4711:4711:BOX/0:::", "+d-c:IDS:BOX/1:::", "+e-:IDS:BOX/2:-:a-:",
    )  # fmt: skip
    (host.path / "alias/.qmail-any").write_text("&n1@d.com\n")
    users = [f"{name}{number}{rest}" for number in range(5) for name in "nm" for rest in ("", "-x")]
    users += [
        f"d{number}-{rest}"
        for number in range(7)
        for rest in ("x", "X", "y", "a/b", "a-b", "a-z", "a.b", "default", "")
    ]
    users += [
        "joe",
        "b",
        "here",
        "any",
        "any-x",
        "root",
        "other",
        "c",
        "cx",
        "c-y",
        "a/b",
        "n1%d.com",
        "n1%e.org",
        "",
        "x\0y",
    ]
    domains = ("@d.com", "@D.com", "@x.e.org", "@mx1.example.net", "@far.org", "@b@d.com", "")
    asked = [os.fsencode(user + domain) for user in users for domain in domains] * 2
    chance.shuffle(asked)
    return asked


@pytest.mark.slow
@pytest.mark.needs("root")  # its hosts have files that their owner may not read
def test_what_is_remembered_is_what_is_worked_out() -> None:
    chance, seen = random.Random(SEED), dict[str, int]()
    for _ in range(HOSTS):
        with throw_away() as path:
            host = Home(path)
            asked = build_crowd(chance, host)
            worked, remembered = of_machine(host), Remembered(of_machine(host), repr)
            for address in asked:
                found = answer(worked, address)
                wanted = repr(dataclasses.replace(found, where=())), found.judged
                assert remembered.text(address) == wanted, address
                for end in found.ends:
                    seen[end.kind] = seen.get(end.kind, 0) + 1
    assert {"maildir", "mbox", "bounced", "deferred", "discarded", "remote", "program"} <= set(seen), seen


@pytest.fixture
def copy(howto: Home) -> Home:
    """The HOWTO's host with absolute paths of a root of which ``howto.path`` is var/qmail."""
    root = howto.path / "root"
    home = root / "var/qmail"
    home.mkdir(parents=True)
    for name in ("control", "users", "alias", "box"):
        shutil.move(howto.path / name, home / name)
    text = (home / "users/assign").read_text().replace(f"{howto.path}/box", "/var/qmail/box")
    (home / "users/assign").write_text(text)
    assign.newu(home)
    (root / "etc").mkdir()
    (root / "etc/passwd").write_text(f"alias:x:{UID}:{GID}::/var/qmail/alias:\nann:x:{UID}:{GID}::/home/ann:\n")
    return _at(root)


def _at(root: Path) -> Home:
    host = Home.__new__(Home)
    host.path = root
    return host


def batch(
    root: Path, *addresses: str, home: str = "/var/qmail", options: tuple[str, ...] = ()
) -> list[dict[str, object]]:
    done = CliRunner().invoke(
        main,
        ["--home", home, "explain", "--root", str(root), "--batch", *options],
        input="".join(f"{address}\n" for address in addresses),
    )
    assert done.exit_code in (0, 1), done.output
    return [json.loads(line) for line in done.output.splitlines()]


def test_paths_of_a_copy_are_read_below_it(copy: Home) -> None:
    head, joe, none = batch(copy.path, "joe@domain.com", "none@domain.com", options=("--steps",))
    assert head["version"] == 1
    assert joe["ends"] == [["maildir", "/var/qmail/box/joe/Maildir", "", "", ""]]
    assert joe["where"] == ["control/rcpthosts:1", "control/virtualdomains:1", "users/assign:1",
                            "/var/qmail/box/joe/.qmail:1"]  # fmt: skip
    local = joe["local"]
    assert isinstance(local, dict)
    assert (local["code"], local["out"], local["err"]) == (0, "maildir ./Maildir/\ndid 1+0+0\n", "")
    assert local["arguments"][1:6] == ["/var/qmail/box/joe", "domain-com-joe", "", "", "domain.com"]
    assert [end[0] for end in none["ends"]] == ["bounced"]  # type: ignore[attr-defined]


def test_a_copy_of_the_home_alone_does_not_judge_what_accounts_decide(copy: Home) -> None:
    home = copy.path / "var/qmail"
    _, joe, none = batch(home, "joe@domain.com", "none@domain.com", options=("--as", "/var/qmail"))
    assert [end[0] for end in joe["ends"]] == ["maildir"]  # type: ignore[attr-defined]
    assert [end[0] for end in none["ends"]] == ["not judged"]  # type: ignore[attr-defined]
    passwd = ("--as", "/var/qmail", "--passwd", str(copy.path / "etc/passwd"))
    assert [end[0] for end in batch(home, "none@domain.com", options=passwd)[1]["ends"]] == ["bounced"]  # type: ignore[attr-defined]


def test_links_are_followed_in_the_copy_and_never_out_of_it(copy: Home) -> None:
    box = copy.path / "var/qmail/box"
    (copy.path / "srv").mkdir()
    (box / "joe").rename(copy.path / "srv/joe")
    (box / "joe").symlink_to("/srv/joe")
    assert batch(copy.path, "joe@domain.com")[1]["ends"] == [["maildir", "/srv/joe/Maildir", "", "", ""]]
    secret = copy.path.parent / "secret"
    secret.write_text("secret@far.org\n")
    (copy.path / "srv/joe/.qmail").unlink()
    (copy.path / "srv/joe/.qmail").symlink_to(secret)  # of that name there is nothing on the old host
    assert "secret" not in json.dumps(batch(copy.path, "joe@domain.com"))
    (copy.path / "srv/joe/.qmail").unlink()
    (copy.path / "srv/joe/.qmail").symlink_to("../../../../../etc/passwd")
    assert "root" not in json.dumps(batch(copy.path, "joe@domain.com"))


def test_known_names_every_address_and_probes_each_rule_that_takes_many(copy: Home) -> None:
    home = copy.path / "var/qmail"
    (home / "control/locals").write_text("here.net\n")
    (home / "control/virtualdomains").write_text("domain.com:domain-com\nbob@x.org:x\n.sub.org:sub\nout.org:\n")
    (home / "alias/.qmail-Info").write_text("")
    (home / "alias/.qmail-info").write_text("")
    (home / "box/joe/.qmail-a:b").write_text("")
    (home / "box/joe/.qmail-list-default").write_text("")
    (copy.path / "home/ann").mkdir(parents=True)
    (copy.path / "home/ann/.qmail-sis").write_text("")
    with (home / "users/assign").open("r+") as file:
        text = file.read().replace(".\n", f"+domain-com-joe-:p:{UID}:{GID}:/var/qmail/box/joe:-::\n.\n")
        file.seek(0)
        file.write(text)
    done = CliRunner().invoke(main, ["explain", "--root", str(copy.path), "--known"])
    assert done.exit_code == 0, done.output
    names = {line.partition("\t")[2] for line in done.output.splitlines()}
    probe = PROBE.decode()
    assert {"joe@domain.com", f"joe-{probe}@domain.com", "joe-a.b@domain.com", f"joe-list-{probe}@domain.com",
            "bob@x.org", f"{probe}@{probe}.sub.org", f"{probe}@out.org", f"{probe}@domain.com", "info@here.net",
            "ann@here.net", "ann-sis@here.net", f"ann-{probe}@here.net", "postmaster@here.net"} <= names  # fmt: skip


def diff(new: Home, old: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--home", str(new.path), "explain", "--diff", str(old), *arguments])


def test_a_home_and_itself_differ_in_nothing(howto: Home) -> None:
    done = diff(howto, howto.path)
    assert (done.exit_code, done.output.splitlines()[-1].startswith("0 of ")) == (0, True), done.output


def test_lines_of_assign_that_newu_has_not_seen_are_told_before_it_runs(howto: Home) -> None:
    howto.box("ann", "./Maildir/\n", maildir=True)
    howto.assign("=domain-com-joe:IDS:BOX/ann:::", "=domain-com-ann:IDS:BOX/ann:::", build=False)
    done = diff(howto, howto.path)
    assert done.exit_code == 1
    assert "joe@domain.com\n" in done.output
    assert f"  old  maildir {howto.path}/box/joe/Maildir\n" in done.output
    assert f"  new  maildir {howto.path}/box/ann/Maildir\n" in done.output
    assert "users/assign:1, " in done.output
    found = json.loads(diff(howto, howto.path, "--json", "ann@domain.com").output)
    assert [
        (row["address"], row["old"]["ends"][0]["kind"], row["new"]["ends"][0]["kind"]) for row in found["changed"]
    ] == [("ann@domain.com", "bounced", "maildir")]


def test_a_bad_line_of_assign_is_named_and_nothing_else_is_said(howto: Home) -> None:
    howto.assign("=domain-com-joe:IDS", build=False)
    done = diff(howto, howto.path)
    assert done.exit_code == 111
    assert "users/assign:1" in done.output


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_a_table_that_is_no_file_is_named(howto: Home, make: Callable[[Path], object]) -> None:
    """Of a directory the descriptor was left open, and its number was taken for a name: a traceback."""
    (howto.path / "users/assign").unlink()
    make(howto.path / "users/assign")
    open_before = len(os.listdir("/proc/self/fd"))
    done = diff(howto, howto.path)
    assert (done.exit_code, "users/assign: is no regular file" in done.output) == (111, True), done.output
    assert len(os.listdir("/proc/self/fd")) == open_before


def test_a_home_that_is_none_is_unusable(howto: Home, tmp_path: Path) -> None:
    assert diff(howto, tmp_path).exit_code == 2


@pytest.mark.needs("root")
def test_copies_of_other_users_do_not_count_owners(copy: Home) -> None:
    for path in (copy.path / "var/qmail").rglob("*"):
        os.chown(path, 4711, 4711, follow_symlinks=False)
    assert batch(copy.path, "joe@domain.com")[0]["owners_count"] is False
    assert batch(copy.path, "joe@domain.com")[1]["ends"][0][0] == "maildir"  # type: ignore[index]


@pytest.mark.needs("root")
def test_on_the_host_itself_a_box_of_another_owner_defers(howto: Home) -> None:
    for path in (howto.path / "box").rglob("*"):
        os.chown(path, 0, 0, follow_symlinks=False)
    found: Answer = answer(of_machine(howto), b"joe@domain.com")
    assert [end.kind for end in found.ends] == ["deferred"]


def test_known_of_a_host_holds_what_assign_names(howto: Home) -> None:
    assert b"joe@domain.com" in {one.address for one in known(of_machine(howto))}
