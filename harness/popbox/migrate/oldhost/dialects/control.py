"""control/: which domains the old host takes mail for, and under which prefix (Q-RCPT-*, Q-VDOM-*, Q-SEND-3, -4)."""

from __future__ import annotations

from dataclasses import dataclass, field

from popbox.migrate.oldhost.dialects.cdb import pairs
from popbox.migrate.oldhost.dialects.text import domain, entries, file_of, text_of
from popbox.migrate.oldhost.findings import Where, shown
from popbox.migrate.oldhost.model import Domain, OldHost
from popbox.migrate.oldhost.tree import FILE, OldHostError, OldHostTree, look


@dataclass(slots=True)
class Control:
    """``rcpthosts`` None: no such file. ``users``: domain -> who gets its mail, as virtualdomains says."""

    home: bytes
    rcpthosts: dict[bytes, Where] | None = None
    local: dict[bytes, Where] = field(default_factory=dict)
    virtual: dict[bytes, tuple[bytes, Where]] = field(default_factory=dict)


def read_control(tree: OldHostTree, host: OldHost, home: bytes) -> Control:
    """Read the files and say what does not fit together; the domains go to ``host.domains``."""
    control = Control(home)
    control.rcpthosts = _names(tree, host, home + b"/control/rcpthosts")
    if control.rcpthosts is not None:  # Q-RCPT-1
        control.rcpthosts |= _more_names(tree, host, home + b"/control/morercpthosts.cdb")
    locals_ = _names(tree, host, home + b"/control/locals")
    if locals_ is None:
        locals_ = dict(list((_names(tree, host, home + b"/control/me") or {}).items())[:1])
    control.local = locals_
    host.envnoathost = _first_line(tree, host, home + b"/control/envnoathost") or _first_line(
        tree, host, home + b"/control/me"
    )
    default = text_of(tree, host, home + b"/control/defaultdelivery")
    host.default_delivery = (default or b"").replace(b"\0", b"").rstrip(b"\n") or host.default_delivery
    _read_virtual(tree, host, control)
    _judge(host, control)
    for key, where in (_names(tree, host, home + b"/control/percenthack") or {}).items():
        host.lose(where, f"addresses NAME%DOMAIN@{shown(key)}", "mailhost has no percenthack (Q-SEND-2)")
    if _first_line(tree, host, home + b"/control/ldapserver"):
        where = Where(file_of(home + b"/control/ldapserver"))
        host.lose(where, "accounts of qmail-ldap", "they are not in SOURCE: declare them by hand, or import by --pop3")
    return control


def _names(tree: OldHostTree, host: OldHost, path: bytes) -> dict[bytes, Where] | None:
    """A list of domains; None where there is no such file."""
    octets = text_of(tree, host, path)
    if octets is None:
        return None
    found: dict[bytes, Where] = {}
    for number, line in entries(octets):
        where = Where(file_of(path), number)
        if line.endswith(b"\r"):
            host.wrong("carriage-return", where, f"{shown(line)!r} ends in CR")
        found.setdefault(line.rstrip(b"\r").lower(), where)
    return found


def _more_names(tree: OldHostTree, host: OldHost, path: bytes) -> dict[bytes, Where]:
    """The keys of morercpthosts.cdb; the text that it is made of has no effect itself (Q-RCPT-10)."""
    path, entry = look(tree, path)
    where = Where(file_of(path))
    try:
        return {key: where for key, _ in pairs(tree.read(path))} if entry is not None and entry.kind == FILE else {}
    except (OldHostError, ValueError) as why:
        host.unreadable(where, str(why))
        return {}


def _first_line(tree: OldHostTree, host: OldHost, path: bytes) -> bytes:
    return (text_of(tree, host, path) or b"").split(b"\n", 1)[0].rstrip(b" \t")


def _read_virtual(tree: OldHostTree, host: OldHost, control: Control) -> None:
    path = control.home + b"/control/virtualdomains"
    for number, line in entries(text_of(tree, host, path) or b""):
        where = Where(file_of(path), number)
        key, colon, prefix = line.partition(b":")
        key = key.lower()
        if not colon:
            host.wrong("virtualdomains-no-colon", where, f"{shown(line)!r} has no colon")
            continue
        if prefix.endswith(b"\r"):
            host.wrong("carriage-return", where, f"{shown(line)!r} ends in CR")
            prefix = prefix.rstrip(b"\r")
        if key in control.virtual:
            earlier = control.virtual[key][1]
            host.wrong("virtualdomains-twice", earlier, f"{shown(key)} stands again in line {number}")
        control.virtual[key] = prefix, where
    for key, (prefix, where) in control.virtual.items():
        _declare(host, key, prefix, where)


def _declare(host: OldHost, key: bytes, prefix: bytes, where: Where) -> None:
    """A plain domain goes to the host's domains; everything else qmail can do here is named as left."""
    if not prefix:
        return  # an exception: such mail goes out (Q-VDOM-3)
    if b"@" in key or key.startswith(b".") or not key:
        host.lose(where, f"virtual {shown(key) or 'everything else'}", "only whole domains can be declared")
        return
    name = domain(key)
    if name is None:
        host.wrong("name-not-usable", where, f"domain {shown(key)!r}")
        host.lose(where, f"domain {shown(key)!r}", "mailhost takes no such name")
        return
    text = prefix.decode("latin-1").lower()
    first = next((other for other, there in host.domains.items() if there.prefix == text and not there.alias_of), None)
    host.domains[name] = Domain(text, where, first)


def _judge(host: OldHost, control: Control) -> None:
    """Whether the files fit together."""
    rcpthosts = Where(file_of(control.home + b"/control/rcpthosts"))
    if control.rcpthosts is None and (control.virtual or control.local):
        host.wrong("rcpthosts-absent", rcpthosts, "there is no such file")
    for name, there in host.domains.items():
        if control.rcpthosts is not None and not _accepted(name.encode(), control.rcpthosts):
            host.wrong("domain-not-in-rcpthosts", there.where, f"{name} is not in rcpthosts")
        if name.encode() in control.local:
            host.wrong("domain-in-locals", control.local[name.encode()], f"{name} is virtual and local")
    for key, where in (control.rcpthosts or {}).items():
        sent_on = key not in control.local and not control.virtual.get(key, (b"", where))[0]
        if sent_on and not key.startswith(b"."):
            host.wrong("rcpthosts-not-routed", where, f"{shown(key)} is neither virtual nor local")
            host.lose(where, f"addresses of {shown(key)}", "the old host sends their mail on, the new one refuses it")
    own = {name: there for name, there in host.domains.items() if there.alias_of is None}
    for name, there in own.items():
        for other, theirs in own.items():
            if name != other and there.prefix.startswith(theirs.prefix + "-"):
                text = f"prefix {there.prefix!r} of {name} begins with {theirs.prefix!r} of {other}"
                host.wrong("prefix-overlap", there.where, text)


def _accepted(name: bytes, rcpthosts: dict[bytes, Where]) -> bool:
    """Itself, or one of its ``.suffix`` lines (Q-RCPT-3)."""
    return name in rcpthosts or any(name[i:] in rcpthosts for i in range(len(name)) if name[i : i + 1] == b".")
