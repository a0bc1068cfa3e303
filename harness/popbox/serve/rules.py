"""Which requests are served, and to whom: by their method, path and header fields alone. Pure.

Any page in a browser on this machine can send requests to a loopback port, by a form or an image (cross-site), and by a
name of its own that resolves to 127.0.0.1 it can read the answers (DNS rebinding). So Host and Origin are compared with
a list on every request. What is no GET is refused unless writes are allowed. Below ``/v1/`` it then needs a token in a
header of its own, and JSON, neither of which a form can send; a cookie opens nothing there. Elsewhere, on the pages of
the console, it is a form: Origin and Sec-Fetch-Site say that our own page sends it, the cookie names a session, and
the ticket in the form is that session's, for this path, and not used before. WebSockets, which know no same-origin
rule, are refused too (CVE-2026-22689).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from popbox.serve.errors import ApiError
from popbox.serve.keys import Keys
from popbox.serve.names import known
from popbox.serve.sessions import Jar

Headers = Iterable[tuple[bytes, bytes]]
Said = dict[str, list[str]]

WRITES = ("POST", "DELETE")
API = ("/readyz", "/metrics", "/openapi.json")  # beside what is below /v1/; all else is for people
KIND = "application/x-www-form-urlencoded"
ENTER = "/enter"  # where a browser says the token; the one form that needs no session


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: ``whole`` where the server's token was said, ``space`` the name of the space whose token was said.

    ``console`` where a page's form was sent by who has entered, which is as good as the token.
    """

    whole: bool = False
    space: str | None = None
    console: bool = False

    @property
    def who(self) -> str:
        """In a word or two, for events: where both tokens were said, the server's."""
        return "console" if self.console else "token" if self.whole else f"space {self.space}"


@dataclass(frozen=True, slots=True)
class Rules:
    """What is served to whom. ``hosts`` are Host headers in lower case, as ``127.0.0.1:8025``; ``origins`` likewise.

    ``names``: where there are any, these, IP addresses and localhost are served at any port, see ``serve.names``.
    ``keys``: of what a write must say; None where there are no writes.
    """

    hosts: frozenset[str]
    origins: frozenset[str]
    host: str = ""  # the mail host's name and MTA, for the answers
    mta: str = ""
    keys: Keys | None = None
    names: frozenset[str] = frozenset()
    root: str = ""  # the path that a proxy shows it at, without a slash at its end

    @classmethod
    def at(cls, address: str, port: int, *, public: tuple[str, ...] = (), **more: Any) -> Rules:
        """The rules of a listener: its own address, the names of this machine where it is loopback, and ``public``.

        ``public`` are URLs at which a proxy shows it, such as ``https://mail.example.net/popbox``, all of one path.
        """
        literal = f"[{address}]" if ":" in address else address
        names = {literal, *(("localhost",) if address in ("127.0.0.1", "::1") else ())}
        hosts = {f"{name}:{port}" for name in names} | (names if port == 80 else set())
        shown = [one.partition("://") for one in public]
        at = {(scheme.lower(), *where.partition("/")[::2]) for scheme, _, where in shown}
        origins = {f"http://{name}" for name in hosts} | {f"{scheme}://{name.lower()}" for scheme, name, _ in at}
        hosts |= {name.lower() for _, name, _ in at}
        roots = {f"/{path}".rstrip("/") for _, _, path in at} or {""}
        return cls(frozenset(hosts), frozenset(origins), root=roots.pop(), **more)

    def inside(self, path: str) -> str:
        """The path without ``root``: so a proxy may take that away, or leave it."""
        found = self.root and (path == self.root or path.startswith(f"{self.root}/"))
        return (path[len(self.root) :] or "/") if found else path

    def jar(self, host: str) -> Jar:
        """How a browser that reaches us by a Host header keeps its session."""
        return Jar.of(host, self.root, secure=f"https://{host.lower()}" in self.origins)

    def serves(self, host: str) -> bool:
        """Whether a Host header in lower case is one of ours."""
        return host in self.hosts or (bool(self.names) and known(host, self.names))

    def asked_for(self) -> str:
        """What to ask for, in words."""
        listed = ", ".join(sorted(self.hosts | self.names))
        return f"an IP address, localhost, or one of: {listed}" if self.names else f"one of: {listed}"


def said_by(headers: Headers) -> Said:
    """The values of each header, by its name in lower case."""
    said: Said = {}
    for name, value in headers:
        said.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1").strip())
    return said


def of_api(path: str) -> bool:
    """Whether a path is for programs: pages and their forms have other rules."""
    return path.startswith("/v1/") or path in API


def for_people(said: Said, path: str) -> bool:
    """Whether an error is to be a page."""
    return not of_api(path) and any("text/html" in one.lower() for one in said.get("accept", []))


