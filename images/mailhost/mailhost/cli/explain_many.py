"""``mailhost explain`` for many addresses: ``--batch``, ``--known`` and ``--diff``."""

from __future__ import annotations

import gc
import io
import json
import os
import pwd
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from mailhost.accounts.errors import InputError
from mailhost.accounts.layout import require
from mailhost.cli.output import print_json
from mailhost.cli.terminal import say, visible
from mailhost.qmail.assigntext import NewuError
from mailhost.qmail.bulk.answer import Answer, End, answer
from mailhost.qmail.bulk.dryrun import dry_run
from mailhost.qmail.bulk.host import Owners, TreeHost, accounts_in
from mailhost.qmail.bulk.known import known
from mailhost.qmail.bulk.remembered import Remembered
from mailhost.qmail.bulk.tree import NotJudgedError, Tree
from mailhost.qmail.control import ControlError, Reader
from mailhost.qmail.hints.hint import shown
from mailhost.qmail.lookup import PasswdLookup, accounts_of
from mailhost.qmail.route import Route, route, submitted
from mailhost.system.reading import read_given

DONE, SOME, TEMPORARY = 0, 1, 111
PASSWD_OCTETS = 256 << 20  # our choice: more than a million accounts


@dataclass(frozen=True, slots=True)
class Place:
    """Where a host's files lie: ``root`` None is this machine itself; ``stands_for``: what root is on the host."""

    home: Path
    root: Path | None = None
    stands_for: str = "/"
    passwd: Path | None = None
    owners: Owners = "auto"
    default: bytes | None = None

    def open(self, *, rebuilt: bool = False) -> tuple[TreeHost, list[pwd.struct_passwd]]:
        """The host, and its accounts as far as they are known.

        Raises:
            InputError: the home has no control/.
            OSError: a file cannot be read.
            NewuError: with ``rebuilt``: users/assign is unusable.
        """
        if self.root is None:
            require(self.home)
        tree = Tree(self.root or Path("/"), self.stands_for)
        find, accounts = self._accounts(tree)
        home = os.fsencode(self.home.resolve() if self.root is None else self.home)
        try:
            tree.look(home + b"/control")
        except (OSError, NotJudgedError) as why:
            raise InputError(f"{self.root or self.home}: no {os.fsdecode(home)}/control of a qmail host") from why
        return TreeHost(tree, home, find, self.default, owners=self.owners, rebuilt=rebuilt), accounts

    def _accounts(self, tree: Tree) -> tuple[PasswdLookup | None, list[pwd.struct_passwd]]:
        if self.passwd is not None:
            return _listed(read_given(self.passwd))
        if self.root is None:
            return accounts_of(self.home.resolve()), pwd.getpwall()
        try:
            found = tree.read(tree.look(b"/etc/passwd")[0], PASSWD_OCTETS)
        except (OSError, NotJudgedError):
            found = None
        return (None, []) if found is None else _listed(found[0])


def _listed(text: bytes) -> tuple[PasswdLookup, list[pwd.struct_passwd]]:
    accounts = accounts_in(text)
    return accounts.get, list(accounts.values())


def one(home: Path, address: bytes, default: bytes | None) -> Route:
    """The way of one address, judged by owners, groups and modes, and not by what this process may do.

    Raises:
        InputError: the home has no control/, or a file decides that cannot be judged here.
        OSError: a file cannot be read.
    """
    host, _ = Place(home, owners="strict", default=default).open()
    try:
        return route(home, address, default, host.inspect)
    except NotJudgedError as why:
        raise InputError(f"{visible(shown(address))} cannot be judged: {why}") from why


def batch(place: Place, *, steps: bool) -> int:
    """Answer the addresses on stdin, one a line, each by a line of JSON. The first line is about the host."""
    host, _ = place.open()
    host.lines_wanted = steps
    gc.freeze()  # the host stays, and an answer holds no cycles: looking for some takes a third of the time
    gc.set_threshold(100_000)
    code = _answered(host, sys.stdin.buffer, sys.stdout.write, steps=steps)
    sys.stdout.flush()
    return code


def told(home: Path, addresses: bytes) -> tuple[int, str]:
    """Exit code and output of ``--batch`` for a few addresses, a line each, in a process that goes on.

    All files are read now, and nothing of them is kept.

    Raises:
        InputError, OSError, NewuError, ControlError, NotJudgedError: the program itself says it in its own words.
    """
    host, _ = Place(home).open()
    lines: list[str] = []
    code = _answered(host, io.BytesIO(addresses), lines.append, steps=False)
    return code, "".join(lines)


