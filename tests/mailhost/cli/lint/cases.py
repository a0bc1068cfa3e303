"""What is wrong with a host, rule by rule: what makes it so, where lint names it, and whether --fix mends it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.mailhost.cli.support import Host

RELAY = "control/relayclients"
VIRTUAL = "control/virtualdomains"
SECOND = "users/poppasswd.temporary"
MARK = b"\xef\xbb\xbf"
PART, BOX = "users/domains/domain.com", "popboxes/domain-com/joe"
Break = Callable[[Host], object]


def write(path: str, text: str) -> Break:
    return lambda host: (host.home / path).write_text(text)


def add(path: str, text: str) -> Break:
    def wrong(host: Host) -> None:
        file = host.home / path
        file.write_text((file.read_text() if file.exists() else "") + text.replace("HOME", str(host.home)))

    return wrong


def octets(path: str, content: bytes) -> Break:
    return lambda host: (host.home / path).write_bytes(content)


def before(path: str, mark: bytes) -> Break:
    return lambda host: octets(path, mark + (host.home / path).read_bytes())(host)


def remove(path: str) -> Break:
    return lambda host: (host.home / path).unlink()


def chmod(path: str, mode: int) -> Break:
    return lambda host: (host.home / path).chmod(mode)


def own(path: str) -> Break:
    return lambda host: os.chown(host.home / path, 4711, 4711)


def edit(path: str, old: str, new: str) -> Break:
    return lambda host: write(path, host.text(path).replace(old, new))(host)


def moved_out(host: Host, path: str) -> None:
    """Out of the home, with a link in its place."""
    (host.home / path).symlink_to((host.home / path).rename(host.home.parent / "out"))


def linked(path: Path) -> None:
    """Beside itself, with a link in its place."""
    path.symlink_to(path.rename(path.with_name("real")).name)


LINE = "=domain-com-x:popuser:888:888:/x:::\n"
AS_ROOT = pytest.mark.needs("root")

# rule, what makes it, file and line of the finding, whether --fix mends it
CASES: list[tuple[str, Break, str, int, bool]] = [
    ("control-unreadable", lambda h: (h.home / "control/databytes").mkdir(), "control/databytes", 0, False),
    ("open-relay", remove("control/rcpthosts"), "control/rcpthosts", 0, False),
    ("domain-local", add("control/locals", "domain.com\n"), "control/locals", 2, True),
    ("domain-refused", write("control/rcpthosts", ""), "control/virtualdomains", 1, True),
    ("domain-not-virtual", add("control/rcpthosts", "backup.example\n"), "control/rcpthosts", 2, False),
    ("domain-twice", add("control/virtualdomains", "domain.com:other\n"), "control/virtualdomains", 2, False),
    (
        "prefix-collision",
        lambda h: (add(VIRTUAL, "domain-com:domain-com\n")(h), write("users/domains/domain-com", "")(h)),
        "control/virtualdomains", 2, False,
    ),
    ("prefix-overlap", add(VIRTUAL, "domain.com.br:domain-com-br\n"), "control/virtualdomains", 2, False),
    ("prefix-is-account", add("control/virtualdomains", "a.example:alias\n"), "control/virtualdomains", 2, False),
    ("byte-order-mark", octets("control/rcpthosts", MARK + b"domain.com\n"), "control/rcpthosts", 1, False),
    ("byte-order-mark", octets("control/me", MARK + b"mx.example\n"), "control/me", 1, False),
    ("byte-order-mark", octets("control/databytes", MARK + b"1000\n"), "control/databytes", 1, False),
    ("byte-order-mark", octets(VIRTUAL, "domain.com:domain-com\n".encode("utf-16")), VIRTUAL, 1, False),
    ("byte-order-mark", before(PART, MARK), PART, 1, False),
    ("byte-order-mark", before("users/assign", MARK), "users/assign", 1, False),
    ("byte-order-mark", before("users/poppasswd", MARK), "users/poppasswd", 1, False),
    ("byte-order-mark", before(BOX + "/.qmail", MARK), BOX + "/.qmail", 1, False),
    ("odd-blank", write("control/rcpthosts", "domain.com\r\n"), "control/rcpthosts", 1, False),
    ("odd-blank", octets(VIRTUAL, b"domain.com:domain-com\nx.org: x\n"), VIRTUAL, 2, False),
    ("odd-blank", octets("control/locals", b"# \xe9\nlocalhost\nh\xe9\n"), "control/locals", 3, False),
    ("odd-blank", octets("control/badmailfrom", b"\xe9@x.org\n@y\0z\n"), "control/badmailfrom", 2, False),
    ("odd-blank", octets("control/me", b"mx.example\r\n"), "control/me", 1, False),
    ("value-empty", write("control/me", "\n"), "control/me", 1, False),
    ("value-empty", write("control/helohost", ""), "control/helohost", 1, False),
    ("number-odd", write("control/databytes", "10M\n"), "control/databytes", 1, False),
    ("number-odd", write("control/timeoutsmtpd", "ten\n"), "control/timeoutsmtpd", 1, False),
    ("alias-default", write("alias/.qmail-default", "&x@y.z\n"), "alias/.qmail-default", 0, False),
    ("unfinished-change", write("users/.mailhost/journal", ""), "users/.mailhost/journal", 0, True),
    ("relayclients-odd", write(RELAY, "# ours\n10.0.0.1\n10.0.0.1/8 @fix\n"), RELAY, 3, False),
    ("relayclients-odd", write(RELAY, "localhost\n"), RELAY, 1, False),
    ("relayclients-odd", lambda h: (h.home / RELAY).mkdir(), RELAY, 0, False),
    ("relayclients-standin", write(RELAY, "127.0.0.0/8\n::1 @fix\n"), RELAY, 0, False),
    ("part-broken", add(PART, "# a note\n"), PART, 2, False),
    ("part-broken", add(PART, "\n"), PART, 2, False),
    ("part-broken", add(PART, LINE.replace(":/x:::", ":/x")), PART, 2, False),
    ("part-broken", lambda h: write(PART, h.text(PART).rstrip("\n"))(h), PART, 1, True),
    ("address-twice", lambda h: add(PART, h.text(PART).replace("joe:pop", "JOE:pop"))(h), PART, 2, False),
    ("plus-too-wide", edit(PART, "=", "+"), PART, 1, False),
    ("plus-without-dash", add(PART, "+domain-com-ann-:popuser:888:888:HOME/x:::\n"), PART, 2, False),
    (
        "plus-shadows-domain",
        lambda h: (h.ok("domain", "add", "x.example"), add(PART, "+x-:popuser:888:888:HOME/x:-::\n")(h)),
        PART, 2, False,
    ),
    ("address-unreachable", edit(VIRTUAL, "domain-com", "domain-com:"), PART, 1, False),
    ("uid-zero", edit(PART, ":888:888:", ":0:888:"), PART, 1, False),
    ("uid-zero", edit(PART, ":888:888:", ":abc:888:"), PART, 1, False),
    ("uid-odd", edit(PART, ":888:888:", ":888x:888:"), PART, 1, False),
    ("home-relative", add(PART, LINE.replace("/x", "x")), PART, 2, False),
    ("part-misnamed", lambda h: write(PART + "~", h.text(PART))(h), PART + "~", 0, False),
    ("part-without-domain", write("users/domains/gone.example", LINE), "users/domains/gone.example", 0, False),
    ("domain-without-part", add("control/virtualdomains", "x.example:x\n"), "control/virtualdomains", 2, False),
    ("assign-stale", write("users/assign", ".\n"), "users/assign", 0, True),
    ("assign-stale", lambda h: write("users/assign", h.text(PART))(h), "users/assign", 0, True),
    ("assign-stale", remove("users/assign"), "users/assign", 0, True),
    ("assign-refused", lambda h: write("users/assign", h.text(PART))(h), "users/assign", 2, True),
    ("cdb-stale", write("users/cdb", "x"), "users/cdb", 0, True),
    ("cdb-missing", remove("users/cdb"), "users/cdb", 0, True),
    ("home-outside", add(PART, LINE), PART, 2, False),
    ("home-outside", lambda h: moved_out(h, BOX), PART, 1, False),
    ("home-outside", edit(PART, "/qmail/popboxes", "/qmail/../other/popboxes"), PART, 1, False),
    ("home-missing", lambda h: (h.home / BOX).rename(h.home / "away"), PART, 1, True),
    ("home-mode", chmod(BOX, 0o777), BOX, 0, True),
    ("home-mode", chmod(BOX, 0o1700), BOX, 0, True),
    ("home-mode", chmod(BOX, 0o750), BOX, 0, True),
    pytest.param("home-owner", own(BOX), BOX, 0, True, marks=AS_ROOT),  # type: ignore[list-item]
    pytest.param("maildir-owner", own(BOX + "/Maildir/new"), BOX + "/Maildir/new", 0, True, marks=AS_ROOT),  # type: ignore[list-item]
    ("qmail-missing", remove(BOX + "/.qmail"), PART, 1, False),
    ("qmail-missing", write(BOX + "/.qmail", ""), PART, 1, False),
    ("qmail-link", lambda h: linked(h.home / BOX / ".qmail"), PART, 1, False),
    ("qmail-unusable", chmod(BOX + "/.qmail", 0o646), PART, 1, False),
    ("qmail-writable", chmod(BOX + "/.qmail", 0o620), BOX + "/.qmail", 0, True),
    ("qmail-program", add(BOX + "/.qmail", "|cat\n"), BOX + "/.qmail", 2, False),
    ("qmail-fails", chmod(BOX + "/.qmail", 0o700), BOX + "/.qmail", 1, True),
    ("qmail-fails", write(BOX + "/.qmail", "\n./Maildir/\n"), BOX + "/.qmail", 1, False),
    ("qmail-fails", write(BOX + "/.qmail", "+list\n./Maildir/\n"), BOX + "/.qmail", 2, False),
    ("qmail-device", add(BOX + "/.qmail", "/dev/null\n"), BOX + "/.qmail", 2, False),
    ("qmail-no-slash", write(BOX + "/.qmail", "./Maildir\n"), BOX + "/.qmail", 1, False),
    ("qmail-no-slash", write(BOX + "/.qmail", "./Maildir/:\n"), BOX + "/.qmail", 1, False),
    ("qmail-twice", write(BOX + "/.qmail", "./Maildir/\n./Maildir/\n"), BOX + "/.qmail", 2, False),
    ("qmail-odd", write(BOX + "/.qmail", "# ours\r\n./Maildir/\n&a@b.example\r\n"), BOX + "/.qmail", 3, False),
    ("qmail-forward", write(BOX + "/.qmail", "./Maildir/\nMaildir/\n"), BOX + "/.qmail", 2, False),
    ("qmail-forward", write(BOX + "/.qmail", "./Maildir/\n&a b@c.example\n"), BOX + "/.qmail", 2, False),
    ("qmail-forward", write(BOX + "/.qmail", f"&{'x' * 1001}@y\n"), BOX + "/.qmail", 1, False),
    ("forward-loop", add(BOX + "/.qmail", "&joe@Domain.COM\n"), BOX + "/.qmail", 2, False),
    ("maildir-incomplete", lambda h: (h.home / BOX / "Maildir/tmp").rmdir(), BOX + "/Maildir", 0, True),
    ("maildir-incomplete", write(BOX + "/.qmail", "./Other\0dir/\n"), BOX + "/Other", 0, False),
    ("box-orphan", lambda h: (h.home / "popboxes/domain-com/lost").mkdir(), "popboxes/domain-com/lost", 0, False),
    ("row-broken", add("users/poppasswd", "nonsense\n"), "users/poppasswd", 2, False),
    ("poppasswd-open", chmod("users/poppasswd", 0o644), "users/poppasswd", 0, True),
    ("poppasswd-missing", remove("users/poppasswd"), "users/poppasswd", 0, False),
    ("login-twice", lambda h: add("users/poppasswd", h.text("users/poppasswd"))(h), "users/poppasswd", 2, False),
    (
        "hash-costly",
        edit("users/poppasswd", ":DmIMm9e5Hc8ic:", f":$6$rounds=999999999$abcdefgh${'x' * 86}:"),
        "users/poppasswd",
        1,
        False,
    ),
    ("login-odd", add("users/poppasswd", "ann :x:popuser:/x\n"), "users/poppasswd", 2, False),
    ("login-odd", add("users/poppasswd", "\ufeffann:x:popuser:/x\n"), "users/poppasswd", 2, False),
    ("login-odd", add("users/poppasswd", f"{'a' * 501}:x:popuser:/x\n"), "users/poppasswd", 2, False),
    ("hash-odd", edit("users/poppasswd", ":DmIMm9e5Hc8ic:", ":plain:"), "users/poppasswd", 1, False),
    ("hash-weak", lambda h: None, "users/poppasswd", 1, False),
    ("realuser-unknown", edit("users/poppasswd", ":popuser:", ":nosuchuser:"), "users/poppasswd", 1, False),
    ("realuser-root", edit("users/poppasswd", ":popuser:", ":root:"), "users/poppasswd", 1, False),
    ("realuser-other", edit("users/poppasswd", ":popuser:", ":daemon:"), "users/poppasswd", 1, False),
    ("row-without-address", edit(PART, "com/joe:", "com/jim:"), "users/poppasswd", 1, False),
    ("row-without-maildir", edit("users/poppasswd", "com/joe\n", "com\n"), "users/poppasswd", 1, False),
    ("box-without-login", write("users/poppasswd", ""), PART, 1, False),
    ("temporary-broken", write(SECOND, "joe:x\n"), SECOND, 1, False),
    ("temporary-open", lambda host: (host.home / SECOND).touch(0o666) or chmod(SECOND, 0o666)(host), SECOND, 0, True),
    ("temporary-unreadable", lambda host: (host.home / SECOND).symlink_to("poppasswd"), SECOND, 0, False),
    ("temporary-later", write(SECOND, "joe:DmIMm9e5Hc8ic:4102444800:4102448400:-:5\n"), SECOND, 0, False),
    ("temporary-counts", lambda host: host.ok("mailbox", "temporary", "--all", "--for", "1h"), SECOND, 0, False),
]  # fmt: skip


def findings(host: Host, *words: str) -> list[dict[str, object]]:
    done = host.run("lint", "--json", *words)
    found: list[dict[str, object]] = json.loads(done.stdout)["findings"]
    assert done.exit_code == (1 if any(f["level"] == "error" for f in found) else 0)
    return found


def adapted(host: Host, wrong: Break) -> None:
    """Break the host; without root its lines carry the caller's name and numbers in place of popuser's."""
    names = (PART, "users/poppasswd", "users/assign")
    user, uid, gid = host.owner.split(":")
    for name in names:
        text = host.text(name).replace(f":{host.owner}:", ":popuser:888:888:").replace(f":{user}:/", ":popuser:/")
        (host.home / name).write_text(text)
    wrong(host)
    for name in names:
        if (host.home / name).exists():
            text = host.text(name).replace(":popuser:888:", f":{user}:{uid}:").replace(":888:", f":{gid}:")
            (host.home / name).write_text(text.replace(":popuser:/", f":{user}:/"))