def admitted(rules: Rules, method: str, headers: Headers, path: str = "/v1/") -> Caller:
    """Who asks, where the request is served. Of a form, its session and its ticket are still to be looked at.

    Raises:
        ApiError: it is not; says why.
    """
    said = said_by(headers)
    _same_site(rules, said, opened=_opened(method, said, path))
    caller = Caller(_whole(rules, said), _space(rules, said))
    if method == "POST" and not of_api(path):
        _may_fill(rules, said)
        return Caller(whole=True, console=True)
    if method != "GET":
        _may_write(rules, method, said, caller)
    return caller


def _opened(method: str, said: Said, path: str) -> bool:
    """Whether a browser opens a page of the console as a page of its own: a link from elsewhere leads there.

    What it shows stays out of that site's reach: it is in no frame, and answers no script of another origin.
    """
    modes = [said.get(f"sec-fetch-{one}", []) for one in ("mode", "dest")]
    return method == "GET" and modes == [["navigate"], ["document"]] and not path.startswith("/v1/")


def _same_site(rules: Rules, said: Said, *, opened: bool) -> None:
    hosts = [one.lower() for one in said.get("host", [])]
    if len(hosts) != 1 or not rules.serves(hosts[0]):
        hint = f"ask for {rules.asked_for()}; --public-url adds the address of a proxy, --known-as a name"
        raise ApiError(421, "this Host is not served here", hint, tuple(f"Host: {one[:200]}" for one in hosts))
    origins = rules.origins | ({f"http://{hosts[0]}"} - {f"http://{one}" for one in rules.hosts})
    if foreign := [one for one in said.get("origin", []) if one.lower() not in origins]:
        hint = "pages of other origins are not served"
        raise ApiError(403, "this Origin is not served here", hint, tuple(f"Origin: {one[:200]}" for one in foreign))
    sites = {one.lower() for one in said.get("sec-fetch-site", [])}
    if not sites <= {"same-origin", "none"} and not opened:
        raise ApiError(403, "a page of another site sent this request", "pages of other origins are not served")


def _whole(rules: Rules, said: Said) -> bool:
    """Whether the server's token was said, in ``popbox-token`` or as ``Authorization: Bearer``."""
    tokens = said.get("popbox-token", []) + [_bearer(one) for one in said.get("authorization", [])]
    return len(tokens) == 1 and rules.keys is not None and rules.keys.fits(tokens[0])


def _bearer(value: str) -> str:
    scheme, _, token = value.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _space(rules: Rules, said: Said) -> str | None:
    """The space whose token was said; a token that is none narrows nothing, so it is refused."""
    tokens = said.get("popbox-space", [])
    if not tokens:
        return None
    name = rules.keys.space(tokens[0]) if rules.keys and len(tokens) == 1 else None
    if name is None:
        raise ApiError(403, "popbox-space is no token of a space of this server", "POST /v1/spaces makes one")
    return name


def _may_fill(rules: Rules, said: Said) -> None:
    """Let a form pass that a page of ours sends, from the very address that it came from."""
    _any_write(rules)
    origins, host = [one.lower() for one in said.get("origin", [])], said["host"][0].lower()
    if len(origins) != 1 or origins[0].partition("://")[2] != host:
        hint = "browsers say it with each form; a proxy must hand on Host and Origin as they are"
        raise ApiError(403, "a form needs the Origin of this server's own pages", hint, (f"Host: {host[:200]}",))
    if {one.lower() for one in said.get("sec-fetch-site", [])} - {"same-origin"}:
        raise ApiError(403, "a page of another site sent this request", "forms of this server's own pages are served")
    _of_kind(said, KIND, "a form is wanted")


def _any_write(rules: Rules) -> None:
    if rules.keys is None:
        raise ApiError(405, "nothing can be changed here", "`popbox serve --allow-writes` allows it")


def _of_kind(said: Said, kind: str, wanted: str) -> None:
    if [one.partition(";")[0].strip().lower() for one in said.get("content-type", [])] != [kind]:
        raise ApiError(415, wanted, f"send the header `content-type: {kind}`")


def _may_write(rules: Rules, method: str, said: Said, caller: Caller) -> None:
    _any_write(rules)
    if method not in WRITES:
        raise ApiError(405, f"{method[:20]} is not served", f"GET, {', '.join(WRITES)} are")
    tried = "popbox-token" in said or "authorization" in said
    if not caller.whole and (tried or caller.space is None):
        hint = "send the header `popbox-token: TOKEN`; `popbox serve` has printed the name of the file that holds it"
        raise ApiError(401, "the token is wrong" if tried else "this needs the token", hint)
    if method == "POST":
        _of_kind(said, "application/json", "JSON is wanted")
