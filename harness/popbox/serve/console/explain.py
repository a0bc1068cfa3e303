"""An address's way through the files, on one host or on the old and the new one of a move, and these files."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Response

from popbox.errors import HostError, PopboxError
from popbox.hosts.base import Ability, Host
from popbox.journey.join.rules import logins
from popbox.serve.console.journeys import Number, Text
from popbox.serve.console.render import Pages, missing
from popbox.serve.console.words import FILE_LINES, below
from popbox.serve.errors import ApiError
from popbox.serve.live import Live
from popbox.serve.mail.messages import Mailroom
from popbox.serve.move.handed import Compared, OldHost
from popbox.serve.reads import asked

FILES = ("control/me", "control/rcpthosts", "control/locals", "control/virtualdomains", "users/assign")
CONTROL = ("badmailfrom", "defaultdomain", "defaulthost", "envnoathost", "morercpthosts", "percenthack", "plusdomain")
POPUSERS = ("popboxes", "alias")  # where who is not root may write
NOT_ROUTING = "only files that route mail are shown: control/, users/assign, users/domains/ and .qmail files"


def explaining(live: Live, mailroom: Mailroom, pages: Pages, old: OldHost | None) -> APIRouter:
    """The two screens; ``old`` is the host that was moved from, where there is one."""
    router = APIRouter(include_in_schema=False)
    host = live.host

    @router.get("/explain")
    def explain(address: Text = "") -> Response:
        """An address's way through the files."""
        wanted, problem, explained, both = address.strip(), "", None, None
        if wanted:
            try:
                explained = asked(host, "explain", "--json", "--", wanted, codes=(0, 1))
                both = compared(host, old, wanted) if old else None
            except ApiError as error:
                problem = "; ".join((error.error, *error.evidence))
            except HostError:
                raise
            except PopboxError as error:  # of the old host's files: the new one is shown all the same
                problem = str(error)
        title = f"How mail for {wanted} goes" if wanted else "Explain an address"
        values = {"asked": wanted, "explained": explained, "problem": problem, "home": host.home()}
        more = {"both": both, "old": old.name if old else "", "ways": _ways(both)}
        status = 422 if problem and not explained else 200
        return pages.page("explain.html.j2", status, page="explain", title=title, **values, **more)

    @router.get("/file")
    def file(path: Text, of: Text = "", first: Number = 1) -> Response:
        """A file that decides how mail goes, as it is."""
        if not decides(path) or (of and (of != "old" or old is None)):
            return pages.page("missing.html.j2", 404, page="file", title="Not shown", why=NOT_ROUTING)
        try:
            octets = old.file(path) if old and of else _read(host, mailroom, path)
        except LookupError as error:
            return missing(pages, f"{path}: {error}")
        lines = octets.decode("utf-8", "replace").split("\n")
        total = len(lines) - (not lines[-1])
        values: dict[str, Any] = {"path": path, "of": of, "first": first, "total": total, "most": FILE_LINES}
        values |= {
            "whose": old.name if old and of else "",
            "lines": lines[first - 1 : min(first - 1 + FILE_LINES, total)],
        }
        return pages.page("file.html.j2", page="file", title=path, **values)

    return router


def _read(host: Host, mailroom: Mailroom, path: str) -> bytes:
    """A file that routes mail; one that popuser may have put there leads nowhere else.

    Raises:
        LookupError: it cannot be shown; says why.
        HostError: the host shows no files.
    """
    if path.partition("/")[0] not in POPUSERS:
        try:
            return host.read(path)
        except HostError as error:
            raise LookupError(error.what) from error
    if why := host.cannot(Ability.FILES):
        raise LookupError(why)
    return mailroom.own(path)


def compared(host: Host, old: OldHost, address: str) -> Compared:
    """The address on both hosts.

    Raises:
        ApiError: the new host cannot say.
        PopboxError: the old host's files cannot be used.
    """
    if "\n" in address:
        raise ApiError(422, "an address has one line")
    ran = host.run("explain", "--batch", "--steps", stdin=f"{address}\n".encode("utf-8", "replace"))
    lines = ran.stdout.splitlines()
    if ran.code not in (0, 1) or len(lines) != 2:
        raise ApiError(503, "mailhost explain --batch", "", ((ran.stderr or ran.stdout).strip()[:500],))
    home = host.home()
    opened = {f"{home}/{one.box}/Maildir": one.login for one in logins(host)}
    return old.compared(address, json.loads(lines[1]), home, opened)


def _ways(both: Compared | None) -> list[dict[str, Any]]:
    """The old side and the new one, with what a page links to: text, path below the home or empty, and line."""
    if both is None:
        return []
    sides = (("old", both.old), ("new", both.new))
    return [
        {"which": which, "side": side, "where": [_link(one, side.home) for one in side.where]} for which, side in sides
    ]


def _link(where: str, home: str) -> tuple[str, str, str]:
    file, _, line = where.rpartition(":")
    if not (file and line.isdigit()):
        file, line = where, ""
    path = below(file, home)
    return where.removeprefix(f"{home}/"), path if decides(path) else "", line


def decides(path: str) -> bool:
    """Whether a page may show a file: those that route mail, never one with passwords."""
    parts = path.split("/")
    if ".." in parts or path.startswith("/") or "\0" in path:
        return False
    if parts[-1].startswith(".qmail") and parts[0] in POPUSERS:
        return True
    routes = path in FILES or (parts[0] == "control" and parts[1:] in [[name] for name in CONTROL])
    return routes or parts[:2] == ["users", "domains"]