def _answered(host: TreeHost, addresses: Iterable[bytes], out: Callable[[str], object], *, steps: bool) -> int:
    """The exit code, once all is told."""
    encode = json.JSONEncoder(separators=(",", ":")).encode
    out(encode({"version": 1, "owners_count": host.owners_count, "default_delivery": _default(host)}) + "\n")
    judged = True
    remembered = Remembered(host, lambda found: encode(_as_json(found, steps=False)) + "\n")
    for line in addresses:
        address = line.removesuffix(b"\n")
        if steps:
            found = answer(host, address)
            said = _as_json(found, steps=True) | {"local": _dry_run(host, address, found)}
            text, sure = encode(said) + "\n", found.judged
        else:
            text, sure = remembered.text(address)
        out(text)
        judged = judged and sure
    return DONE if judged else SOME


def _default(host: TreeHost) -> str | None:
    try:
        default = host.controls(Reader.SEND).defaultdelivery if host.default is None else host.default
    except ControlError:
        return None
    return _lossless(default)


def _as_json(found: Answer, *, steps: bool) -> dict[str, object]:
    ends = [[end.kind, *map(_lossless, (end.text, end.home, end.ext, end.host))] for end in found.ends]
    where = {"where": [shown(os.fsencode(file)) for file in found.where]} if steps else {}
    return {"accepted": found.accepted, "ends": ends, **where}


def _dry_run(host: TreeHost, address: bytes, found: Answer) -> dict[str, object] | None:
    """What `qmail-local -n` is given for the address, and what it must say."""
    if not found.judged:
        return None
    try:
        one = dry_run(host, submitted(host, address))
    except (ControlError, NotJudgedError):
        return None
    if one is None:
        return None
    said = {"code": one.said.code, "out": _lossless(one.said.out), "err": _lossless(one.said.err)}
    return {"uid": one.uid, "gid": one.gid, "arguments": list(map(_lossless, one.arguments)), **said}


def _lossless(octets: bytes) -> str:
    """Octets as JSON gives them back: what is not UTF-8 as lone surrogates."""
    return octets.decode("utf-8", "surrogateescape")


def list_known(place: Place) -> int:
    """Write what is known, ``kind TAB address`` a line; the same address can come more than once."""
    host, accounts = place.open()
    write = sys.stdout.buffer.write
    for one in known(host, accounts):
        if b"\n" not in one.address:
            write(one.kind.encode() + b"\t" + one.address + b"\n")
    sys.stdout.buffer.flush()
    return DONE


def diff(old: Place, new: Place, addresses: Iterable[bytes], *, as_json: bool) -> int:
    """Say which addresses would do something else. The new side counts as rebuilt by qmail-newu and qmail-newmrh."""
    old_host, old_accounts = old.open()
    new_host, new_accounts = new.open(rebuilt=True)
    asked = list(addresses) or sorted(
        {one.address for one in known(old_host, old_accounts)} | {one.address for one in known(new_host, new_accounts)}
    )
    unjudged, changed = 0, list[bytes]()
    for address in asked:
        before, after = answer(old_host, address), answer(new_host, address)
        unjudged += not (before.judged and after.judged)
        if not before.same(after) or not before.judged:
            changed.append(address)
    old_host.lines_wanted = new_host.lines_wanted = True
    pairs = ((address, answer(old_host, address), answer(new_host, address)) for address in changed)
    if as_json:
        print_json(_diff_json(pairs, len(asked), unjudged))
    else:
        for line in _diff_text(pairs):
            say(line)
        told = f", {unjudged} cannot be judged from here" if unjudged else ""
        say(f"{len(changed) - unjudged} of {len(asked)} addresses would change{told}")
    return SOME if changed else DONE


def _diff_json(pairs: Iterable[tuple[bytes, Answer, Answer]], asked: int, unjudged: int) -> dict[str, object]:
    rows = [{"address": shown(address), "old": _side(before), "new": _side(after)} for address, before, after in pairs]
    return {"version": 1, "asked": asked, "not_judged": unjudged, "changed": rows}


def _side(one: Answer) -> dict[str, object]:
    ends = [{"kind": end.kind, "text": shown(end.text)} for end in one.ends]
    return {"accepted": one.accepted, "ends": ends, "where": [shown(os.fsencode(file)) for file in one.where]}


def _diff_text(pairs: Iterable[tuple[bytes, Answer, Answer]]) -> Iterator[str]:
    for address, before, after in pairs:
        yield visible(shown(address))
        for label, one in (("old", before), ("new", after)):
            refused = "" if one.accepted else "refused by qmail-smtpd; else "
            yield f"  {label}  {refused}{'; '.join(map(_end_text, one.ends))}"
            yield f"       by {', '.join(visible(file) for file in one.where)}"


def _end_text(end: End) -> str:
    return visible(f"{end.kind} {shown(end.text)}".rstrip())


def run(work: Callable[[], int]) -> int:
    """The exit code of one of these; what cannot be read is said on stderr.

    Raises:
        InputError: a host is none.
        OSError: a file cannot be read.
    """
    try:
        return work()
    except (NewuError, ControlError, NotJudgedError) as why:
        click.echo(f"mailhost: {visible(str(why))}", err=True)
        return TEMPORARY
