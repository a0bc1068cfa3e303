"""The addresses to compare: what both hosts' files know, what their readers know beside, a list, and logs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

from popbox.errors import UnusableError
from popbox.migrate.oldhost.dialects.control import read_control
from popbox.migrate.oldhost.model import CATCHALL, OldHost
from popbox.migrate.routes.logs import lines_of, recipients
from popbox.migrate.routes.side import Side
from popbox.reading import octets_of

Known = Iterable[tuple[str, bytes]]
PROBE = "popboxprobe"  # as `mailhost explain --known` has it


def gather(old: Side, new: Side, readers: OldHost | None, given: Path | None, logs: Iterable[Path]) -> dict[bytes, str]:
    """Address -> kind; of an address that more than one source has, the first: given, log, the files, relayed, new.

    ``readers``: what the old host's readers found, where mailhost's rules do not know all its addresses (vpopmail).

    Raises:
        UnusableError: a file cannot be read.
        HostError: mailhost does not run.
    """
    with closing(old.known()) as olds, closing(new.known()) as news:  # both hosts are asked at the same time
        return _gathered(old, olds, news, readers, given, logs)


def _gathered(
    old: Side, olds: Known, news: Known, readers: OldHost | None, given: Path | None, logs: Iterable[Path]
) -> dict[bytes, str]:
    found: dict[bytes, str] = {}
    if given is not None:
        _add(found, (("given", line) for line in _listed(given)))
    control = read_control(old.tree, OldHost(), old.home)
    prefixes = {key: prefix.lower() for key, (prefix, _) in control.virtual.items() if prefix}
    prefixes = {key: prefix for key, prefix in prefixes.items() if key not in control.local}
    relayed: list[tuple[str, bytes]] = []
    for log in logs:
        for kind, address in recipients(lines_of(log), prefixes):
            if kind == "relayed":
                relayed.append((kind, address))
            else:
                found.setdefault(address, kind)
    _add(found, _of_readers(readers) if readers is not None else ())
    _add(found, olds)
    _add(found, relayed)
    _add(found, (("new", address) for _, address in news))
    return found


def _add(found: dict[bytes, str], more: Known) -> None:
    for kind, address in more:
        found.setdefault(address, kind)


def _listed(file: Path) -> Iterator[bytes]:
    try:
        text = octets_of(file)
    except OSError as error:
        raise UnusableError(f"{file}: cannot be read: {error.strerror}") from error
    for number, line in enumerate(text.split(b"\n"), start=1):
        address = line.strip(b" \t\r")
        if b"\0" in address:
            raise UnusableError(f"{file}:{number}: holds a NUL")
        if address:
            yield address


def _of_readers(host: OldHost) -> Iterator[tuple[str, bytes]]:
    """The routes that the readers know, under every name of their domain, with a probe for an extension of each.

    One that stands where a login of another name does is not the old host's: the readers made it up for an import.
    """
    logins = {login.where: login.name.partition("@")[0].lower() for login in host.logins}
    names: dict[str, list[str]] = {}
    for name, domain in host.domains.items():
        names.setdefault(domain.alias_of or name, []).append(name)
    for route in host.routes:
        if route.local == CATCHALL or logins.get(route.where, route.local) != route.local:
            continue
        for name in names.get(route.domain, [route.domain]):
            yield "reader", f"{route.local}@{name}".encode()
            yield "extension", f"{route.local}-{PROBE}@{name}".encode()
    for login in host.logins:
        if "@" in login.name:
            yield "reader", login.name.lower().encode()
