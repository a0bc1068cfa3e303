"""A child that kills itself at its Nth write, and what is looked at after its death.

The writes are audit events of the interpreter, and octets written (which are left half done) and copies; on a full
disk fsyncs, too.
"""

from __future__ import annotations

import errno
import functools
import importlib
import itertools
import os
import pkgutil
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.mailhost.cli.support import Host

import mailhost.cli
from mailhost.cli import main
from mailhost.qmail.assign import lookup
from mailhost.qmail.cdb.reader import Cdb
from mailhost.qmail.control import Controls, accepts, load
from mailhost.qmail.dotqmail import Found
from mailhost.qmail.dotqmail import find as find_qmail
from mailhost.qmail.rewrite import Local, rewrite

EVENTS = frozenset(f"os.{name}" for name in ("rename", "link", "mkdir", "remove", "rmdir", "chmod", "chown"))
GROWING = frozenset(["os.link", "os.mkdir"])  # what a full disk refuses
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def die_before(writes: int, *, full: bool = False) -> None:
    """From now on this process kills itself at its write number ``writes``, having done half of it where it can.

    Or, with ``full``, from that write on the disk has no room, for as long as the process lives.
    """
    left = writes

    def count(half: Callable[[], object] = lambda: None) -> None:
        nonlocal left
        if left == 0:
            half()
            if full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    def hook(event: str, args: tuple[object, ...]) -> None:
        opens = event == "open" and isinstance(args[2], int) and bool(args[2] & WRITING) and args[0] != os.devnull
        if event in (GROWING if full else EVENTS) or opens:
            count()

    real_write, real_copy, real_sync = os.write, os.copy_file_range, os.fsync

    def write(target: int, text: bytes) -> int:
        if target > 2:
            count(lambda: real_write(target, text[: len(text) // 2]))
        return real_write(target, text)

    def copy_range(source: int, target: int, octets: int, **offsets: int) -> int:
        count(lambda: real_copy(source, target, octets // 2, **offsets))
        return real_copy(source, target, octets, **offsets)

    def sync(descriptor: int) -> None:
        count()
        real_sync(descriptor)

    os.write, os.copy_file_range = write, copy_range  # type: ignore[assignment]
    if full:  # a death before an fsync leaves the same files as one before what comes next
        os.fsync = sync  # type: ignore[assignment]
    sys.addaudithook(hook)


@functools.cache
def load_all() -> None:
    """Every module of the command: else each of some hundred children loads the same ones, most of its time."""
    for module in pkgutil.walk_packages(mailhost.cli.__path__, "mailhost.cli."):
        importlib.import_module(module.name)


def killed(host: Host, writes: int, words: list[str], *, full: bool = False) -> bool:
    """Make the change in a child that dies before its write number ``writes``; False when it lived to its end.

    With ``full`` it finds no room from there on, and has to say so (111).
    """
    load_all()
    child = os.fork()
    if child == 0:
        code: object = 1
        try:
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, 1)
            os.dup2(nothing, 2 if full else 1)
            die_before(writes, full=full)
            main(["--home", str(host.home), *words], standalone_mode=False)
            code = 0
        except SystemExit as ended:
            code = ended.code
        finally:
            os._exit(code if isinstance(code, int) else 1)
    _, status = os.waitpid(child, 0)
    assert status in (0, 111 << 8 if full else signal.SIGKILL), status
    return status != 0


def deliverable(host: Host, controls: Controls, address: str) -> bool:
    """As qmail sees it now: accepted, virtual, and led to a box whose .qmail counts, or to a directory that is missing
    (put off).
    """
    if not accepts(controls, address.encode()).accepted:
        return False
    routed = rewrite(controls, address.encode())
    assert isinstance(routed, Local), f"{address} is accepted, but would be sent elsewhere and bounce"
    found = lookup(Cdb(host.home / "users/cdb"), routed.address.rpartition(b"@")[0])
    if found is None:
        return False
    box = Path(found.home.decode())
    if not box.exists():
        return True
    instructions = find_qmail(found.home, found.dash, found.ext)
    if (box / ".qmail").exists() and "./Maildir/" in (box / ".qmail").read_text():
        assert (box / "Maildir/new").is_dir(), "led to a half-made box"
    return isinstance(instructions, Found) and bool(instructions.text)


def refused(controls: Controls, address: str) -> bool:
    """Whether SMTP refuses it: the sender keeps the mail and knows."""
    return not accepts(controls, address.encode()).accepted


def copy(tree: Path, other: Path) -> None:
    """With owners, which shutil leaves to chance."""
    subprocess.run(["cp", "-a", tree, other], check=True, timeout=60)


def copied(start: Path, home: Path) -> Host:
    """A copy of a host in another place, whose files name that place."""
    copy(start, home)
    for path in [home / "users/poppasswd", *(home / "users/domains").iterdir()]:
        path.write_text(path.read_text().replace(str(start), str(home)))
    host = Host(home)
    host.ok("rebuild", "--force")
    return host


def survey(
    host: Host,
    words: list[str],
    tracked: Iterable[str] = (),
    *,
    again: bool = False,
    full: bool = False,
    watch: Callable[[], object] = lambda: None,
) -> int:
    """Kill the change at each of its writes; how many those are. AssertionError where mail or state is lost.

    After each death the next writer (``rebuild``) finds the old state or makes the new; with ``again`` the same command
    makes the new. ``full``: it is not killed, its disk is full. ``watch`` looks at the host besides, right after the
    death and when that is done.
    """
    kept = host.home.parent / "kept"
    if host.home.exists():
        copy(host.home, kept)
    tracked = list(tracked)

    def state() -> tuple[dict[str, tuple[int, int, bytes]], dict[str, bool]]:
        controls = load(host.home)
        return comparable(host), {address: deliverable(host, controls, address) for address in tracked}

    old, had = state()
    controls = load(host.home)
    open_ = {address for address in tracked if not refused(controls, address)}
    assert not killed(host, 10_000, words), "untouched, the change is made"
    new, has = state()
    for writes in itertools.count():
        shutil.rmtree(host.home, ignore_errors=True)
        if kept.exists():
            copy(kept, host.home)
        if not killed(host, writes, words, full=full):
            return writes
        controls = load(host.home)
        for address in tracked:
            served = deliverable(host, controls, address)
            assert served or not (had[address] and has[address]), f"{address} is lost after {writes} writes"
            if has[address] and address not in open_:
                assert served or refused(controls, address), f"{address} would bounce after {writes} writes"
        watch()
        host.ok(*(words if again else ["rebuild"]))
        assert comparable(host) in ([new] if again else [old, new]), f"neither the old nor the new: {writes} writes"
        watch()
    raise AssertionError


HASH = re.compile(rb"\$6\$[./0-9A-Za-z]+\$[./0-9A-Za-z]{86}")


def comparable(host: Host) -> dict[str, tuple[int, int, bytes]]:
    """The tree without inode numbers, times of day and salts."""
    tree: dict[str, tuple[int, int, bytes]] = {}
    for name, found in host.tree().items():
        parts = [part.split(".2")[0] for part in name.split("/")]
        mode, uid, text = found
        text = b"" if name.endswith(".csv") else text  # made-up passwords
        tree["/".join(parts) if ".removed" in name else name] = (mode, uid, HASH.sub(b"$6$", text))
    return tree
